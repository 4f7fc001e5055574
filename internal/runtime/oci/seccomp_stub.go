//go:build !seccomp

package oci

import "os"

// Without libseccomp no profile is ever compiled.

func useCompiled() {}

func compileAndEnd() { os.Exit(1) }
