package layout

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOneFolderIsOneCluster(t *testing.T) {
	real := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	link := real + "-link"
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	a, err := For(real)
	if err != nil {
		t.Fatal(err)
	}
	b, err := For(link)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("%v by its path, %v by a link to it", a, b)
	}
	if other, _ := For(real + "2"); other.ID == a.ID || other.Run == a.Run {
		t.Errorf("two folders share %v", other)
	}
}

func TestMakeTwice(t *testing.T) {
	l, err := For(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.Run = filepath.Join(t.TempDir(), "run")
	for range 2 {
		if err := l.Make(); err != nil {
			t.Fatal(err)
		}
	}
	if target, err := os.Readlink(filepath.Join(l.Data, "run")); err != nil || target != l.Run {
		t.Errorf("run leads to %q, %v", target, err)
	}
}
