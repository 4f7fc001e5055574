package crifake

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// running finds a running container.
func (r *Runtime) running(id string) (*container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := r.container(id)
	if err != nil {
		return nil, err
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", id)
	}
	return c, nil
}

// ExecSync runs the program's Exec, bounded by the timeout on the fake's clock.
func (r *Runtime) ExecSync(ctx context.Context, req *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return call(ctx, r, "ExecSync", req, func() (*runtimeapi.ExecSyncResponse, error) {
		if len(req.Cmd) == 0 {
			return nil, errNoCommand
		}
		c, err := r.running(req.ContainerId)
		if err != nil {
			return nil, err
		}
		if c.program.Exec == nil {
			return &runtimeapi.ExecSyncResponse{}, nil
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		result := make(chan ExecResult, 1)
		go func() { result <- c.program.Exec(ctx, req.Cmd) }()
		var timeout <-chan time.Time
		if req.Timeout > 0 {
			t := r.clock.NewTimer(time.Duration(req.Timeout) * time.Second)
			defer t.Stop()
			timeout = t.C()
		}
		select {
		case res := <-result:
			if res.TimedOut {
				return nil, timedOut(req)
			}
			if res.Err != nil {
				return nil, res.Err
			}
			return &runtimeapi.ExecSyncResponse{Stdout: []byte(res.Stdout), Stderr: []byte(res.Stderr), ExitCode: res.Code}, nil
		case <-timeout:
			return nil, timedOut(req)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

var errNoCommand = status.Error(codes.InvalidArgument, "exec: no command specified")

// timedOut carries the gRPC code by which the CRI's clients know a timeout.
func timedOut(req *runtimeapi.ExecSyncRequest) error {
	return status.Errorf(codes.DeadlineExceeded, "command %q timed out after %ds", req.Cmd, req.Timeout)
}

// ReopenContainerLog makes the log file anew if it was moved away.
func (r *Runtime) ReopenContainerLog(ctx context.Context, req *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	return call(ctx, r, "ReopenContainerLog", req, func() (*runtimeapi.ReopenContainerLogResponse, error) {
		c, err := r.running(req.ContainerId)
		if err != nil {
			return nil, err
		}
		if c.logPath != "" {
			f, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				return nil, err
			}
			f.Close()
		}
		return &runtimeapi.ReopenContainerLogResponse{}, nil
	})
}
