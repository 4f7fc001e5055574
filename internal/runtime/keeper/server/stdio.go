package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/keeper"
	"github.com/proa-project/proa/internal/runtime/keeper/crilog"
)

// streams are the keeper's ends of a container's stdin, stdout and stderr.
//
// stdout and stderr are FIFOs. The container's process has them open for
// reading too, so that a dead keeper means a full pipe for it, never SIGPIPE.
// All of the keeper's ends are parked in pause for the next keeper (sandbox.Holder).
type streams struct {
	file           *crilog.File
	stdin          *os.File // nil without Stdin, once shut, and with TTY
	terminal       *os.File // nil without TTY
	stdout, stderr *os.File // nil with TTY
	outTee, errTee crilog.Tee
	pumps          []*crilog.Pump
}

// fifo makes a FIFO, or finds the one of an earlier keeper.
func fifo(dir, name string) error {
	path := filepath.Join(dir, name)
	if err := unix.Mkfifo(path, 0o600); err != nil && err != unix.EEXIST {
		return fmt.Errorf("make %s: %w", name, err)
	}
	return nil
}

func openFIFO(dir, name string, flags int) (*os.File, error) {
	// Not os.OpenFile, which would make the container's end non-blocking.
	fd, err := unix.Open(filepath.Join(dir, name), flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// newStreams makes both ends for a new container; the container's are given to
// its process and closed then.
func newStreams(dir string, st keeper.ContainerStatus) (s *streams, child Stdio, err error) {
	s = &streams{}
	child.TTY = st.TTY
	defer func() {
		if err != nil {
			s.close()
			child.close()
			child = Stdio{}
		}
	}()
	if s.file, err = crilog.Open(st.LogPath); err != nil {
		return s, child, err
	}
	if st.TTY {
		return s, child, nil
	}
	if st.Stdin {
		if child.Stdin, s.stdin, err = stdinPipe(); err != nil {
			return s, child, err
		}
	}
	for _, f := range []struct {
		name         string
		ours, theirs **os.File
	}{{crilog.Stdout, &s.stdout, &child.Stdout}, {crilog.Stderr, &s.stderr, &child.Stderr}} {
		if err = fifo(dir, f.name); err != nil {
			return s, child, err
		}
		if *f.theirs, err = openFIFO(dir, f.name, unix.O_RDWR); err != nil {
			return s, child, err
		}
		if *f.ours, err = openFIFO(dir, f.name, unix.O_RDONLY|unix.O_NONBLOCK); err != nil {
			return s, child, err
		}
	}
	return s, child, nil
}

func stdinPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make stdin: %w", err)
	}
	// Only our end is for Go's poller.
	if err := unix.SetNonblock(fds[1], true); err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make stdin: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "stdin"), os.NewFile(uintptr(fds[1]), "stdin"), nil
}

// adoptStreams opens the ends of a container that runs already. What is gone
// with the old keeper stays away: the container goes on without it.
func adoptStreams(dir string, st keeper.ContainerStatus, parked map[string]*os.File) (*streams, error) {
	s := &streams{}
	s.outTee.Join()
	s.errTee.Join()
	var err error
	if s.file, err = crilog.Open(st.LogPath); err != nil {
		// The container runs; its log can be reopened when the disk is back.
		s.file, _ = crilog.Open("")
	}
	var errs []error
	errs = append(errs, err)
	if st.TTY {
		s.terminal = parked[parkedTerminal(st.ID)]
		if s.terminal == nil {
			errs = append(errs, errors.New("the terminal went with the old keeper"))
		}
		return s, errors.Join(errs...)
	}
	s.stdin = parked[parkedStdin(st.ID)]
	for name, f := range map[string]**os.File{crilog.Stdout: &s.stdout, crilog.Stderr: &s.stderr} {
		*f, err = openFIFO(dir, name, unix.O_RDONLY|unix.O_NONBLOCK)
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// Names under which descriptors are parked in pause. The trailing slash keeps
// one ID from being the prefix of another's.
func parkedPrefix(id string) string   { return id + "/" }
func parkedStdin(id string) string    { return id + "/stdin" }
func parkedTerminal(id string) string { return id + "/terminal" }
func parkedStdout(id string) string   { return id + "/stdout" }
func parkedStderr(id string) string   { return id + "/stderr" }
func parkedPidfd(id string) string    { return id + "/pidfd" }

// pump begins to empty what the container prints.
func (s *streams) pump(log *slog.Logger) error {
	start := func(f *os.File, stream string, tee *crilog.Tee) error {
		if f == nil {
			return nil
		}
		p, err := crilog.Start(f, stream, s.file, tee, log)
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		s.pumps = append(s.pumps, p)
		return nil
	}
	return errors.Join(
		start(s.terminal, crilog.Stdout, &s.outTee),
		start(s.stdout, crilog.Stdout, &s.outTee),
		start(s.stderr, crilog.Stderr, &s.errTee),
	)
}

// suspend stops reading, for another program to go on.
func (s *streams) suspend() {
	for _, p := range s.pumps {
		p.Suspend()
	}
	s.pumps = nil
}

// finish takes what the container has printed to the end and closes all.
func (s *streams) finish() {
	for _, p := range s.pumps {
		p.Finish()
	}
	s.pumps = nil
	s.outTee.Close()
	s.errTee.Close()
	s.close()
}

func (s *streams) close() {
	for _, f := range []*os.File{s.stdin, s.terminal, s.stdout, s.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
	if s.file != nil {
		_ = s.file.Close()
	}
}

func (io Stdio) close() {
	for _, f := range []*os.File{io.Stdin, io.Stdout, io.Stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}
