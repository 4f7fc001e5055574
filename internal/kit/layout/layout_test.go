package layout

import (
	"os"
	"path/filepath"
	"slices"
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

func TestALinkOnTheWayToAFolderThatIsNotThereYet(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	before, err := For(filepath.Join(dir, "link", "new", "cluster"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(before.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	after, err := For(filepath.Join(dir, "link", "new", "cluster"))
	if err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("%v before the folder was made, %v after", before, after)
	}
}

func TestStrangers(t *testing.T) {
	l, err := For(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	make := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(l.Data, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, want ...string) {
		t.Helper()
		got, err := l.Strangers()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", when, got, err, want)
		}
	}
	make("registries.yaml")
	expect("a new cluster's settings")
	make("thesis.tex")
	expect("somebody's folder", "thesis.tex")
	make("cluster.json")
	expect("a cluster's folder")
}
