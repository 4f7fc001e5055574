// Package wire is the format that proa and proa-keeper speak over a unix stream
// socket: frames of a head (a short text: the method of a request, the error of
// an answer) and a JSON body, with descriptors passed beside the first byte.
//
//	length u32 | head length u16 | head | body
//
// A connection carries one request at a time. Some requests turn it into a
// stream: then frames flow from the keeper until either side closes.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prefix = 6 // length of both length fields
	// maxFrame bounds what a bad peer can make us allocate. A spec with a large
	// environment and a seccomp profile is about 100 KB.
	maxFrame = 16 << 20
	maxFiles = 8
)

// Conn is one end of a connection. Reads and writes may run concurrently, but
// not two of a kind.
type Conn struct {
	u *net.UnixConn
}

// NewConn takes over u.
func NewConn(u *net.UnixConn) *Conn { return &Conn{u: u} }

// Close ends the connection.
func (c *Conn) Close() error { return c.u.Close() }

// SetDeadline bounds reads and writes.
func (c *Conn) SetDeadline(t time.Time) error { return c.u.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.u.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.u.SetWriteDeadline(t) }

// File is a duplicate of the connection's descriptor, for the next program.
func (c *Conn) File() (*os.File, error) { return c.u.File() }

// Alive tells whether an idle connection still has a peer that said nothing.
func (c *Conn) Alive() bool {
	raw, err := c.u.SyscallConn()
	if err != nil {
		return false
	}
	var rerr error
	if err := raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, rerr = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	}); err != nil {
		return false
	}
	return rerr == unix.EAGAIN
}

// Send writes one frame. The files stay the caller's.
func (c *Conn) Send(head string, body any, files ...*os.File) error {
	frame := make([]byte, prefix, 512)
	frame = append(frame, head...)
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode %s: %w", head, err)
		}
		frame = append(frame, encoded...)
	}
	if len(frame) > maxFrame || len(head) > 0xffff {
		return fmt.Errorf("frame of %d bytes is too long", len(frame))
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-prefix))
	binary.BigEndian.PutUint16(frame[4:], uint16(len(head)))
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		for _, f := range files {
			raw, err := f.SyscallConn()
			if err != nil {
				return fmt.Errorf("descriptor of %s: %w", f.Name(), err)
			}
			// Fd() would make the file blocking for its owner too.
			if err := raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) }); err != nil {
				return fmt.Errorf("descriptor of %s: %w", f.Name(), err)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	n, _, err := c.u.WriteMsgUnix(frame, oob, nil)
	if err != nil {
		return err
	}
	if n < len(frame) {
		_, err = c.u.Write(frame[n:])
	}
	return err
}

// Receive reads one frame. io.EOF means that the peer closed between frames; a
// deadline that passes between frames leaves the connection usable (ErrIdle).
func (c *Conn) Receive() (head string, body []byte, files []*os.File, err error) {
	var fixed [prefix]byte
	oob := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, oobn, flags, _, err := c.u.ReadMsgUnix(fixed[:], oob)
	if err != nil {
		if n <= 0 && os.IsTimeout(err) {
			err = ErrIdle
		}
		if errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return "", nil, nil, err
	}
	if n == 0 {
		return "", nil, nil, io.EOF
	}
	// The rest of the frame is on its way: a deadline must not tear it.
	_ = c.u.SetReadDeadline(time.Time{})
	files, err = receivedFiles(oob[:oobn], flags)
	if err == nil {
		head, body, err = c.rest(fixed, n)
	}
	if err != nil {
		CloseAll(files)
		return "", nil, nil, err
	}
	return head, body, files, nil
}

func (c *Conn) rest(fixed [prefix]byte, n int) (string, []byte, error) {
	if _, err := io.ReadFull(c.u, fixed[n:]); err != nil {
		return "", nil, fmt.Errorf("read frame: %w", unexpected(err))
	}
	length, headLength := int(binary.BigEndian.Uint32(fixed[:])), int(binary.BigEndian.Uint16(fixed[4:]))
	if length > maxFrame || headLength > length {
		return "", nil, fmt.Errorf("bad frame: length %d, head %d", length, headLength)
	}
	frame := make([]byte, length)
	if _, err := io.ReadFull(c.u, frame); err != nil {
		return "", nil, fmt.Errorf("read frame: %w", unexpected(err))
	}
	return string(frame[:headLength]), frame[headLength:], nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func receivedFiles(oob []byte, flags int) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control message: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // not descriptors
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	if flags&unix.MSG_CTRUNC != 0 {
		CloseAll(files)
		return nil, fmt.Errorf("more than %d descriptors in a frame", maxFiles)
	}
	return files, nil
}

// CloseAll closes what there is.
func CloseAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
