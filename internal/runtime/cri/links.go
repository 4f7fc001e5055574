package cri

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/keeper/cgroup"
)

// link is what the kernel counts of one network link.
type link struct {
	name           string
	received, sent traffic
}

type traffic struct{ bytes, packets, errors, dropped uint64 }

// readLinks reads the counters of the links that a process sees, loopback left
// out; nil if the process has gone.
func readLinks(pid int) []link {
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []link
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if l, ok := parseLink(lines.Text()); ok && l.name != "lo" {
			out = append(out, l)
		}
	}
	return out
}

// parseLink reads a line of /proc/net/dev: name, then eight counters received
// (bytes, packets, errors, drops …) and eight sent.
func parseLink(line string) (l link, ok bool) {
	name, rest, ok := strings.Cut(line, ":")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 16 {
		return link{}, false
	}
	read := func(from int) (t traffic) {
		for i, into := range []*uint64{&t.bytes, &t.packets, &t.errors, &t.dropped} {
			*into, _ = strconv.ParseUint(fields[from+i], 10, 64)
		}
		return t
	}
	return link{name: strings.TrimSpace(name), received: read(0), sent: read(8)}, true
}

// networkUsage is the counters as the CRI's statistics have them; nil if the
// process has gone.
func networkUsage(pid int, now time.Time) *runtimeapi.NetworkUsage {
	links := readLinks(pid)
	if links == nil {
		return nil
	}
	out := &runtimeapi.NetworkUsage{Timestamp: now.UnixNano()}
	for i, l := range links {
		u := &runtimeapi.NetworkInterfaceUsage{
			Name: l.name, RxBytes: value(l.received.bytes), RxErrors: value(l.received.errors), TxBytes: value(l.sent.bytes), TxErrors: value(l.sent.errors),
		}
		if i == 0 {
			out.DefaultInterface = u
		} else {
			out.Interfaces = append(out.Interfaces, u)
		}
	}
	return out
}

// deviceName is the kernel's name of a block device, or its numbers.
func deviceName(d cgroup.DeviceIO) string {
	numbers := fmt.Sprintf("%d:%d", d.Major, d.Minor)
	text, err := os.ReadFile("/sys/dev/block/" + numbers + "/uevent")
	if err != nil {
		return numbers
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return "/dev/" + name
		}
	}
	return numbers
}
