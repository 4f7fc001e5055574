package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchies are the machine's own and, where v2 is mounted beside v1 without
// controllers, that one: enough of v2 for all but limits.
func hierarchies(t *testing.T) map[string]Hierarchies {
	t.Helper()
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Hierarchies{"detected": h}
	if _, err := os.Stat("/sys/fs/cgroup/unified/cgroup.procs"); err == nil {
		all["unified"] = Hierarchies{Unified: "/sys/fs/cgroup/unified"}
	}
	return all
}

func TestJoinKillRemove(t *testing.T) {
	for name, h := range hierarchies(t) {
		t.Run(name, func(t *testing.T) {
			top := fmt.Sprintf("/proa-cgroup-test-%d", os.Getpid())
			path := top + "/pods/one"
			t.Cleanup(func() {
				if err := h.Remove(top); err != nil {
					t.Error(err)
				}
			})
			// A process that forks for ever: a kill must outrun it.
			cmd := exec.Command("sh", "-c", "read x; while :; do sleep 100 & sleep 0.01; done")
			gate, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Wait() }()
			if err := h.Join(path, cmd.Process.Pid); err != nil {
				_ = cmd.Process.Kill()
				t.Fatal(err)
			}
			fmt.Fprintln(gate)
			for {
				pids, err := h.PIDs(path)
				if err != nil {
					t.Fatal(err)
				}
				if len(pids) > 3 {
					break
				}
				time.Sleep(time.Millisecond)
			}
			s, err := h.Stats(path)
			if err != nil || s.CPU.Usage == 0 {
				t.Errorf("stats %+v, %v", s, err)
			}
			if err := h.Signal(path, 0); err != nil {
				t.Error(err)
			}
			if err := h.KillAll(path, 30*time.Second); err != nil {
				t.Error(err)
			}
			if pids, err := h.PIDs(path); err != nil || len(pids) > 0 {
				t.Errorf("left: %v, %v", pids, err)
			}
			for range 2 {
				if err := h.Remove(path); err != nil {
					t.Error(err)
				}
			}
			if _, err := h.Stats(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stats of nothing: %v", err)
			}
			if pids, err := h.PIDs(path); err != nil || pids != nil {
				t.Errorf("processes of nothing: %v, %v", pids, err)
			}
		})
	}
}

// A process that is not in the cgroup is not signalled as its member.
func TestSignalMemberChecksMembership(t *testing.T) {
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.signalMember("/some/other/cgroup", cmd.Process.Pid, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("ended by %v", err)
	}
}

func TestReadFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := readKeys(put("events", "low 0\noom 2\noom_kill 1\nbad x\n")); got["oom_kill"] != 1 || got["oom"] != 2 || len(got) != 3 {
		t.Errorf("keys %v", got)
	}
	if got := readNumber(put("max", "max\n")); got != 0 {
		t.Errorf("max is %d", got)
	}
	if got := readNumber(put("n", "4096\n")); got != 4096 {
		t.Errorf("number %d", got)
	}
	p := readPressure(put("psi", "some avg10=1.50 avg60=0.20 avg300=0.00 total=123\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=45\n"))
	if p == nil || p.Some.Avg10 != 1.5 || p.Some.Total != 123 || p.Full.Avg10 != 0.5 || p.Full.Total != 45 {
		t.Errorf("pressure %+v", p)
	}
	if readPressure(filepath.Join(dir, "none")) != nil || readKeys(filepath.Join(dir, "none")) != nil {
		t.Error("something out of nothing")
	}
}

// The files of v2 as a real kernel writes them, for machines that have none.
func TestStatsV2(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "pod", "c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"cgroup.procs": "", "cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 10\nnr_throttled 2\nthrottled_usec 30\n",
		"memory.current": "1000\n", "memory.stat": "anon 600\nfile 400\ninactive_file 300\npgfault 7\npgmajfault 1\n", "memory.max": "max\n",
		"memory.events": "oom 1\noom_kill 1\n", "memory.swap.current": "5\n", "pids.current": "3\n", "pids.max": "100\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := Hierarchies{Unified: root}
	s, err := h.Stats("/pod/c")
	if err != nil {
		t.Fatal(err)
	}
	if s.CPU.Usage != 1_500_000 || s.CPU.User != 1_000_000 || s.CPU.ThrottledPeriods != 2 || s.CPU.Throttled != 30_000 {
		t.Errorf("cpu %+v", s.CPU)
	}
	if m := s.Memory; m.Usage != 1000 || m.WorkingSet != 700 || m.RSS != 600 || m.Limit != 0 || m.Swap != 5 || m.OOMKills != 1 || m.MajorPageFaults != 1 {
		t.Errorf("memory %+v", m)
	}
	if s.PIDs != 3 || s.PIDLimit != 100 || h.OOMKills("/pod/c") != 1 {
		t.Errorf("%+v", s)
	}
	if err := h.SetQuota("/pod/c", 20000, 0, 0); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "cpu.max")); string(text) != "20000 100000" {
		t.Errorf("cpu.max %q", text)
	}
}
