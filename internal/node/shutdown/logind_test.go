package shutdown

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// bus runs a real message bus for the test and returns how to connect to it.
func bus(t *testing.T) func() *dbus.Conn {
	t.Helper()
	address := "unix:path=" + filepath.Join(t.TempDir(), "bus")
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address", "--address="+address)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("this test needs dbus-daemon (make setup installs it): %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return func() *dbus.Conn {
		conn, err := dbus.Connect(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}

// logind answers as systemd-logind does. Each lock that it hands out is a pipe,
// whose end it sees when the lock is let go.
type logind struct {
	conn  *dbus.Conn
	locks chan *os.File
}

func (l *logind) Inhibit(what, who, _, mode string) (dbus.UnixFD, *dbus.Error) {
	if what != "shutdown" || who != "proa" || mode != "delay" {
		return 0, dbus.MakeFailedError(os.ErrInvalid)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	time.AfterFunc(time.Second, func() { w.Close() }) // the bus has its own by then
	l.locks <- r
	return dbus.UnixFD(w.Fd()), nil
}

func startLogind(t *testing.T, conn *dbus.Conn) *logind {
	t.Helper()
	l := &logind{conn: conn, locks: make(chan *os.File, 4)}
	if err := conn.Export(l, login1Path, login1Manager); err != nil {
		t.Fatal(err)
	}
	properties := prop.Map{login1Manager: {"InhibitDelayMaxUSec": {Value: uint64(5_000_000)}}}
	if _, err := prop.Export(conn, login1Path, properties); err != nil {
		t.Fatal(err)
	}
	if reply, err := conn.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return l
}

func (l *logind) prepare(t *testing.T, begins bool) {
	t.Helper()
	if err := l.conn.Emit(login1Path, login1Manager+".PrepareForShutdown", begins); err != nil {
		t.Fatal(err)
	}
}

func TestLogindIsHeldUpUntilThePodsHaveEnded(t *testing.T) {
	connect := bus(t)
	server := startLogind(t, connect())
	ended, resumed := make(chan struct{}), make(chan struct{})
	begun := make(chan struct{}, 1)
	var log strings.Builder
	l := Logind{
		Dial: func(context.Context) (*dbus.Conn, error) { return connect(), nil }, Needs: 30 * time.Second,
		Shutdown: func(context.Context) error { begun <- struct{}{}; <-ended; return nil },
		Resume:   func() { close(resumed) },
		Log:      slog.New(slog.NewTextHandler(&log, nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()

	lock := <-server.locks
	server.prepare(t, true)
	<-begun
	_ = lock.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	if _, err := lock.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Errorf("the lock was let go before the pods had ended: %v", err)
	}
	close(ended)
	_ = lock.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := lock.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the lock is still held: %v", err)
	}
	server.prepare(t, false)
	<-resumed
	<-server.locks // is taken again
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "InhibitDelayMaxSec") {
		t.Errorf("nobody was told that logind waits too short a time: %s", log.String())
	}
}
