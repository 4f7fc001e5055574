package csi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/proa-project/proa/internal/kit/atomicfile"
)

// recordFile has the name that backup and audit programs know.
const recordFile = "vol_data.json"

// record is what must be known of a volume to unmount it, whoever mounted it. It is
// written before a driver is called, so that there is no mount without one.
type record struct {
	Volume     string `json:"specVolID,omitempty"`
	Handle     string `json:"volumeHandle"`
	Driver     string `json:"driverName"`
	Node       string `json:"nodeName,omitempty"`
	Attachment string `json:"attachmentID,omitempty"`
	Mode       string `json:"volumeLifecycleMode,omitempty"`
}

func (r record) id() id { return id{r.Driver, r.Handle} }

// id is what a volume is to its driver.
type id struct{ driver, handle string }

func writeRecord(dir string, r record) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, recordFile), data, 0o600)
}

// readRecord returns nil where there is none.
func readRecord(dir string) (*record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, recordFile), err)
	}
	return &r, nil
}

// records of all that match, by their folder. One that can't be read is an error:
// it may be of the very volume that is asked for.
func records(pattern string) (map[string]*record, error) {
	files, err := filepath.Glob(filepath.Join(pattern, recordFile))
	if err != nil {
		return nil, err
	}
	found := map[string]*record{}
	for _, name := range files {
		dir := filepath.Dir(name)
		r, err := readRecord(dir)
		if err != nil {
			return nil, err
		}
		if r != nil {
			found[dir] = r
		}
	}
	return found, nil
}

// dropRecord removes the record and its folder, which the driver has left empty.
func dropRecord(dir string) error {
	if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
