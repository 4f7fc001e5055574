package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// page is the most that is written over an older text. The kernel copies what lies
// in one page of a file in one go, so that a kill finds it done or not begun.
const page = 4096

// Overwrite puts text at path, for its owner alone. A kill of the process leaves the
// old text or the new one; a power cut may tear it, as nothing is synced: it is for
// records of processes, which don't outlast that either.
//
// A file that is there is written in place if it fits into a page, which takes a
// tenth of what a new file and a rename take. Blanks then follow a text that is
// shorter than the last: it must be one that does not mind, as JSON does.
func Overwrite(path string, text []byte) error {
	done, err := inPlace(path, text)
	if err == nil && !done {
		err = renamed(path, text)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// inPlace tells whether the file was there and small enough.
func inPlace(path string, text []byte) (done bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	size := max(int64(len(text)), info.Size())
	if size > page {
		return false, nil
	}
	blanks := bytes.Repeat([]byte{' '}, int(size)-len(text))
	_, err = f.WriteAt(append(text[:len(text):len(text)], blanks...), 0)
	return true, err
}

func renamed(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
