//go:build !release

package quickstart

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Image is the image as an OCI archive, found beside this program.
func Image() (io.ReadCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("quickstart image: %w", err)
	}
	f, err := os.Open(filepath.Join(filepath.Dir(self), "quickstart.tar"))
	if err != nil {
		return nil, fmt.Errorf("quickstart image: %w; `make build` makes it", err)
	}
	return f, nil
}
