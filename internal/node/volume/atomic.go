package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/proa-project/proa/internal/kit/tree"
)

// Names of the writer's own in a volume; stock clients and programs look for "..data".
const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
	stampLayout = "..2006_01_02_15_04_05."
)

// writeAtomic makes dir show exactly the payload. Readers see the old files or the new ones, never a mix: files go into a new
// folder "..<time>", and one rename moves the link "..data" over to it; what users open (dir/key) is a link to ..data/key.
// own is applied to the new folder before it can be seen. It returns whether anything changed.
//
//	dir/key      -> ..data/key
//	dir/sub      -> ..data/sub
//	dir/..data   -> ..2026_11_22_22_52_43.123456789
//	dir/..2026_11_22_22_52_43.123456789/{key,sub/file}
//
// A crash at any point leaves a folder that the next call completes or cleans.
func writeAtomic(dir string, payload Payload, own func(folder string) error) (changed bool, err error) {
	if err := payload.validate(); err != nil {
		return false, err
	}
	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read %s: %w", dataLink, err)
	}
	if old != "" && holds(filepath.Join(dir, old), payload) {
		return false, showNames(dir, payload)
	}
	fresh, err := writeFolder(dir, payload)
	if err != nil {
		return false, err
	}
	if err := own(filepath.Join(dir, fresh)); err != nil {
		return false, errors.Join(err, tree.Remove(filepath.Join(dir, fresh)))
	}
	if err := swapLink(dir, fresh); err != nil {
		return false, errors.Join(err, tree.Remove(filepath.Join(dir, fresh)))
	}
	return true, errors.Join(showNames(dir, payload), removeOldFolders(dir, fresh))
}

// written tells whether a payload was ever completed in dir.
func written(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, dataLink))
	return err == nil
}

// holds compares names and contents, not modes: fsGroup changed those after the writing.
func holds(folder string, payload Payload) bool {
	files := 0
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		want, ok := payload[rel]
		if !ok {
			return fs.ErrNotExist
		}
		have, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want.Data) {
			return fs.ErrInvalid
		}
		files++
		return nil
	})
	return err == nil && files == len(payload)
}

func writeFolder(dir string, payload Payload) (string, error) {
	folder, err := os.MkdirTemp(dir, time.Now().UTC().Format(stampLayout))
	if err != nil {
		return "", err
	}
	// MkdirTemp makes it 0700; users other than root read these files too.
	if err := os.Chmod(folder, 0o755); err != nil {
		return "", errors.Join(err, tree.Remove(folder))
	}
	for name, file := range payload {
		if err := writeFile(filepath.Join(folder, name), file); err != nil {
			return "", errors.Join(err, tree.Remove(folder))
		}
	}
	return filepath.Base(folder), nil
}

func writeFile(name string, file File) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(file.Mode) & fs.ModePerm
	if err := os.WriteFile(name, file.Data, mode); err != nil {
		return err
	}
	if file.User != nil {
		if err := os.Chown(name, int(*file.User), -1); err != nil {
			return err
		}
	}
	// After the creation, because of the umask.
	return os.Chmod(name, mode)
}

func swapLink(dir, folder string) error {
	temporary := filepath.Join(dir, newDataLink)
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(folder, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, dataLink))
}

// showNames makes the top-level links that the payload needs and removes those of the past.
func showNames(dir string, payload Payload) error {
	want := map[string]bool{}
	for name := range payload {
		top, _, _ := strings.Cut(name, "/")
		want[top] = true
	}
	var errs []error
	for top := range want {
		err := os.Symlink(path.Join(dataLink, top), filepath.Join(dir, top))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, entry := range entries {
		if !want[entry.Name()] && !strings.HasPrefix(entry.Name(), "..") {
			errs = append(errs, os.Remove(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeOldFolders also removes what crashed writers left.
func removeOldFolders(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() && strings.HasPrefix(name, "..2") && name != keep {
			errs = append(errs, tree.Remove(filepath.Join(dir, name)))
		}
	}
	return errors.Join(errs...)
}
