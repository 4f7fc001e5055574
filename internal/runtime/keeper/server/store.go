package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/proa-project/proa/internal/kit/atomicfile"
	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/sandbox"
)

// sandboxRecord is what is on disk of a sandbox.
type sandboxRecord struct {
	Status    keeper.SandboxStatus
	Kind      sandbox.Kind
	StartTime uint64 // of pause, with its PID
}

// containerRecord is what is on disk of a container.
type containerRecord struct {
	Status    keeper.ContainerStatus
	PID       int    // of the init process, from when it is prepared
	StartTime uint64 // of it
	Starting  bool   // told to run its command, and not seen to since
	Quota     int64  // CPU limit, set once the command runs
	Period    uint64
	Burst     uint64
}

// store keeps records as JSON files.
type store struct {
	dir string
}

func (s store) sandboxFile(id string) string { return filepath.Join(s.dir, "sandboxes", id+".json") }
func (s store) containerDir(id string) string {
	return filepath.Join(s.dir, "containers", id)
}
func (s store) containerFile(id string) string {
	return filepath.Join(s.containerDir(id), "state.json")
}

// save replaces a file by the record: after a kill of ours it is the old or the
// new. Nothing is synced: it tells of processes, and what would tear it, a power cut,
// ends them too. (Where the run folder is no tmpfs, that was half of a start's time.)
func save(file string, record any) error {
	text, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("save %s: %w", file, err)
	}
	if err := atomicfile.Overwrite(file, text); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// load reads all records of a kind by ID. A file that can't be read is reported
// and left where it is.
func load[T any](dir string, file func(id string) string, id func(name string) string) (map[string]T, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]T{}
	var errs []error
	for _, e := range entries {
		name := id(e.Name())
		if name == "" {
			continue
		}
		text, err := os.ReadFile(file(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // died between the folder and the file
		}
		if err == nil && len(text) == 0 {
			// Torn by a power cut, with which the processes ended that it told of.
			errs = append(errs, os.Remove(file(name)))
			continue
		}
		var record T
		if err == nil {
			err = json.Unmarshal(text, &record)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("state of %s: %w", name, err))
			continue
		}
		all[name] = record
	}
	return all, errors.Join(errs...)
}

func (s store) sandboxes() (map[string]sandboxRecord, error) {
	return load[sandboxRecord](filepath.Join(s.dir, "sandboxes"), s.sandboxFile, func(name string) string {
		id, ok := strings.CutSuffix(name, ".json")
		if !ok {
			return ""
		}
		return id
	})
}

func (s store) containers() (map[string]containerRecord, error) {
	return load[containerRecord](filepath.Join(s.dir, "containers"), s.containerFile, func(name string) string { return name })
}
