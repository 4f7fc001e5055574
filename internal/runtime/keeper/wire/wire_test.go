package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func pair(t *testing.T) (a, b *Conn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	v, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close(); v.Close() })
	return NewConn(u), NewConn(v)
}

func TestFramesAndFiles(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		_ = a.Send("Head", map[string]int{"n": 1}, w)
		w.Close()
		_ = a.Send("", make([]byte, 1<<20)) // far larger than a socket's buffer
		_ = a.Close()
	}()
	head, body, files, err := b.Receive()
	if err != nil || head != "Head" || string(body) != `{"n":1}` || len(files) != 1 {
		t.Fatalf("%q %q %v %v", head, body, files, err)
	}
	if _, err := files[0].WriteString("x"); err != nil {
		t.Fatal(err)
	}
	CloseAll(files)
	if got, err := io.ReadAll(r); err != nil || string(got) != "x" {
		t.Fatalf("%q %v", got, err)
	}
	if _, body, _, err := b.Receive(); err != nil || len(body) < 1<<20 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	if _, _, _, err := b.Receive(); err != io.EOF {
		t.Fatal(err)
	}
}

// A deadline between frames is no end of the connection, whether it passed
// before or during the wait.
func TestIdle(t *testing.T) {
	a, b := pair(t)
	for _, d := range []time.Time{time.Unix(1, 0), time.Now().Add(10 * time.Millisecond)} {
		if err := b.SetReadDeadline(d); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := b.Receive(); !errors.Is(err, ErrIdle) {
			t.Fatalf("deadline %v: %v", d, err)
		}
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Send("still", nil); err != nil {
		t.Fatal(err)
	}
	if head, _, _, err := b.Receive(); err != nil || head != "still" {
		t.Fatalf("%q %v", head, err)
	}
	if !b.Alive() {
		t.Fatal("taken for dead")
	}
	a.Close()
	if b.Alive() {
		t.Fatal("taken for alive")
	}
}

func TestBadFrames(t *testing.T) {
	for _, garbage := range []string{"\xff\xff\xff\xff\x00\x00", "\x00\x00\x00\x01\x00\x05", "\x00\x00", "\x00\x00\x00\x05\x00\x01ab"} {
		a, b := pair(t)
		if _, err := a.u.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		_ = a.u.CloseWrite()
		if _, _, _, err := b.Receive(); err == nil || errors.Is(err, ErrIdle) {
			t.Errorf("%q: %v", garbage, err)
		}
	}
}
