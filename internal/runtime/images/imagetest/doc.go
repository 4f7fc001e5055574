// Package imagetest makes container images in Go, without a registry, a network
// or a container tool: from files named in a test, from /bin/busybox, from
// Debian's packages that are installed on this machine. It writes them as an OCI
// layout, an OCI archive or a docker archive.
package imagetest
