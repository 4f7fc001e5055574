package keeper

import (
	"encoding/json"
	"errors"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Method names a request on the wire.
type Method string

// The methods, as the Keeper interface has them. After Events, Exec and Attach
// the connection is a stream.
const (
	MethodStartSandbox    Method = "StartSandbox"
	MethodStopSandbox     Method = "StopSandbox"
	MethodRemoveSandbox   Method = "RemoveSandbox"
	MethodSandbox         Method = "Sandbox"
	MethodSandboxes       Method = "Sandboxes"
	MethodCreate          Method = "Create"
	MethodStart           Method = "Start"
	MethodRun             Method = "Run"
	MethodSignal          Method = "Signal"
	MethodRemove          Method = "Remove"
	MethodContainer       Method = "Container"
	MethodContainers      Method = "Containers"
	MethodEvents          Method = "Events"
	MethodExec            Method = "Exec"
	MethodAttach          Method = "Attach"
	MethodResize          Method = "Resize"
	MethodReopenLog       Method = "ReopenLog"
	MethodUpdateResources Method = "UpdateResources"
	MethodStats           Method = "Stats"
	MethodVersion         Method = "Version"
	MethodUpgrade         Method = "Upgrade"
	MethodShutdown        Method = "Shutdown"
)

// Bodies of requests that are not a type of the interface.
type (
	IDRequest     struct{ ID string }
	SignalRequest struct {
		ID     string
		Signal syscall.Signal
		All    bool
	}
	ResizeRequest struct {
		ID   string
		Size WindowSize
	}
	UpdateRequest struct {
		ID        string
		Resources *specs.LinuxResources
	}
	StatsRequest    struct{ IDs []string }
	UpgradeRequest  struct{ Path string }
	ShutdownRequest struct{ Force bool }
	// ExecRequest passes the files that it has, in the order stdin, stdout, stderr.
	ExecRequest struct {
		ContainerID string
		Process     *specs.Process
		TTY         bool
		Files       [3]bool
	}
	// ExecStarted is the first answer to Exec, with the terminal's descriptor
	// if there is one; an ExitStatus is the second and last.
	ExecStarted struct{ PID int }
	// ExecSignal is what a client may send meanwhile.
	ExecSignal struct{ Signal syscall.Signal }
	// AttachStarted passes the descriptors it names: the write end of stdin, the
	// read ends of stdout and stderr. The stream is over when the connection is.
	AttachStarted struct{ Stdin, Stderr, TTY bool }
)

// errorHead is the head of an answer that is an error. An empty head means that
// all went well.
type errorHead struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	ID      string `json:"id,omitempty"` // of a StartError
}

var codes = map[string]error{
	"notFound": ErrNotFound, "exists": ErrExists, "notRunning": ErrNotRunning,
	"invalid": ErrInvalid, "busy": ErrBusy, "unavailable": ErrUnavailable,
}

// maxMessage keeps a long error of a container inside a frame's head.
const maxMessage = 16 << 10

// EncodeError makes the head of an answer from an error.
func EncodeError(err error) string {
	if err == nil {
		return ""
	}
	head := errorHead{Code: "error", Message: err.Error()}
	if len(head.Message) > maxMessage {
		head.Message = head.Message[:maxMessage]
	}
	var start *StartError
	if errors.As(err, &start) {
		head.Code, head.ID = "start", start.ID
	}
	for code, sentinel := range codes {
		if errors.Is(err, sentinel) {
			head.Code = code
		}
	}
	text, merr := json.Marshal(head)
	if merr != nil {
		return `{"code":"error","message":"an error that could not be encoded"}`
	}
	return string(text)
}

// DecodeError is the reverse.
func DecodeError(head string) error {
	if head == "" {
		return nil
	}
	var e errorHead
	if err := json.Unmarshal([]byte(head), &e); err != nil {
		return errors.New(head)
	}
	if e.Code == "start" {
		return &StartError{ID: e.ID, Message: e.Message}
	}
	return &remoteError{message: e.Message, is: codes[e.Code]}
}

// remoteError carries the keeper's words and the sentinel they stand for.
type remoteError struct {
	message string
	is      error // nil = none
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.is }
