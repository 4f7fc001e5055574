// Package openapi has the specifications of the built-in API: prebuilt gzip
// files for clients (building them at run time costs 70 MB and 0.3 s), and the
// type converter for managed fields, made from the generated definitions.
//
// hack/openapi.sh regenerates both.
package openapi

//go:generate ../../../hack/openapi.sh
