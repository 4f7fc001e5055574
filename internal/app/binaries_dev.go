//go:build !release

package app

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/kit/layout"
)

// binariesDir is where the programs that proa starts are: beside it.
func binariesDir(layout.Layout) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	return filepath.Dir(self), nil
}
