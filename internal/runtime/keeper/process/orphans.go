package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphanAge is how long a zombie must have been seen that nobody waits for
// before it is taken for an orphan. libcontainer waits for its own helpers by
// PID within milliseconds: a wait for any child would steal them from it.
const orphanAge = 5 * time.Second

// ReapOrphans reaps the children that we got as a subreaper: processes of
// containers in the host's PID namespace whose parents died. known tells which
// PIDs somebody waits for.
func ReapOrphans(ctx context.Context, known func(pid int) bool) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	go func() {
		defer signal.Stop(died)
		timer := time.NewTimer(orphanAge)
		defer timer.Stop()
		suspects := map[int]uint64{} // start time by PID
		for {
			select {
			case <-ctx.Done():
				return
			case <-died:
				if len(suspects) == 0 {
					timer.Reset(orphanAge)
				}
			case <-timer.C:
				suspects = reapSuspects(suspects, known)
				if len(suspects) > 0 {
					timer.Reset(orphanAge)
				}
			}
		}
	}()
	return nil
}

// reapSuspects reaps those that were suspect already, and names the new ones.
func reapSuspects(suspects map[int]uint64, known func(int) bool) map[int]uint64 {
	fresh := map[int]uint64{}
	for _, pid := range children() {
		st, err := readStat(pid)
		if err != nil || st.state != 'Z' || known(pid) {
			continue
		}
		if suspects[pid] != st.startTime {
			fresh[pid] = st.startTime
			continue
		}
		var status unix.WaitStatus
		_, _ = unix.Wait4(pid, &status, unix.WNOHANG, nil)
	}
	return fresh
}

// children lists our child processes, by all of our threads.
func children() []int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
