package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// Figure is one result.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Goal of docs/bench.md; 0 = none. Below: less is better.
	Goal  float64 `json:"goal,omitempty"`
	Below bool    `json:"below,omitempty"`
	// Upstream is what Kubernetes v1.37.2 with containerd 2.4 and runc 1.5 took on
	// the same machine, with the same image and the same client; "" = not measured.
	Upstream string `json:"upstream,omitempty"`
}

func atMost(name string, value float64, unit string, goal float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Goal: goal, Below: true}
}

func atLeast(name string, value float64, unit string, goal float64) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Goal: goal}
}

func (f Figure) beside(upstream string) Figure {
	f.Upstream = upstream
	return f
}

// partOf makes f a part of the figure above it.
func partOf(f Figure) Figure {
	f.Name = "  of it " + f.Name
	return f
}

func (f Figure) goal() string {
	switch {
	case f.Goal == 0:
		return ""
	case f.Below:
		return fmt.Sprintf("≤ %g", f.Goal)
	}
	return fmt.Sprintf("≥ %g", f.Goal)
}

func (f Figure) met() string {
	switch {
	case f.Goal == 0:
		return ""
	case f.Below && f.Value <= f.Goal, !f.Below && f.Value >= f.Goal:
		return "met"
	}
	return "missed"
}

// Report is what a run of the benchmark says.
type Report struct {
	Date    string   `json:"date"` // RFC 3339, UTC
	Commit  string   `json:"commit"`
	Machine string   `json:"machine"`
	Figures []Figure `json:"figures"`
}

func (r Report) table(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tVALUE\tGOAL\t\tUPSTREAM")
	for _, f := range r.Figures {
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.goal(), f.met(), f.Upstream)
	}
	w.Flush()
}

// page is the report as docs/bench.md.
func (r Report) page() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Figures

What `+"`make bench`"+` measured last, as it came out: %s, commit %s, on %s.
`+"`make bench PAGE=docs/bench.md`"+` writes this page anew.

Upstream is Kubernetes v1.37.2 with containerd 2.4 and runc 1.5 on a machine of the same kind, the same image and
the same client, without service proxy and DNS, which proa's figures include.

| figure | value | goal | | upstream |
|---|---|---|---|---|
`, r.Date, r.Commit, r.Machine)
	for _, f := range r.Figures {
		name := strings.Replace(f.Name, "  of it ", "– of it ", 1)
		fmt.Fprintf(&b, "| %s | %.4g %s | %s | %s | %s |\n", name, f.Value, f.Unit, f.goal(), f.met(), f.Upstream)
	}
	b.WriteString(`
Times are of the wall clock, seen by a client with a watch over TLS on the same machine, so that the client's own
work is in them. CPU time is what the server, the keeper and all processes that the keeper has waited for have used.
PSS shares a page's size among those who map it.
`)
	return b.Bytes()
}

// commit that the working tree is at, "+" if it has changes.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty=+", "--abbrev=10").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine in one line: CPUs, memory, kernel, cgroup version.
func machine() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	var info unix.Sysinfo_t
	_ = unix.Sysinfo(&info)
	cgroups := "v1"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		cgroups = "v2"
	}
	return fmt.Sprintf("%d CPUs (%s), %d GiB, Linux %s, cgroup %s", runtime.NumCPU(), cpuModel(),
		(uint64(info.Totalram)*uint64(info.Unit)+1<<29)>>30, unix.ByteSliceToString(name.Release[:]), cgroups)
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
