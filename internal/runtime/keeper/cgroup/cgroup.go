// Package cgroup does with cgroups, v1 and v2, what must not wait for
// libcontainer or be linked with it: make one for a pause process, kill what is
// left in one, remove it, count its OOM kills, read its statistics.
//
// A cgroup is named by its path below the root of every hierarchy, the same in
// all of them ("/proa-1a2b/kubepods/pod1/c1").
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Hierarchies are the mounted cgroup file systems of this machine.
type Hierarchies struct {
	// Unified is the mount point of v2; v1 controllers are then unused.
	Unified string
	// V1 is the mount point by controller ("memory", "cpu", "name=systemd"). Where
	// v2 is mounted beside v1, libcontainer makes cgroups there too: "unified".
	V1 map[string]string
}

// Detect reads which hierarchies are mounted. A hybrid set-up (v1 controllers
// beside an empty v2) counts as v1, as libcontainer has it.
func Detect() (Hierarchies, error) {
	var h Hierarchies
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		return h, fmt.Errorf("cgroups at /sys/fs/cgroup: %w", err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		h.Unified = "/sys/fs/cgroup"
		return h, nil
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return h, err
	}
	defer f.Close()
	h.V1 = map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && len(super) > 0 && super[0] == "cgroup2" {
			h.V1["unified"] = fields[4]
		}
		if !ok || len(fields) < 5 || len(super) < 3 || super[0] != "cgroup" {
			continue
		}
		for option := range strings.SplitSeq(super[2], ",") {
			if option != "rw" && option != "ro" && h.V1[option] == "" {
				h.V1[option] = fields[4]
			}
		}
	}
	if err := lines.Err(); err != nil {
		return h, fmt.Errorf("read mountinfo: %w", err)
	}
	if len(h.V1) == 0 || len(h.V1) == 1 && h.V1["unified"] != "" {
		return h, errors.New("no cgroup hierarchy is mounted")
	}
	return h, nil
}

// dirs are the folders of a cgroup, each once, one a hierarchy.
func (h Hierarchies) dirs(path string) []string {
	if h.Unified != "" {
		return []string{filepath.Join(h.Unified, path)}
	}
	var dirs []string
	for _, mount := range h.V1 {
		if dir := filepath.Join(mount, path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// dir is the folder of a cgroup under one controller, "" without it.
func (h Hierarchies) dir(controller, path string) string {
	if h.Unified != "" {
		return filepath.Join(h.Unified, path)
	}
	if h.V1[controller] == "" {
		return ""
	}
	return filepath.Join(h.V1[controller], path)
}

// accounting are the v1 controllers that a pause process joins: what it uses
// belongs to its pod; the rest is not worth eight folders a pod.
var accounting = []string{"memory", "cpu", "cpuacct", "pids", "name=systemd"}

// Join makes the cgroup, with its parents, and moves a process into it.
func (h Hierarchies) Join(path string, pid int) error {
	dirs := h.dirs(path)
	if h.Unified == "" {
		dirs = dirs[:0]
		for _, c := range accounting {
			if dir := h.dir(c, path); dir != "" && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	} else if err := h.enableControllers(path); err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// enableControllers gives every controller of the root to the parents of a v2
// cgroup, top down. What can't be given is left out, as libcontainer does.
func (h Hierarchies) enableControllers(path string) error {
	dir := h.Unified
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("cgroup controllers: %w", err)
	}
	all := strings.Fields(string(text))
	for part := range strings.SplitSeq(strings.Trim(filepath.Dir(path), "/"), "/") {
		enabled, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		if err != nil {
			return fmt.Errorf("cgroup controllers: %w", err)
		}
		have := strings.Fields(string(enabled))
		for _, c := range all {
			if !slices.Contains(have, c) {
				_ = write(dir, "cgroup.subtree_control", "+"+c)
			}
		}
		if part == "" {
			return nil
		}
		dir = filepath.Join(dir, part)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	for _, c := range all {
		_ = write(dir, "cgroup.subtree_control", "+"+c)
	}
	return nil
}

// SetQuota limits CPU time: quota microseconds in every period. A quota of zero
// or less means no limit; a zero period or burst stays as it is.
func (h Hierarchies) SetQuota(path string, quota int64, period, burst uint64) error {
	dir := h.dir("cpu", path)
	if dir == "" {
		return nil
	}
	if h.Unified != "" {
		limit := "max"
		if quota > 0 {
			limit = strconv.FormatInt(quota, 10)
		}
		if period == 0 {
			period = 100_000
		}
		if err := write(dir, "cpu.max", limit+" "+strconv.FormatUint(period, 10)); err != nil {
			return err
		}
		if burst > 0 {
			return write(dir, "cpu.max.burst", strconv.FormatUint(burst, 10))
		}
		return nil
	}
	if period > 0 {
		if err := write(dir, "cpu.cfs_period_us", strconv.FormatUint(period, 10)); err != nil {
			return err
		}
	}
	if quota <= 0 {
		quota = -1
	}
	if err := write(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)); err != nil {
		return err
	}
	if burst > 0 {
		return write(dir, "cpu.cfs_burst_us", strconv.FormatUint(burst, 10))
	}
	return nil
}

// OOMKills counts the processes of this very cgroup that the OOM killer took.
func (h Hierarchies) OOMKills(path string) uint64 {
	file := "memory.oom_control"
	if h.Unified != "" {
		file = "memory.events"
	}
	dir := h.dir("memory", path)
	if dir == "" {
		return 0
	}
	return readKeys(filepath.Join(dir, file))["oom_kill"]
}

// processDir is where the members of a cgroup are listed for sure.
func (h Hierarchies) processDir(path string) string {
	for _, c := range []string{"devices", "memory", "pids", "cpu", "name=systemd"} {
		if dir := h.dir(c, path); dir != "" {
			if _, err := os.Stat(dir); err == nil {
				return dir
			}
		}
	}
	return ""
}

// PIDs lists the processes in the cgroup and below it.
func (h Hierarchies) PIDs(path string) ([]int, error) {
	top := h.processDir(path)
	if top == "" {
		return nil, nil
	}
	pids, err := processesBelow(top)
	if err != nil {
		return nil, fmt.Errorf("processes of cgroup %s: %w", path, err)
	}
	return pids, nil
}

// PIDsAnywhere lists also those that are in the cgroup of one hierarchy alone: a
// process that is being made joins one after the other.
func (h Hierarchies) PIDsAnywhere(path string) ([]int, error) {
	var all []int
	for _, dir := range h.dirs(path) {
		pids, err := processesBelow(dir)
		if err != nil {
			return nil, fmt.Errorf("processes of cgroup %s: %w", path, err)
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func processesBelow(top string) (pids []int, err error) {
	err = filepath.WalkDir(top, func(dir string, d fs.DirEntry, err error) error {
		if gone(err) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// Signal sends a signal to every process in the cgroup and below it.
func (h Hierarchies) Signal(path string, sig unix.Signal) error {
	pids, err := h.PIDs(path)
	if err != nil {
		return err
	}
	return h.signalMembers(path, pids, sig)
}

func (h Hierarchies) signalMembers(path string, pids []int, sig unix.Signal) error {
	for _, pid := range pids {
		if err := h.signalMember(path, pid, sig); err != nil {
			return err
		}
	}
	return nil
}

// signalMember sends a signal to a process that is, in spite of PID reuse, in
// the cgroup: the descriptor pins the process before its membership is read.
func (h Hierarchies) signalMember(path string, pid int, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // ended
	}
	defer unix.Close(fd)
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	if !strings.Contains(string(text), path) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// KillAll kills every process in the cgroup and below it, and waits until none
// is left, or for as long as patience lasts.
func (h Hierarchies) KillAll(path string, patience time.Duration) error {
	return h.killAll(path, patience, h.PIDs)
}

// KillAnywhere is KillAll of PIDsAnywhere.
func (h Hierarchies) KillAnywhere(path string, patience time.Duration) error {
	return h.killAll(path, patience, h.PIDsAnywhere)
}

func (h Hierarchies) killAll(path string, patience time.Duration, list func(path string) ([]int, error)) error {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		pids, err := list(path)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup %s: %d processes do not die", path, len(pids))
		}
		// cgroup.kill (v2, from 5.14) can't be outrun by a fork.
		if h.Unified == "" || write(h.dir("", path), "cgroup.kill", "1") != nil {
			if err := h.signalMembers(path, pids, unix.SIGKILL); err != nil {
				return err
			}
			h.thaw(path)
		}
		time.Sleep(pause) // the kernel gives no event on v1
	}
}

// thaw lets a frozen v1 cgroup die.
func (h Hierarchies) thaw(path string) {
	if dir := h.dir("freezer", path); dir != "" && h.Unified == "" {
		_ = write(dir, "freezer.state", "THAWED")
	}
}

// Remove removes the cgroup and all below it. No process may be left; one that
// is just ending is waited for, for a moment.
func (h Hierarchies) Remove(path string) error {
	var errs []error
	for _, dir := range h.dirs(path) {
		if err := removeTree(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	var err error
	for pause := time.Millisecond; pause < 200*time.Millisecond; pause *= 2 {
		err = unix.Rmdir(dir)
		if err == nil || err == unix.ENOENT {
			return nil
		}
		if entries, rerr := os.ReadDir(dir); rerr == nil {
			for _, e := range entries {
				if e.IsDir() {
					if cerr := removeTree(filepath.Join(dir, e.Name())); cerr != nil {
						return cerr
					}
				}
			}
		}
		if unix.Rmdir(dir) == nil {
			return nil
		}
		time.Sleep(pause)
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}

func write(dir, file, text string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)
}
