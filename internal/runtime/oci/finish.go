package oci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// initName is what a container's process is called until it is its command
// (libcontainer's nsexec).
const initName = "runc:[2:INIT]"

// finishPatience is far more than the moment between the last two steps of a start.
const finishPatience = 10 * time.Second

// FinishStart completes a Start during which this program ended. The process may wait
// for it yet, be about to run its command, or run it. running is false for one that
// has ended; by its exit code it is known whether it ran.
func (r *Runtime) FinishStart(id string, pid int) (running bool, err error) {
	// libcontainer's init waits for a reader of this FIFO, which is then removed.
	path := filepath.Join(r.root, id, "exec.fifo")
	fifo, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
		defer fifo.Close()
		defer os.Remove(path)
	case !errors.Is(err, os.ErrNotExist):
		return false, fmt.Errorf("finish the start: %w", err)
	}
	for began := time.Now(); time.Since(began) < finishPatience; time.Sleep(time.Millisecond) {
		name, state, err := stateOf(pid)
		switch {
		case err != nil || state == 'Z' || state == 'X':
			return false, nil
		case name != initName:
			return true, nil
		}
	}
	return false, errors.New("the container's process does not go on to its command")
}

// stateOf a process: its name and the letter that proc(5) has for what it does.
func stateOf(pid int) (name string, state byte, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	from, to := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if from < 0 || to < from || to+2 >= len(text) {
		return "", 0, fmt.Errorf("stat of process %d: %q", pid, text)
	}
	return string(text[from+1 : to]), text[to+2], nil
}
