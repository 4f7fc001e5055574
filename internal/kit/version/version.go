// Package version names this build.
package version

// Proa is this build's version; releases set it at link time.
var Proa = "v0.1.0-dev"

// Kubernetes is the API version that proa speaks.
const Kubernetes = "v1.37.2"
