package oci

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// rlimits by their name in a spec (setrlimit(2)).
var rlimits = map[string]int{
	"RLIMIT_CPU": unix.RLIMIT_CPU, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_DATA": unix.RLIMIT_DATA,
	"RLIMIT_STACK": unix.RLIMIT_STACK, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_RSS": unix.RLIMIT_RSS,
	"RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK,
	"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS, "RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE, "RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
}

// serverLimits are what containers of a server get when nobody says otherwise,
// the values that containerd's service has.
var serverLimits = map[int]uint64{
	unix.RLIMIT_NOFILE: 1 << 20, unix.RLIMIT_NPROC: unix.RLIM_INFINITY, unix.RLIMIT_CORE: unix.RLIM_INFINITY,
}

// RaiseLimits gives this process, and so its containers, the limits of a server,
// or as near to them as it may go: those of the shell that started it all, 1024
// open files say, are not meant for them. Call it before New.
func RaiseLimits() {
	for number, want := range serverLimits {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(number, &now); err != nil {
			continue
		}
		// By package syscall: it then knows that child processes shall have it too.
		most := max(now.Max, want)
		if syscall.Setrlimit(number, &syscall.Rlimit{Cur: most, Max: most}) != nil {
			_ = syscall.Setrlimit(number, &syscall.Rlimit{Cur: now.Max, Max: now.Max})
		}
	}
}

// limits are what this process may give. Without CAP_SYS_RESOURCE (inside
// another container, say) a lower oom_score_adj or a higher hard limit than our
// own is refused, and libcontainer then refuses the container.
type limits struct {
	unlimited   bool // CAP_SYS_RESOURCE
	oomScoreAdj int
	hard        map[string]uint64
}

func currentLimits() (limits, error) {
	var l limits
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return l, fmt.Errorf("read own capabilities: %w", err)
	}
	l.unlimited = data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return l, fmt.Errorf("read own OOM score: %w", err)
	}
	if l.oomScoreAdj, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return l, fmt.Errorf("read own OOM score: %w", err)
	}
	l.hard = make(map[string]uint64, len(rlimits))
	for name, number := range rlimits {
		var r unix.Rlimit
		if err := unix.Getrlimit(number, &r); err == nil {
			l.hard[name] = r.Max
		}
	}
	return l, nil
}

// clampProcess is p with nothing in it that this process may not give, and with
// an OOM score of its own: the keeper's is not for containers.
func (l limits) clampProcess(p *specs.Process) *specs.Process {
	if p == nil {
		return p
	}
	clamped := *p
	if clamped.OOMScoreAdj == nil {
		clamped.OOMScoreAdj = new(int)
	}
	if l.unlimited {
		return &clamped
	}
	if adj := *clamped.OOMScoreAdj; adj < l.oomScoreAdj {
		clamped.OOMScoreAdj = &l.oomScoreAdj
	}
	clamped.Rlimits = append([]specs.POSIXRlimit(nil), p.Rlimits...)
	for i, r := range clamped.Rlimits {
		if hard, ok := l.hard[r.Type]; ok {
			clamped.Rlimits[i].Hard = min(r.Hard, hard)
			clamped.Rlimits[i].Soft = min(r.Soft, hard)
		}
	}
	return &clamped
}
