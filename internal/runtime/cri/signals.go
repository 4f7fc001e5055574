package cri

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The real-time signals of the C library: it keeps 32 and 33 for itself.
const (
	rtMin = 34
	rtMax = 64
)

// stopSignal is the container's, else the image's, else TERM.
func stopSignal(c *runtimeapi.ContainerConfig, ofImage string) syscall.Signal {
	if c.GetStopSignal() != runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		if sig, ok := criSignal(c.StopSignal); ok {
			return sig
		}
	}
	if sig, err := parseSignal(ofImage); err == nil {
		return sig
	}
	return syscall.SIGTERM
}

// criSignal reads an enum name like SIGNAL_SIGRTMINPLUS3.
func criSignal(s runtimeapi.Signal) (syscall.Signal, bool) {
	name := strings.TrimPrefix(s.String(), "SIGNAL_")
	name = strings.NewReplacer("PLUS", "+", "MINUS", "-").Replace(name)
	sig, err := parseSignal(name)
	return sig, err == nil
}

// parseSignal reads what images hold: "SIGTERM", "TERM", "15", "SIGRTMIN+3".
func parseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n <= rtMax {
		return syscall.Signal(n), nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	for prefix, base := range map[string]int{"SIGRTMIN": rtMin, "SIGRTMAX": rtMax} {
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok {
			continue
		}
		offset := 0
		if rest != "" {
			var err error
			if offset, err = strconv.Atoi(rest); err != nil {
				break
			}
		}
		if n := base + offset; n >= rtMin && n <= rtMax {
			return syscall.Signal(n), nil
		}
	}
	switch full { // names that are the same signal on Linux
	case "SIGCLD":
		return syscall.SIGCHLD, nil
	case "SIGPOLL":
		return syscall.SIGIO, nil
	case "SIGIOT":
		return syscall.SIGABRT, nil
	}
	if sig := unix.SignalNum(full); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}

// reported is the stop signal as the CRI names it, for the status.
func reported(c *runtimeapi.ContainerConfig, ofImage string) runtimeapi.Signal {
	if c.GetStopSignal() != runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return c.StopSignal
	}
	sig := stopSignal(c, ofImage)
	name := unix.SignalName(sig)
	switch n := int(sig); {
	case n == rtMin || n == rtMax:
		name = map[int]string{rtMin: "SIGRTMIN", rtMax: "SIGRTMAX"}[n]
	case n > rtMin && n <= rtMin+15:
		name = fmt.Sprintf("SIGRTMINPLUS%d", n-rtMin)
	case n > rtMin && n < rtMax:
		name = fmt.Sprintf("SIGRTMAXMINUS%d", rtMax-n)
	}
	return runtimeapi.Signal(runtimeapi.Signal_value["SIGNAL_"+name])
}
