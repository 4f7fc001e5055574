package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/node/podlife"
)

const suffix = ".history"

// maxLines of a file before it is written anew with what is kept.
const maxLines = 4000

// Stored is a history as it was found on disk.
type Stored struct {
	UID             types.UID
	Namespace, Name string
	History         History
	GoneAt          time.Time // zero: the pod was there when the agent ended
}

// line of a file: exactly one field is set.
type line struct {
	Pod   *podLine       `json:"pod,omitempty"`
	Entry *podlife.Entry `json:"entry,omitempty"`
	Span  *Span          `json:"span,omitempty"`
	Gone  *time.Time     `json:"gone,omitempty"`
}

type podLine struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Files keeps histories in a folder, one file a pod, a line an entry. It is only
// ever added to, and not synced: a line that a crash tore is passed over.
// Safe for concurrent use, but for two calls about one pod.
type Files struct {
	dir string

	mu    sync.Mutex
	lines map[types.UID]int
}

// Open makes the folder if needed.
func Open(dir string) (*Files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open histories: %w", err)
	}
	return &Files{dir: dir, lines: map[types.UID]int{}}, nil
}

// Load reads all histories, and removes those of pods that are gone since before.
func (f *Files) Load(before time.Time) ([]Stored, error) {
	files, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, fmt.Errorf("load histories: %w", err)
	}
	var out []Stored
	var errs []error
	for _, file := range files {
		uid, ok := strings.CutSuffix(file.Name(), suffix)
		if !ok {
			continue
		}
		s, err := f.read(types.UID(uid))
		switch {
		case err != nil:
			errs = append(errs, err)
		case !s.GoneAt.IsZero() && s.GoneAt.Before(before):
			f.Drop(s.UID)
		default:
			out = append(out, s)
		}
	}
	return out, errors.Join(errs...)
}

func (f *Files) read(uid types.UID) (Stored, error) {
	data, err := os.ReadFile(f.path(uid))
	if err != nil {
		return Stored{}, fmt.Errorf("load history: %w", err)
	}
	s, n := Stored{UID: uid}, 0
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); n++ {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		switch {
		case l.Pod != nil:
			s.Namespace, s.Name = l.Pod.Namespace, l.Pod.Name
		case l.Entry != nil:
			s.History.Add([]podlife.Entry{*l.Entry})
		case l.Span != nil:
			s.History.restore(*l.Span)
		case l.Gone != nil:
			s.GoneAt = *l.Gone
		}
	}
	f.mu.Lock()
	f.lines[uid] = n
	f.mu.Unlock()
	return s, nil
}

// Append adds decisions, and spans that have begun or ended, to the history of a
// pod, which all is the whole of.
func (f *Files) Append(uid types.UID, namespace, name string, entries []podlife.Entry, spans []Span, all *History) error {
	if len(entries)+len(spans) == 0 {
		return nil
	}
	f.mu.Lock()
	n, known := f.lines[uid]
	f.mu.Unlock()
	var b bytes.Buffer
	flags := os.O_APPEND
	if !known || n > maxLines {
		flags, n = os.O_TRUNC, 0
		entries, spans = all.Log, all.All()
		n += write(&b, line{Pod: &podLine{namespace, name}})
	}
	for i := range entries {
		n += write(&b, line{Entry: &entries[i]})
	}
	for i := range spans {
		n += write(&b, line{Span: &spans[i]})
	}
	f.mu.Lock()
	f.lines[uid] = n
	f.mu.Unlock()
	return f.append(uid, flags, b.Bytes())
}

// Gone notes that the pod is no more.
func (f *Files) Gone(uid types.UID, at time.Time) error {
	var b bytes.Buffer
	write(&b, line{Gone: &at})
	return f.append(uid, os.O_APPEND, b.Bytes())
}

// Drop removes the history of a pod.
func (f *Files) Drop(uid types.UID) {
	f.mu.Lock()
	delete(f.lines, uid)
	f.mu.Unlock()
	_ = os.Remove(f.path(uid)) // it will be tried again at the next start
}

func (f *Files) append(uid types.UID, flags int, data []byte) error {
	if strings.ContainsAny(string(uid), "/\x00") {
		return fmt.Errorf("history: pod UID %q can't be a file name", uid)
	}
	file, err := os.OpenFile(f.path(uid), os.O_CREATE|os.O_WRONLY|flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the folder is gone: the node is being removed
	}
	if err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("keep history: %w", err)
	}
	return nil
}

func write(b *bytes.Buffer, l line) int {
	data, err := json.Marshal(l)
	if err != nil {
		return 0 // of times out of range, which no clock gives
	}
	b.Write(data)
	b.WriteByte('\n')
	return 1
}

func (f *Files) path(uid types.UID) string { return filepath.Join(f.dir, string(uid)+suffix) }
