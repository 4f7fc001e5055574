package journal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/node/podlife"
)

func TestSurvives(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	e := Entry{UID: "u1", Namespace: "ns", Name: "p", Memory: podlife.Memory{Admitted: true, Containers: map[string]podlife.ContainerMemory{
		"app": {NextAttempt: 3, BackOff: podlife.BackOff{Delay: 40}},
	}}, Pod: &v1.PodSpec{Containers: []v1.Container{{Name: "app"}}}}
	if _, err := j.Save(e); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, got["u1"]); diff != "" {
		t.Errorf("not what was saved:\n%s", diff)
	}
	if err := j.Remove("u1"); err != nil {
		t.Fatal(err)
	}
	if err := j.Remove("u1"); err != nil {
		t.Errorf("a second Remove: %v", err)
	}
	if got, _ := open(t, dir).Load(); len(got) != 0 {
		t.Errorf("still there: %v", got)
	}
}

// TestRewritten: an entry that grows and shrinks is always the last one saved, also
// where its file was lost.
func TestRewritten(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	for i, size := range []int{10, 100, 20, 8000, 10, 30} {
		e := Entry{UID: "u", Name: strings.Repeat("n", size)}
		if i == 2 {
			if err := os.Remove(filepath.Join(dir, "u.json")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := j.Save(e); err != nil {
			t.Fatal(err)
		}
		got, err := open(t, dir).Load()
		if err != nil || got["u"].Name != e.Name {
			t.Errorf("save %d: %d bytes came back, %v", i, len(got["u"].Name), err)
		}
	}
}

// TestTornFiles: whatever a crash left is set aside, and the good entries load.
func TestTornFiles(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	if _, err := j.Save(Entry{UID: "good"}); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"empty.json": "", "torn.json": `{"uid":"torn","mem`, "other.json": `{"uid":"good"}`, "half.json.new": `{`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := open(t, dir).Load()
	if err == nil {
		t.Error("nothing said about the broken files")
	}
	if _, ok := got["good"]; !ok || len(got) != 1 {
		t.Errorf("got %v", got)
	}
	if _, err := open(t, dir).Load(); err != nil {
		t.Errorf("the broken files were met again: %v", err)
	}
}

func TestUnsafeUID(t *testing.T) {
	j := open(t, t.TempDir())
	for _, uid := range []types.UID{"", "..", "a/b"} {
		if _, err := j.Save(Entry{UID: uid}); err == nil {
			t.Errorf("saved %q", uid)
		}
	}
}

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}
