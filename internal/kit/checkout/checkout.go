// Package checkout finds the source that a test was built from. The compiler's own
// record of it is no help: builds are made with -trimpath, so that they are the same
// from any folder.
package checkout

import (
	"fmt"
	"os"
	"path/filepath"
)

// Root is the nearest folder with a go.mod, from the working folder up: go test
// runs a test in its package's folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod in %s or above: run this inside a checkout of proa", dir)
		}
	}
}
