//go:build release

package app

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/kit/layout"
)

// payload is laid out by hack/release.sh before the build.
//
//go:embed payload/proa-keeper payload/pause
var payload embed.FS

// binariesDir lays out the programs that proa starts in the data folder. One that
// is there already and the same is left alone: it may be running.
func binariesDir(l layout.Layout) (string, error) {
	dir := filepath.Join(l.Data, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("lay out programs: %w", err)
	}
	for _, name := range []string{"proa-keeper", "pause"} {
		want, err := payload.ReadFile("payload/" + name)
		if err != nil {
			return "", fmt.Errorf("lay out programs: %w", err)
		}
		path := filepath.Join(dir, name)
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, want) {
			continue
		}
		if err := atomicfile.Write(path, want, 0o700); err != nil {
			return "", fmt.Errorf("lay out programs: %w", err)
		}
	}
	return dir, nil
}
