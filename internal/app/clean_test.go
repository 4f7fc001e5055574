package app

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/kit/layout"
)

// A cluster's folder, or a part of it, may be a disk that the user has mounted.
func TestUsersDisksStayMounted(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	l, err := layout.For(data)
	if err != nil {
		t.Fatal(err)
	}
	theirs := []string{data, l.Images()}
	ours := filepath.Join(l.Pods(), "uid", "volumes", "tmp")
	for _, dir := range append(slices.Clone(theirs), ours) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatalf("this test needs root: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	if err := os.WriteFile(l.Cluster(), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	if err := unmountBelow(l.Data, 2); err != nil {
		t.Fatal(err)
	}
	for _, dir := range theirs {
		if !mounted(dir) {
			t.Errorf("%s is no longer mounted", dir)
		}
	}
	if mounted(ours) {
		t.Errorf("%s is still mounted", ours)
	}
	if err := removeData(l); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "*")); !slices.Equal(left, []string{l.Images()}) {
		t.Errorf("left: %v", left)
	}
}

func mounted(dir string) bool {
	return slices.ContainsFunc(mounts(), func(m mountPoint) bool { return m.point == dir })
}

func TestPurgeRemovesNobodysFolder(t *testing.T) {
	l, err := layout.For(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.Data, "thesis.tex")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeData(l); err == nil {
		t.Error("a folder without a cluster was removed")
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
