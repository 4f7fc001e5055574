package oci

import (
	"os"

	"github.com/opencontainers/runc/libcontainer"
	// nsenter's C constructor joins and makes namespaces before Go's runtime
	// starts its threads.
	_ "github.com/opencontainers/runc/libcontainer/nsenter"
	// Without it libcontainer refuses every container: "not configured to set
	// device rules".
	_ "github.com/opencontainers/cgroups/devices"
)

// Init does not return when this process was started by libcontainer to become
// a container, or by us to compile a seccomp profile. Call it first thing, before
// flags are read.
func Init() {
	if len(os.Args) < 2 {
		return
	}
	switch {
	case os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "":
		useCompiled()
		libcontainer.Init()
	case os.Args[1] == compileArg:
		compileAndEnd()
	}
}
