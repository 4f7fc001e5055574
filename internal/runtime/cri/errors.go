package cri

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Error is a failed call with its gRPC code. Its text is the plain message, so
// that callers in the process show it to users without "rpc error: code = …".
type Error struct {
	Code codes.Code
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// GRPCStatus is how the gRPC server (and status.Code) learns the code.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Err.Error()) }

func fail(code codes.Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// wrap adds what was being done and finds the code that the cause deserves.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Code: codeOf(err), Err: fmt.Errorf(format+": %w", append(args, err)...)}
}

func codeOf(err error) codes.Code {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own.Code
	case errors.Is(err, spec.ErrInvalid), errors.Is(err, keeper.ErrInvalid):
		return codes.InvalidArgument
	case errors.Is(err, keeper.ErrNotFound), errdefs.IsNotFound(err):
		return codes.NotFound
	case errors.Is(err, keeper.ErrExists):
		return codes.AlreadyExists
	case errors.Is(err, keeper.ErrNotRunning):
		return codes.FailedPrecondition
	case errors.Is(err, keeper.ErrUnavailable):
		return codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	default:
		return codes.Unknown
	}
}
