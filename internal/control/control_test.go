package control

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// A server that is killed while it is asked is not running any more.
func TestAServerThatDiesWhileItIsAsked(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, said := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"} {
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(said))
			conn.Close()
		}()
		if _, err := Dial(socket).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
			t.Errorf("after %q: %v, want ErrNotRunning", said, err)
		}
	}
}

func TestStatusAndStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(context.Background())
	client := Dial(socket)
	if _, err := client.Status(ctx); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("before the start: %v, want ErrNotRunning", err)
	}
	// A socket file that a killed server left behind is no server either.
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want := Status{Running: true, PID: 7, DataDir: "/d"}
	served := make(chan error, 1)
	mux := http.NewServeMux()
	HandleProfiles(mux)
	go func() { served <- Serve(ctx, socket, mux, func() Status { return want }, cancel) }()

	var got Status
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got, err = client.Status(ctx); err == nil {
			break
		}
	}
	if err != nil || got != want {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v; want mode 0600", info, err)
	}
	if profile, err := client.do(ctx, http.MethodGet, "/debug/pprof/heap"); err != nil || profile.StatusCode != http.StatusOK {
		t.Errorf("heap profile: %v, %v", profile, err)
	}
	if err := client.Stop(ctx); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// A server that is killed while it is asked does not run.
func TestKilledWhileAsked(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	client := Dial(socket)
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("status: %v", err)
	}
	if err := client.Stop(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stop: %v", err)
	}
}
