package history

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/proa-project/proa/internal/node/podlife"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func TestObserve(t *testing.T) {
	var h History
	pull := Span{Lane: "app", Kind: Pull, ID: "pull"}
	run := Span{Lane: "app", Kind: Run, ID: "run", From: at(2)}
	h.Observe(at(1), []Span{pull})
	if changed := h.Observe(at(1), []Span{pull}); len(changed) > 0 {
		t.Errorf("nothing is new, yet %v", changed)
	}
	h.Observe(at(3), []Span{run})
	h.Ended(Span{Lane: "app", Kind: Run, ID: "run", From: at(2), To: at(5), Note: "exit 1", Failed: true})
	want := []Span{
		{Lane: "app", Kind: Pull, ID: "pull", From: at(1), To: at(3)},
		{Lane: "app", Kind: Run, ID: "run", From: at(2), To: at(5), Note: "exit 1", Failed: true},
	}
	if diff := cmp.Diff(want, h.All()); diff != "" {
		t.Error(diff)
	}
	if again := h.Ended(want[1]); again != nil {
		t.Errorf("told twice: %v", again)
	}
}

// TestFiles: what was told is there after a restart, whatever a crash tore.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var h History
	say := func(f *Files, second int, states ...Span) {
		t.Helper()
		entries := []podlife.Entry{{At: at(second), What: fmt.Sprint("turn ", second)}}
		h.Add(entries)
		if err := f.Append("u", "ns", "p", entries, h.Observe(at(second), states), &h); err != nil {
			t.Fatal(err)
		}
	}
	pull, run := Span{Kind: Pull, ID: "pull"}, Span{Kind: Run, ID: "run"}
	say(f, 1, pull)
	say(f, 2, run)
	torn, err := os.OpenFile(filepath.Join(dir, "u.history"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(torn, `{"entry":{"at":`)
	torn.Close()

	f, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := f.Load(at(0))
	if err != nil || len(stored) != 1 || stored[0].Namespace != "ns" || stored[0].Name != "p" || !stored[0].GoneAt.IsZero() {
		t.Fatalf("%+v %v", stored, err)
	}
	if diff := cmp.Diff(h, stored[0].History); diff != "" {
		t.Error(diff)
	}
	h = stored[0].History
	say(f, 3, run)
	if err := f.Gone("u", at(4)); err != nil {
		t.Fatal(err)
	}
	if stored, err = f.Load(at(4)); err != nil || len(stored) != 1 || len(stored[0].History.Log) != 3 || !stored[0].GoneAt.Equal(at(4)) {
		t.Errorf("%+v %v", stored, err)
	}
	if stored, err = f.Load(at(5)); err != nil || len(stored) != 0 {
		t.Errorf("remembered for too long: %+v %v", stored, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// TestBounds: a life of a hundred thousand turns takes no more than a short one,
// in memory and on disk, and its beginning is kept.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var h History
	for i := range 6000 {
		entries := []podlife.Entry{{At: at(i), What: fmt.Sprint(i)}}
		h.Add(entries)
		if err := f.Append("u", "ns", "p", entries, h.Observe(at(i), []Span{{ID: fmt.Sprint(i)}}), &h); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.Log) > maxEntries || len(h.Spans) > maxSpans || h.Log[0].What != "0" || h.Log[len(h.Log)-1].What != "5999" {
		t.Errorf("%d entries, %d spans", len(h.Log), len(h.Spans))
	}
	info, err := os.Stat(filepath.Join(dir, "u.history"))
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("%v %v", info, err)
	}
}
