package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/kit/layout"
	"github.com/proa-project/proa/internal/network"
	"github.com/proa-project/proa/internal/proxy"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// farewell is how long processes get between TERM and KILL when all goes down.
const farewell = 2 * time.Second

// Clean ends everything of a cluster that outlives its server — containers,
// keeper, mounts, links, rules, cgroups — and with purge also its data. It works
// from what the kernel shows, so it also cleans up after any kind of crash.
func Clean(ctx context.Context, l layout.Layout, purge bool) error {
	if _, err := os.Stat(l.Run); err == nil {
		unlock, err := awaitLock(ctx, l.Lock())
		if err != nil {
			return err
		}
		defer unlock()
	}
	if err := endOutside(ctx, l); err != nil {
		slog.Warn("Pods stay known to the container runtime", "err", err)
	}
	if err := endKeeper(ctx, l); err != nil {
		slog.Warn("The keeper did not end in order; its processes are ended one by one", "err", err)
	}
	err := errors.Join(
		endCgroups(ctx, l.Cgroup()),
		unmountBelow(l.Run, 1),
		unmountBelow(l.Data, 2), // the folder itself and its parts may be disks of the user's
		network.Remove(l.ID),
		proxy.Remove(l.ID),
	)
	if err != nil {
		return err // with something still mounted, nothing may be removed
	}
	if err := os.RemoveAll(l.Run); err != nil {
		return fmt.Errorf("remove run folder: %w", err)
	}
	_ = os.Remove(filepath.Dir(l.Run)) // the last cluster on the machine
	if purge {
		return removeData(l)
	}
	return nil
}

// removeData removes all that the cluster has kept. A folder that somebody has
// mounted a disk on is emptied and stays.
func removeData(l layout.Layout) error {
	strangers, err := l.Strangers()
	if err != nil {
		return err
	}
	if len(strangers) > 0 {
		return fmt.Errorf("%s is no cluster's folder (it holds %s): nothing of it is removed", l.Data, strings.Join(strangers, ", "))
	}
	if err := os.RemoveAll(l.Data); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("remove data folder: %w", err)
	}
	return nil
}

// endKeeper lets containers end by themselves for a moment, then has the keeper
// end the rest and itself.
func endKeeper(ctx context.Context, l layout.Layout) error {
	client, err := keeper.Dial(l.KeeperSocket())
	if err != nil {
		return nil // there is none
	}
	defer client.Close()
	running, err := client.Containers(ctx)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	for _, c := range running {
		if c.State == keeper.Running {
			_ = client.Signal(bounded, c.ID, syscall.SIGTERM, false)
		}
	}
	for _, c := range running {
		if c.State == keeper.Running {
			_, _ = client.Wait(bounded, c.ID)
		}
	}
	return client.Shutdown(ctx, true)
}

// endCgroups kills what is left in the cluster's cgroups and removes them.
func endCgroups(ctx context.Context, parent string) error {
	var failed []error
	for _, root := range cgroupRoots() {
		dir := filepath.Join(root, parent)
		for range 100 {
			if err := removeCgroupTree(dir); err == nil {
				break
			} else if ctx.Err() != nil {
				return ctx.Err()
			}
			killTree(dir)
			time.Sleep(10 * time.Millisecond) // a killed process leaves its cgroup when it is reaped
		}
		if _, err := os.Stat(dir); err == nil {
			failed = append(failed, fmt.Errorf("cgroup %s can't be removed", dir))
		}
	}
	return errors.Join(failed...)
}

// cgroupRoots are the mount points of all hierarchies, v1 and v2.
func cgroupRoots() []string {
	var roots []string
	for _, m := range mounts() {
		if m.kind == "cgroup" || m.kind == "cgroup2" {
			roots = append(roots, m.point)
		}
	}
	return roots
}

func removeCgroupTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(dirs) // children before parents
	for _, d := range dirs {
		if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func killTree(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(data)) {
			var pid int
			if _, err := fmt.Sscan(line, &pid); err == nil && pid > 1 && pid != os.Getpid() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return nil
	})
}

// unmountBelow takes down every mount that lies at least so many folders below
// dir, the last made first.
func unmountBelow(dir string, depth int) error {
	var failed []error
	points := mounts()
	slices.Reverse(points)
	for _, m := range points {
		rest, below := strings.CutPrefix(m.point, dir)
		if !below || !strings.HasPrefix(rest, "/") || strings.Count(rest, "/") < depth {
			continue
		}
		err := unix.Unmount(m.point, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(m.point, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: gone with its parent
			failed = append(failed, fmt.Errorf("unmount %s: %w", m.point, err))
		}
	}
	return errors.Join(failed...)
}

type mountPoint struct{ point, kind string }

// mounts in the order in which they were made.
func mounts() []mountPoint {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []mountPoint
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) > 4 {
			found = append(found, mountPoint{unescape.Replace(fields[4]), strings.Fields(after)[0]})
		}
	}
	return found
}
