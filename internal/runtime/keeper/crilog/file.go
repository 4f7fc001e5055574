package crilog

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// File is a log file that can be moved away and opened anew. Both streams of a
// container write to it.
type File struct {
	path string

	mu sync.Mutex
	f  *os.File // nil: discard, or the last open failed
	// torn: the last write ended inside a line (the disk was full), so the
	// next one begins with the line's end.
	torn bool
}

// Open opens or makes the file; an empty path discards everything.
func Open(path string) (*File, error) {
	f := &File{path: path}
	return f, f.Reopen()
}

// Reopen opens the path anew. If that fails, what is printed until the next
// Reopen goes into the old file.
func (f *File) Reopen() error {
	if f.path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	fresh, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f != nil {
		_ = f.f.Close()
	}
	f.f, f.torn = fresh, false
	return nil
}

// Write adds whole lines. It never blocks a container because of an error: what
// could not be written is lost, and reported.
func (f *File) Write(lines []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil || len(lines) == 0 {
		return len(lines), nil
	}
	if f.torn {
		if _, err := f.f.Write([]byte("\n")); err != nil {
			return 0, err
		}
		f.torn = false
	}
	n, err := f.f.Write(lines)
	if n > 0 && n < len(lines) {
		f.torn = lines[n-1] != '\n'
	}
	return n, err
}

// Close ends the file; later writes are discarded.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}
