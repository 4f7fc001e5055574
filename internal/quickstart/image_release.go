//go:build release

package quickstart

import (
	"bytes"
	_ "embed"
	"io"
)

//go:embed quickstart.tar.gz
var archive []byte

// Image is the image as an OCI archive, compressed.
func Image() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(archive)), nil
}
