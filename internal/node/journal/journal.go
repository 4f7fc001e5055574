// Package journal keeps each pod's memory on disk: one small file a pod, changed
// as a whole. It survives a kill of the agent at any moment.
//
// Writes are not synced: what is at stake is the agent's memory of processes, and
// those don't survive a power failure either. After one, a file may be empty or
// torn; it then counts as absent.
package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/node/podlife"
)

const suffix = ".json"

// Entry is what is kept of one pod.
type Entry struct {
	UID       types.UID      `json:"uid"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Memory    podlife.Memory `json:"memory"`
	// Pod is kept in so far as its end needs it (grace, containers, hooks), for a
	// pod that is deleted from the API while the agent is down.
	Pod *v1.PodSpec `json:"spec,omitempty"`
}

// Skeleton is a pod as far as the entry knows it.
func (e Entry) Skeleton() *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: e.UID, Namespace: e.Namespace, Name: e.Name}}
	if e.Pod != nil {
		pod.Spec = *e.Pod.DeepCopy()
	}
	return pod
}

// Journal is a folder of entries. Safe for concurrent use, but for two Saves of
// one pod.
type Journal struct {
	dir string

	mu    sync.Mutex
	saved map[types.UID][]byte // what is on disk, so that nothing is written twice
}

// Open makes the folder if needed.
func Open(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return &Journal{dir: dir, saved: map[types.UID][]byte{}}, nil
}

// Load returns all entries that can be read, and joins what is wrong with the
// others, whose files are set aside.
func (j *Journal) Load() (map[types.UID]Entry, error) {
	files, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("load journal: %w", err)
	}
	entries := map[types.UID]Entry{}
	var errs []error
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		if !ok || f.IsDir() {
			continue
		}
		e, err := j.read(f.Name())
		if err == nil && string(e.UID) != name {
			err = fmt.Errorf("is about pod %q", e.UID)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("journal %s: %w", f.Name(), err))
			// The name no longer ends in the suffix, so it is not met again.
			_ = os.Rename(j.path(f.Name()), j.path(f.Name()+".bad"))
			continue
		}
		entries[e.UID] = e
	}
	return entries, errors.Join(errs...)
}

func (j *Journal) read(file string) (Entry, error) {
	b, err := os.ReadFile(j.path(file))
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	if err := json.Unmarshal(b, &e); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// Save writes an entry, if it is not what is there already, and tells which.
func (j *Journal) Save(e Entry) (changed bool, err error) {
	b, err := json.Marshal(e)
	if err != nil {
		return true, fmt.Errorf("journal pod %s: %w", e.UID, err)
	}
	if !safeName(string(e.UID)) {
		return true, fmt.Errorf("journal: pod UID %q can't be a file name", e.UID)
	}
	j.mu.Lock()
	old := j.saved[e.UID]
	j.mu.Unlock()
	if bytes.Equal(old, b) {
		return false, nil
	}
	if err := atomicfile.Overwrite(j.path(string(e.UID)+suffix), b); err != nil {
		return true, fmt.Errorf("journal pod %s: %w", e.UID, err)
	}
	j.mu.Lock()
	j.saved[e.UID] = b
	j.mu.Unlock()
	return true, nil
}

// Remove forgets a pod. An absent one is no error.
func (j *Journal) Remove(uid types.UID) error {
	j.mu.Lock()
	delete(j.saved, uid)
	j.mu.Unlock()
	if err := os.Remove(j.path(string(uid) + suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: forget pod %s: %w", uid, err)
	}
	return nil
}

func (j *Journal) path(name string) string { return filepath.Join(j.dir, name) }

// safeName: UIDs come from the API, or from labels in the runtime.
func safeName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}
