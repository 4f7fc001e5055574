//go:build !amd64

package oci

func hasX32() bool { return true } // nobody asks
