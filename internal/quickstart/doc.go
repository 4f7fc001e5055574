// Package quickstart is the first pod of a new cluster: its image, which needs no
// registry, and its manifest.
//
// The image is made by cmd/quickstart/generate from cmd/quickstart. A release
// has it inside (build tag release, file quickstart.tar.gz of this folder); a
// development build finds bin/quickstart.tar beside its own program.
package quickstart
