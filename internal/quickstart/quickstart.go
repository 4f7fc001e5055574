package quickstart

import (
	"bytes"
	_ "embed"
)

const (
	// Ref is the name to import the image under, and the one in the manifest.
	Ref = "proa.dev/quickstart:latest"
	// Pod is the pod's name; it serves on Port.
	Pod  = "quickstart"
	Port = 8080
)

// Manifest is the pod and its ConfigMap, to be applied to any namespace.
//
//go:embed manifest.yaml
var Manifest []byte

// Documents of the manifest, one object each.
func Documents() [][]byte { return bytes.Split(Manifest, []byte("\n---\n")) }
