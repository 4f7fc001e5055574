package atomicfile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestOverwrite: a text that grows and shrinks, beyond what is written in place too,
// is always the last one written, also where its file was lost or torn.
func TestOverwrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	for i, size := range []int{10, 100, 20, page, page + 1, 10, 3 * page, 30} {
		switch i {
		case 2:
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		case 3:
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}
		text := bytes.Repeat([]byte{byte('a' + i)}, size)
		given := append(text, 'x')[:size] // what lies behind the text is not ours
		if err := Overwrite(path, given); err != nil {
			t.Fatal(err)
		}
		if given[:size+1][size] != 'x' {
			t.Errorf("write %d: changed what lies behind the text", i)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(bytes.TrimRight(got, " "), text) {
			t.Errorf("write %d: %d bytes came back, %v", i, len(got), err)
		}
	}
}

// TestOverwriteKeepsTheFile: what fits is written into the file that is there.
func TestOverwriteKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	stat := func() os.FileInfo {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if err := Overwrite(path, []byte("1")); err != nil {
		t.Fatal(err)
	}
	before := stat()
	if err := Overwrite(path, []byte("22")); err != nil {
		t.Fatal(err)
	}
	if after := stat(); !os.SameFile(before, after) || after.Mode().Perm() != 0o600 {
		t.Errorf("another file, or for others too: %v", after.Mode())
	}
}
