// Command proa runs Kubernetes Pods: the whole system in one binary.
package main

import (
	"os"

	"github.com/proa-project/proa/internal/app"
	"github.com/proa-project/proa/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Servers{All: app.Run, Runtime: app.RunRuntime, Clean: app.Clean}))
}
