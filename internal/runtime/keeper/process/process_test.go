package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	_ = cmd.Process.Release()
	return pid
}

func TestChildren(t *testing.T) {
	for _, c := range []struct {
		script string
		want   Exit
	}{
		{"exit 0", Exit{Known: true}},
		{"exit 3", Exit{Known: true, Code: 3}},
		{"exit 255", Exit{Known: true, Code: 255}},
		{"kill -9 $$", Exit{Known: true, Code: 137, Signal: 9}},
		{"kill -TERM $$", Exit{Known: true, Code: 143, Signal: 15}},
	} {
		p, err := Watch(start(t, c.script), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Wait()
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v want %+v", c.script, got, err, c.want)
		}
		if err := p.Signal(0); !errors.Is(err, ErrGone) {
			t.Errorf("%s: signal after the end: %v", c.script, err)
		}
	}
}

// grandchild starts a process whose parent (the shell) has not ended yet, and
// returns its PID: somebody else's child.
func grandchild(t *testing.T, script string) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pid")
	shell := exec.Command("sh", "-c", "sh -c '"+script+"' & echo $! >"+file+".new; mv "+file+".new "+file+"; wait")
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Wait() })
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAdopted(t *testing.T) {
	for _, c := range []struct {
		script string
		want   Exit
	}{
		{"sleep 0.2; exit 7", Exit{Known: true, Code: 7}},
		{"sleep 0.2; kill -9 $$", Exit{Known: true, Code: 137, Signal: 9}},
	} {
		p, err := Watch(grandchild(t, c.script), 0)
		if err != nil {
			t.Fatal(err)
		}
		if p.child {
			t.Fatal("taken for our child")
		}
		got, err := p.Wait()
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v want %+v", c.script, got, err, c.want)
		}
	}
}

// A descriptor from before tells how a process ended that is long reaped.
func TestEndedBeforeAdoption(t *testing.T) {
	pid := grandchild(t, "sleep 0.1; exit 5")
	first, err := Watch(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := Watch(pid, first.StartTime); !errors.Is(err, ErrGone) {
		t.Fatalf("watch by PID: %v", err)
	}
	p, err := WatchFD(pid, first.StartTime, first.fd)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Wait(); err != nil || got != (Exit{Known: true, Code: 5}) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestPIDOfAnother(t *testing.T) {
	pid := start(t, "sleep 5")
	if _, err := Watch(pid, 1); !errors.Is(err, ErrGone) {
		t.Fatalf("another's start time: %v", err)
	}
	p, err := Watch(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got, err := p.Wait(); err != nil || got.Signal != 9 {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestStop(t *testing.T) {
	pid := start(t, "sleep 5")
	p, err := Watch(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if _, err := p.Wait(); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v", err)
	}
	again, err := Watch(pid, p.StartTime)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Signal(syscall.SIGKILL)
	if _, err := again.Wait(); err != nil {
		t.Fatal(err)
	}
}
