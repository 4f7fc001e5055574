package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The descriptors of both ends in the pause process (see pause.c).
const (
	pauseSend    = 3
	pauseReceive = 4
)

// Holder keeps descriptors alive while the keeper is dead: they wait in the
// queue of a socket whose both ends pause holds open. The next keeper takes the
// ends from pause by pidfd_getfd(2).
type Holder struct {
	mu            sync.Mutex
	send, receive *os.File
	closed        bool // all methods then fail with os.ErrClosed
}

func newHolder() (*Holder, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("holder: %w", err)
	}
	return &Holder{send: os.NewFile(uintptr(fds[0]), "holder send"), receive: os.NewFile(uintptr(fds[1]), "holder receive")}, nil
}

// FindHolder takes the holder of a pause process that another keeper started.
func FindHolder(pidfd int) (*Holder, error) {
	send, err := unix.PidfdGetfd(pidfd, pauseSend, 0)
	if err != nil {
		return nil, fmt.Errorf("holder: pidfd_getfd: %w", err)
	}
	receive, err := unix.PidfdGetfd(pidfd, pauseReceive, 0)
	if err != nil {
		_ = unix.Close(send)
		return nil, fmt.Errorf("holder: pidfd_getfd: %w", err)
	}
	return &Holder{send: os.NewFile(uintptr(send), "holder send"), receive: os.NewFile(uintptr(receive), "holder receive")}, nil
}

// Close gives up our ends; pause keeps its own.
func (h *Holder) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return errors.Join(h.send.Close(), h.receive.Close())
}

// Put parks a copy of fd under a name.
func (h *Holder) Put(name string, fd int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.put(name, fd)
}

func (h *Holder) put(name string, fd int) error {
	if h.closed {
		return fmt.Errorf("holder: park %s: %w", name, os.ErrClosed)
	}
	if err := unix.Sendmsg(int(h.send.Fd()), []byte(name), unix.UnixRights(fd), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("holder: park %s: %w", name, err)
	}
	return nil
}

// Drop lets go of every descriptor whose name begins with prefix.
func (h *Holder) Drop(prefix string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, err := h.takeAll()
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range held {
		if !strings.HasPrefix(f.name, prefix) {
			errs = append(errs, h.put(f.name, f.fd))
		}
		_ = unix.Close(f.fd)
	}
	return errors.Join(errs...)
}

// Files are copies of all that is parked, by name; it stays parked.
func (h *Holder) Files() (map[string]*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, err := h.takeAll()
	if err != nil {
		return nil, err
	}
	files := make(map[string]*os.File, len(held))
	var errs []error
	for _, f := range held {
		errs = append(errs, h.put(f.name, f.fd))
		_ = unix.SetNonblock(f.fd, true)
		files[f.name] = os.NewFile(uintptr(f.fd), f.name)
	}
	return files, errors.Join(errs...)
}

type heldFile struct {
	name string
	fd   int
}

func (h *Holder) takeAll() ([]heldFile, error) {
	if h.closed {
		return nil, fmt.Errorf("holder: %w", os.ErrClosed)
	}
	var all []heldFile
	buf, oob := make([]byte, 512), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(int(h.receive.Fd()), buf, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("holder: %w", err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) == 0 {
			continue
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil || len(fds) == 0 {
			continue
		}
		all = append(all, heldFile{string(buf[:n]), fds[0]})
	}
}
