package keeper

import "errors"

// Errors that callers decide by. The client turns the keeper's answers back
// into them, so errors.Is works across the socket.
var (
	ErrNotFound   = errors.New("not found")
	ErrExists     = errors.New("already exists")
	ErrNotRunning = errors.New("not running")
	ErrInvalid    = errors.New("invalid request")
	ErrBusy       = errors.New("sandboxes or containers still run")
	// ErrUnavailable: no keeper answers on the socket, or it went away in the
	// middle of a call (whether the call took effect is unknown).
	ErrUnavailable = errors.New("keeper unavailable")
	// ErrProtocol: the keeper that runs speaks another version; see Replace.
	ErrProtocol = errors.New("keeper speaks another protocol")
)

// StartExitCode is the exit code that a container gets when its process could
// not be started, the value that kubectl users know from other runtimes.
const StartExitCode = 128

// StartError says why a process of a container could not be started: a command
// that does not exist, a bad mount, an invalid user. Its text is fit for the
// message of a container status.
type StartError struct {
	ID      string // of the container
	Message string
}

func (e *StartError) Error() string { return e.Message }
