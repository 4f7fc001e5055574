package register

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what the node reports of the computer it runs on.
type Machine struct {
	CPUs        int
	MemoryBytes int64
	SwapBytes   int64
	// HugePages is the size in bytes to the number of pages.
	HugePages map[int64]int64
	// DiskBytes is the size of the file system that pods' files live on.
	DiskBytes int64

	MachineID, SystemUUID, BootID string
	Kernel, OSImage               string
	OS, Arch                      string
	// Nested says that we run in a user namespace below the machine's own.
	Nested bool
}

// ReadMachine reads the facts below root (the file system of the machine) and of the file system that holds dataDir. Identity
// files that are missing are left empty: containers and small systems lack some.
func ReadMachine(root fs.FS, dataDir string) (Machine, error) {
	m := Machine{
		CPUs:       runtime.NumCPU(),
		OS:         runtime.GOOS,
		Arch:       runtime.GOARCH,
		MachineID:  firstLine(root, "etc/machine-id", "var/lib/dbus/machine-id"),
		SystemUUID: strings.ToLower(firstLine(root, "sys/class/dmi/id/product_uuid")),
		BootID:     firstLine(root, "proc/sys/kernel/random/boot_id"),
		Kernel:     firstLine(root, "proc/sys/kernel/osrelease"),
		OSImage:    prettyName(root),
		HugePages:  hugePages(root),
		Nested:     nested(firstLine(root, "proc/self/uid_map")),
	}
	if m.SystemUUID == "" {
		m.SystemUUID = m.MachineID
	}
	memory, err := meminfo(root)
	if err != nil {
		return Machine{}, err
	}
	m.MemoryBytes, m.SwapBytes = memory["MemTotal"], memory["SwapTotal"]
	var disk unix.Statfs_t
	if err := unix.Statfs(dataDir, &disk); err != nil {
		return Machine{}, fmt.Errorf("size of the file system of %s: %w", dataDir, err)
	}
	m.DiskBytes = int64(disk.Blocks) * disk.Frsize
	return m, nil
}

// nested reads the first line of user_namespaces(7)'s uid_map: the machine's own
// namespace maps all IDs onto themselves.
func nested(uidMap string) bool {
	return uidMap != "" && strings.Join(strings.Fields(uidMap), " ") != "0 0 4294967295"
}

func firstLine(root fs.FS, names ...string) string {
	for _, name := range names {
		data, err := fs.ReadFile(root, name)
		if line, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n"); err == nil && line != "" {
			return line
		}
	}
	return ""
}

// prettyName is os-release(5)'s name of the system.
func prettyName(root fs.FS) string {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		data, err := fs.ReadFile(root, name)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				return strings.Trim(strings.TrimSpace(value), `"'`)
			}
		}
	}
	return "Linux"
}

// meminfo returns the sizes of proc_meminfo(5) in bytes.
func meminfo(root fs.FS) (map[string]int64, error) {
	data, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return nil, fmt.Errorf("size of the memory: %w", err)
	}
	out := map[string]int64{}
	for scan := bufio.NewScanner(bytes.NewReader(data)); scan.Scan(); {
		name, rest, _ := strings.Cut(scan.Text(), ":")
		value, isKiB := strings.CutSuffix(strings.TrimSpace(rest), " kB")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && isKiB {
			out[name] = n * 1024
		}
	}
	if out["MemTotal"] == 0 {
		return nil, fmt.Errorf("size of the memory: no MemTotal in /proc/meminfo")
	}
	return out, nil
}

// hugePages reads the pools that the kernel has (sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages).
func hugePages(root fs.FS) map[int64]int64 {
	out := map[int64]int64{}
	pools, err := fs.Glob(root, "sys/kernel/mm/hugepages/hugepages-*kB")
	if err != nil {
		return out
	}
	for _, pool := range pools {
		kib := strings.TrimSuffix(pool[strings.LastIndex(pool, "-")+1:], "kB")
		size, err := strconv.ParseInt(kib, 10, 64)
		if err != nil {
			continue
		}
		if count, err := strconv.ParseInt(firstLine(root, pool+"/nr_hugepages"), 10, 64); err == nil {
			out[size*1024] = count
		}
	}
	return out
}
