package podlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// lookAgain bounds how late a change is seen when the kernel has no watches left for us.
const lookAgain = 250 * time.Millisecond

// Flusher is the optional ability of a writer to send on at once what it holds; a follower flushes whenever it waits.
type Flusher interface{ Flush() }

// Read writes the log at path (the file that the runtime writes now; rotated ones lie beside it) to out. With Follow it goes on
// until ended is closed, after which everything that was written has been read, or until ctx ends. A log that doesn't exist
// (yet) is empty.
func Read(ctx context.Context, path string, opts Options, out io.Writer, ended <-chan struct{}) error {
	r := &reader{path: path, opts: &opts, format: newFormatter(out, &opts), out: out}
	defer r.close()
	err := r.history(ctx)
	if err == nil && opts.Follow {
		err = r.follow(ctx, ended)
	}
	if errors.Is(err, errLimit) {
		err = nil
	}
	return errors.Join(err, r.flush())
}

type reader struct {
	path   string
	opts   *Options
	format *formatter
	out    io.Writer
	// current is the file that the runtime writes, nil while there is none.
	current *logFile
}

func (r *reader) close() {
	if r.current != nil {
		r.current.close()
	}
}

func (r *reader) flush() error {
	err := r.format.out.Flush()
	if f, ok := r.out.(Flusher); ok && err == nil {
		f.Flush()
	}
	return err
}

// history reads what is there, and leaves the current file open at its end.
func (r *reader) history(ctx context.Context) error {
	if r.opts.Limit != nil && *r.opts.Limit <= 0 {
		return errLimit
	}
	names, err := rotated(r.path)
	if err != nil {
		return err
	}
	names = append(names, r.path)
	var start position
	if r.opts.Tail != nil {
		if start, err = tailPosition(names, r.opts, max(*r.opts.Tail, 0)); err != nil {
			return err
		}
	}
	for i := start.file; i < len(names); i++ {
		log, err := openLog(names[i])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if names[i] == r.path {
			r.current = log
		} else {
			defer log.close()
		}
		skip := int64(0)
		if i == start.file {
			skip = start.skip
		}
		if err := r.drain(ctx, log, skip); err != nil {
			return err
		}
	}
	return nil
}

// drain reads to the present end of a file; lines that are no log entries are left out.
func (r *reader) drain(ctx context.Context, log *logFile, skip int64) error {
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := log.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if skip > 0 {
			skip--
			continue
		}
		if e, ok := parseEntry(line); ok {
			if err := r.format.entry(&e); err != nil {
				return err
			}
		}
	}
}

// follow waits for changes of the folder and reads on.
func (r *reader) follow(ctx context.Context, ended <-chan struct{}) error {
	changes, stop := watchFolder(filepath.Dir(r.path))
	defer stop()
	last := false
	for {
		// Read after the watch is set and after the end was told: nothing falls in between.
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		if err := r.flush(); err != nil {
			return err
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			last = true
		case <-changes:
		}
	}
}

// catchUp reads to the end of what the runtime writes, over a rotation: when path is another file than before, the old one is
// read to its end first.
func (r *reader) catchUp(ctx context.Context) error {
	for {
		now, err := os.Stat(r.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if r.current != nil {
			if err := r.drain(ctx, r.current, 0); err != nil {
				return err
			}
			have, statErr := r.current.file.Stat()
			if statErr != nil {
				return statErr
			}
			if err != nil || os.SameFile(have, now) {
				return nil
			}
			r.current.close()
			r.current = nil
		}
		if err != nil {
			return nil
		}
		log, err := openLog(r.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		r.current = log
	}
}

// watchFolder tells of changes in a folder. Where there can be no watch (the folder is not there yet, the user's watches are
// used up) it ticks instead.
func watchFolder(dir string) (changes <-chan struct{}, stop func()) {
	out, done := make(chan struct{}, 1), make(chan struct{})
	tell := func() {
		select {
		case out <- struct{}{}:
		default:
		}
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		if err = watcher.Add(dir); err != nil {
			watcher.Close()
		}
	}
	if err != nil {
		ticker := time.NewTicker(lookAgain)
		go func() {
			for {
				select {
				case <-done:
					return
				case <-ticker.C:
					tell()
				}
			}
		}()
		return out, func() { ticker.Stop(); close(done) }
	}
	go func() {
		for {
			select {
			case <-done:
				return
			case _, open := <-watcher.Events:
				if !open {
					return
				}
				tell()
			case <-watcher.Errors:
				tell()
			}
		}
	}()
	return out, func() { close(done); watcher.Close() }
}
