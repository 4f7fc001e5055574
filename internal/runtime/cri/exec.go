package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

const (
	// execOutputLimit bounds each captured stream of ExecSync, as the CRI says.
	execOutputLimit = 16 << 20
	// drainGrace is how long output may stay silent after the command's end
	// before we stop waiting for it: a child in the background may hold the pipe
	// open for ever.
	drainGrace = 500 * time.Millisecond
)

// running finds a running container and the process that exec takes after.
func (s *Service) running(id string) (*container, error) {
	c := s.container(id)
	if c == nil {
		return nil, noContainer(id)
	}
	if st, _ := s.snapshot(c); st.State != keeper.Running {
		return nil, fail(codes.FailedPrecondition, "container %s is %s, not running", id, st.State)
	}
	return c, nil
}

// execProcess is the container's own process with another command.
func execProcess(c *container, cmd []string, tty bool) *specs.Process {
	p := *c.record.Process
	p.Args, p.Terminal = cmd, tty
	if tty {
		p.Env = append([]string{"TERM=xterm"}, p.Env...) // the container's own TERM comes later and wins
	}
	return &p
}

// ExecSync runs a command to its end and returns its output. After the timeout
// the command is killed and the answer is DeadlineExceeded.
func (s *Service) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if len(req.Cmd) == 0 {
		return nil, fail(codes.InvalidArgument, "exec: no command specified")
	}
	c, err := s.running(req.ContainerId)
	if err != nil {
		return nil, err
	}
	run := ctx
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		run, cancel = context.WithTimeout(ctx, time.Duration(req.Timeout)*time.Second)
		defer cancel()
	}
	var stdout, stderr bytes.Buffer
	code, err := s.exec(run, c, req.Cmd, pipes{out: &capped{w: &stdout, left: execOutputLimit}, err: &capped{w: &stderr, left: execOutputLimit}})
	if run.Err() != nil && ctx.Err() == nil {
		return nil, fail(codes.DeadlineExceeded, "command %q timed out after %ds", req.Cmd, req.Timeout)
	}
	if err != nil {
		return nil, wrap(err, "exec in container %s", c.id)
	}
	return &runtimeapi.ExecSyncResponse{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: int32(code)}, nil
}

// capped keeps the first bytes and swallows the rest, so that the command goes on.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// pipes are the far ends of a command's streams; nil ones are /dev/null.
type pipes struct {
	in       io.Reader
	out, err io.Writer
}

// exec runs a command without a terminal. The process gets real pipes; what it
// leaves in them after its end is still delivered.
func (s *Service) exec(ctx context.Context, c *container, cmd []string, p pipes) (code int, err error) {
	var w plumbing
	defer w.closeAll()
	req := keeper.Exec{ContainerID: c.id, Process: execProcess(c, cmd, false)}
	if req.Stdin, err = w.stdin(p.in); err != nil {
		return 0, err
	}
	if req.Stdout, err = w.output(p.out); err != nil {
		return 0, err
	}
	if req.Stderr, err = w.output(p.err); err != nil {
		return 0, err
	}
	session, err := s.cfg.Keeper.Exec(ctx, req)
	if err != nil {
		return 0, err
	}
	defer session.Close()
	w.closeTheirs() // so that the pipes end with the process
	w.start()
	exit, err := session.Wait(ctx)
	if err != nil {
		return 0, err
	}
	w.drain()
	return exit.Code, nil
}

// plumbing connects pipes with readers and writers of ours.
type plumbing struct {
	theirs, ours []*os.File
	feed         []func()
	outputs      []*output
	wait         sync.WaitGroup
}

func (w *plumbing) pipe() (r, wr *os.File, err error) {
	if r, wr, err = os.Pipe(); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return r, wr, nil
}

func (w *plumbing) stdin(in io.Reader) (*os.File, error) {
	if in == nil {
		return nil, nil
	}
	r, wr, err := w.pipe()
	if err != nil {
		return nil, err
	}
	w.theirs, w.ours = append(w.theirs, r), append(w.ours, wr)
	w.feed = append(w.feed, func() {
		// Ends when the client's stream does, which may be after the command's
		// end: nobody waits for it.
		_, _ = io.Copy(wr, in)
		wr.Close()
	})
	return r, nil
}

func (w *plumbing) output(out io.Writer) (*os.File, error) {
	if out == nil {
		return nil, nil
	}
	r, wr, err := w.pipe()
	if err != nil {
		return nil, err
	}
	w.theirs, w.ours = append(w.theirs, wr), append(w.ours, r)
	w.outputs = append(w.outputs, &output{from: r, to: out})
	return wr, nil
}

func (w *plumbing) start() {
	for _, f := range w.feed {
		go f()
	}
	for _, o := range w.outputs {
		w.wait.Go(o.copy)
	}
}

func (w *plumbing) closeTheirs() {
	for _, f := range w.theirs {
		f.Close()
	}
	w.theirs = nil
}

func (w *plumbing) closeAll() {
	w.closeTheirs()
	for _, f := range w.ours {
		f.Close()
	}
	w.wait.Wait()
}

func (w *plumbing) drain() {
	for _, o := range w.outputs {
		o.processEnded()
	}
	w.wait.Wait()
}

// output copies one stream until its end or, once the process has ended, until
// it is empty and stays so.
type output struct {
	from  *os.File
	to    io.Writer
	ended atomic.Bool
}

func (o *output) processEnded() {
	o.ended.Store(true)
	_ = o.from.SetReadDeadline(time.Now().Add(drainGrace)) // wakes a blocked read in time
}

func (o *output) copy() {
	buf := make([]byte, 32<<10)
	for {
		if o.ended.Load() {
			_ = o.from.SetReadDeadline(time.Now().Add(drainGrace))
		}
		n, err := o.from.Read(buf)
		if n > 0 {
			if _, werr := o.to.Write(buf[:n]); werr != nil {
				// The client went; the command must not block on a full pipe.
				_, _ = io.Copy(io.Discard, o.from)
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !o.ended.Load() {
			continue
		}
		if err != nil {
			return
		}
	}
}
