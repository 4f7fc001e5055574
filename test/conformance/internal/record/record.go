// Package record keeps what the tests of a run came to, a line a test, so that a
// run which was ended goes on where it was.
package record

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// Run is one run of a selection of tests, in a folder of its own.
type Run struct {
	dir     string
	lock    *os.File
	mu      sync.Mutex
	results map[string]suite.Result // the latest of each test
	took    map[string]time.Duration
	file    *os.File
	done    bool
}

const (
	resultsFile = "results.jsonl"
	doneFile    = "done"
)

// Open the run in dir. By default, with keep nil, a run that was ended before its
// time goes on, and one that came to its end begins anew; keep says instead which
// results of the last time stand.
func Open(dir string, keep func(suite.Result) bool) (*Run, error) {
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, err
	}
	r := &Run{dir: dir, results: map[string]suite.Result{}, took: map[string]time.Duration{}}
	if err := r.exclusive(); err != nil {
		return nil, err
	}
	if err := r.load(); err != nil {
		r.Close()
		return nil, err
	}
	if err := r.begin(keep); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Run) exclusive() (err error) {
	if r.lock, err = os.OpenFile(filepath.Join(r.dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644); err != nil {
		return err
	}
	if err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		r.lock.Close()
		return fmt.Errorf("another run is at work in %s", r.dir)
	}
	return nil
}

func (r *Run) load() error {
	f, err := os.Open(filepath.Join(r.dir, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // the end, or a line that was being written when the run was killed
		}
		var result suite.Result
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		r.results[result.Name], r.took[result.Name] = result, result.Took
	}
	_, err = os.Stat(filepath.Join(r.dir, doneFile))
	r.done = err == nil
	return nil
}

// begin writes the results that are kept anew and opens the file for more.
func (r *Run) begin(keep func(suite.Result) bool) (err error) {
	if !r.done && keep == nil {
		keep = func(suite.Result) bool { return true }
	}
	for name, result := range r.results {
		if keep == nil || !keep(result) {
			delete(r.results, name)
		}
	}
	if err := os.RemoveAll(filepath.Join(r.dir, doneFile)); err != nil {
		return err
	}
	if r.file, err = os.Create(filepath.Join(r.dir, resultsFile)); err != nil {
		return err
	}
	for _, result := range r.Results() {
		if err := r.write(result); err != nil {
			return err
		}
	}
	return nil
}

// Logs is the folder for the tests' output.
func (r *Run) Logs() string { return filepath.Join(r.dir, "logs") }

// Dir is the run's folder.
func (r *Run) Dir() string { return r.dir }

// Has says that a test need not run any more.
func (r *Run) Has(test string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.results[test]
	return ok
}

// Took is how long a test ran the last time, zero when it never did.
func (r *Run) Took(test string) time.Duration { return r.took[test] }

// Add a result; it is on disk when Add returns.
func (r *Run) Add(result suite.Result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[result.Name] = result
	return r.write(result)
}

func (r *Run) write(result suite.Result) error {
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = r.file.Write(append(line, '\n'))
	return err
}

// Results by group and name.
func (r *Run) Results() []suite.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []suite.Result
	for _, result := range r.results {
		out = append(out, result)
	}
	slices.SortFunc(out, func(a, b suite.Result) int {
		return strings.Compare(a.Group+" "+a.Name, b.Group+" "+b.Name)
	})
	return out
}

// Done marks the run as ended by itself, so that the next one begins anew.
func (r *Run) Done() error {
	return os.WriteFile(filepath.Join(r.dir, doneFile), nil, 0o644)
}

// Close lets others at the folder.
func (r *Run) Close() {
	if r.file != nil {
		r.file.Close()
	}
	r.lock.Close()
}
