//go:build suite

package main

// The test program is built out of its package's tests, so no import leads there;
// this one keeps what they need in go.mod. The other programs are its tools.
import _ "k8s.io/kubernetes/test/e2e"
