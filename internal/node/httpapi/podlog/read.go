package podlog

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	// current is the file that is being read: the one that the runtime writes, or wrote when it was opened; nil while there is none.
	current *logFile
	// passed are the stamps of files that were moved away and are done with.
	passed map[string]bool
	// begun: a file was read that path was the name of.
	begun bool
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
	p, err := findPieces(r.path)
	r.current, r.begun = p.current, p.current != nil
	if err != nil {
		return err
	}
	r.passed = map[string]bool{}
	for _, name := range p.rotated {
		r.passed[stampOf(r.path, name)] = true
	}
	var start position
	if r.opts.Tail != nil {
		if start, err = tailPosition(&p, r.opts, max(*r.opts.Tail, 0)); err != nil {
			return err
		}
	}
	for i := start.file; i < p.len(); i++ {
		skip := int64(0)
		if i == start.file {
			skip = start.skip
		}
		if err := r.readPiece(ctx, &p, i, skip); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) readPiece(ctx context.Context, p *pieces, i int, skip int64) error {
	log, done, err := p.open(i)
	if log == nil || err != nil {
		return err
	}
	defer done()
	return r.drain(ctx, log, skip)
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

// catchUp reads to the end of what the runtime writes, over rotations: when path is another file than before, the old one is read
// to its end first, then those that were moved away after it, of which there are some if the client was slow.
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
			if err != nil || r.current.is(now) {
				return nil
			}
			r.current.close()
			r.current = nil
		}
		if err != nil {
			return nil
		}
		if r.current, err = r.next(); r.current == nil || err != nil {
			return err
		}
	}
}

// next opens the file after the one that was just read to its end; nil where there is none yet.
func (r *reader) next() (*logFile, error) {
	names, err := rotated(r.path)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return r.passed[stampOf(r.path, name)] })
	following := append(names, r.path)
	if len(names) > 0 && r.begun {
		// The first one is what was read, under its new name.
		r.passed[stampOf(r.path, names[0])] = true
		following = following[1:]
	}
	r.begun = true
	log, err := openLog(following[0])
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return log, err
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
