// Command openapi writes the prebuilt OpenAPI specifications: it builds the API
// server on a throw-away etcd and describes its routes.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/proa-project/proa/internal/apiserver"
	"github.com/proa-project/proa/internal/apiserver/openapi/build"
	"github.com/proa-project/proa/internal/etcd"
)

const out = "internal/apiserver/openapi/prebuilt"

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "proa-openapi")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := etcd.Start(ctx, etcd.Config{Dir: dir, NoFsync: true})
	if err != nil {
		return err
	}
	defer store.Close()
	routes, scheme, err := apiserver.Routes(ctx, store.Client())
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return build.Write(out, "v"+apiserver.KubernetesVersion, scheme, routes)
}
