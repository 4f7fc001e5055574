package cri

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/kit/atomicfile"
)

// sandboxRecord is what must be known of a sandbox after a restart and is not
// the keeper's to tell.
type sandboxRecord struct {
	ID      string
	Config  *runtimeapi.PodSandboxConfig
	Handler string
	Created time.Time
	// Complete is false while RunPodSandbox works: such a record after a restart
	// means that nobody was told of the sandbox.
	Complete bool
	IPs      []netip.Addr
	// Detached: the addresses were given back; the sandbox is never ready again.
	Detached bool
}

// containerRecord is the same of a container. It is written before the keeper is
// asked to create the process and removed last.
type containerRecord struct {
	ID, SandboxID string
	Config        *runtimeapi.ContainerConfig
	ImageID       string
	ImageRef      string
	StopSignal    string // of the image
	LogPath       string
	Cgroup        string
	Created       time.Time
	// Process is the container's own, as the template of what exec runs.
	Process *specs.Process
	// Volumes are the snapshots of image volumes, mounted beside the rootfs.
	Volumes []string
}

// store keeps records as one small file each.
type store struct{ dir string }

func (s store) sandboxes() string  { return filepath.Join(s.dir, "sandboxes") }
func (s store) containers() string { return filepath.Join(s.dir, "containers") }

// etc is the folder of the files that a pod's containers have below /etc.
func (s store) etc(sandboxID string) string { return filepath.Join(s.dir, "etc", sandboxID) }

func (s store) init() error {
	for _, dir := range []string{s.sandboxes(), s.containers(), filepath.Join(s.dir, "etc")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func save(dir, id string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode record of %s: %w", id, err)
	}
	// A power cut may tear it; it also ends all that the record tells of, so nothing
	// is synced, on the path of every pod's start.
	return atomicfile.Overwrite(filepath.Join(dir, id+".json"), data)
}

func (s store) saveSandbox(r *sandboxRecord) error     { return save(s.sandboxes(), r.ID, r) }
func (s store) saveContainer(r *containerRecord) error { return save(s.containers(), r.ID, r) }

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s store) removeSandbox(id string) error {
	if err := os.RemoveAll(s.etc(id)); err != nil { // plain files, nothing is ever mounted there
		return err
	}
	return remove(filepath.Join(s.sandboxes(), id+".json"))
}

func (s store) removeContainer(id string) error {
	return remove(filepath.Join(s.containers(), id+".json"))
}

// load reads all records of a folder. One that can't be read is reported by ID
// with a zero record, so that what it stood for is cleaned up.
func load[R any](dir string) (map[string]*R, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]*R{}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			_ = os.Remove(filepath.Join(dir, e.Name())) // a write that a crash cut off
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		r := new(R)
		if err := json.Unmarshal(data, r); err != nil {
			r = new(R)
		}
		out[id] = r
	}
	return out, nil
}
