package network

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// load reads the attachments of an earlier run. A file that a crash cut short
// speaks of a sandbox whose Attach never returned: it is dropped.
func load(dir string) (map[string]attachment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read network state: %w", err)
	}
	pods := make(map[string]attachment, len(entries))
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		path := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read network state: %w", err)
		}
		var a attachment
		if err := json.Unmarshal(data, &a); err != nil || !a.Addr.IsValid() {
			slog.Warn("Dropped a broken network state file", "path", path, "err", err)
			_ = os.Remove(path)
			continue
		}
		pods[id] = a
	}
	return pods, nil
}

// save is atomic by rename but not synced: the folder is on a tmpfs and does
// not survive a power cut anyway, like the links it describes.
func save(dir, sandboxID string, a attachment) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := statePath(dir, sandboxID)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("write network state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write network state: %w", err)
	}
	return nil
}
