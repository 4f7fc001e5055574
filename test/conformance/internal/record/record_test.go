package record

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

func open(t *testing.T, dir string, keep func(suite.Result) bool) *Run {
	t.Helper()
	r, err := Open(dir, keep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func add(t *testing.T, r *Run, name string, state suite.State) {
	t.Helper()
	if err := r.Add(suite.Result{Name: name, State: state}); err != nil {
		t.Fatal(err)
	}
}

func TestGoesOnWhereItWasEnded(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, nil)
	add(t, r, "a", suite.Passed)
	add(t, r, "b", suite.Failed)
	r.Close()
	// Killed while it wrote a line.
	f, err := os.OpenFile(filepath.Join(dir, resultsFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"name":"c","sta`); err != nil {
		t.Fatal(err)
	}
	f.Close()

	r = open(t, dir, nil)
	defer r.Close()
	if !r.Has("a") || !r.Has("b") || r.Has("c") {
		t.Errorf("results after an interruption: %v", r.Results())
	}
}

func TestBeginsAnewAfterTheEnd(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, nil)
	add(t, r, "a", suite.Passed)
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	r.Close()

	r = open(t, dir, nil)
	if r.Has("a") {
		t.Error("a run that had ended kept its results")
	}
	r.Close()
}

func TestRunsAgainWhatFailed(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, nil)
	add(t, r, "a", suite.Passed)
	add(t, r, "b", suite.Failed)
	if err := r.Done(); err != nil {
		t.Fatal(err)
	}
	r.Close()

	keep := func(r suite.Result) bool { return r.State == suite.Passed }
	r = open(t, dir, keep)
	if !r.Has("a") || r.Has("b") {
		t.Errorf("kept: %v", r.Results())
	}
	add(t, r, "b", suite.Passed)
	r.Close()
	r = open(t, dir, nil) // ended before its end was marked
	defer r.Close()
	if len(r.Results()) != 2 {
		t.Errorf("results: %v", r.Results())
	}
}

func TestOneRunAtATime(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir, nil)
	defer r.Close()
	if other, err := Open(dir, nil); err == nil {
		other.Close()
		t.Error("two runs at work in one folder")
	}
}
