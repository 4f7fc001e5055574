package podspec

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func (s *scope) checkLifecycle(l *v1.Lifecycle, at *field.Path) field.ErrorList {
	if l == nil {
		return nil
	}
	var errs field.ErrorList
	if h := l.PostStart; h != nil {
		errs = append(errs, s.checkHandler(handler{h.Exec, h.HTTPGet, h.TCPSocket, nil, h.Sleep}, at.Child("postStart"))...)
	}
	if h := l.PreStop; h != nil {
		errs = append(errs, s.checkHandler(handler{h.Exec, h.HTTPGet, h.TCPSocket, nil, h.Sleep}, at.Child("preStop"))...)
	}
	if l.StopSignal != nil {
		errs = append(errs, s.checkStopSignal(*l.StopSignal, at.Child("stopSignal"))...)
	}
	return errs
}

// checkStopSignal: signals are named per operating system, so the pod must say which it is for.
func (s *scope) checkStopSignal(signal v1.Signal, at *field.Path) field.ErrorList {
	switch os := s.spec.OS; {
	case os == nil:
		return field.ErrorList{field.Forbidden(at, "may not be set for containers with empty `spec.os.name`")}
	case os.Name == v1.Windows:
		return meta.Supported(at, signal, v1.SIGKILL, v1.SIGTERM)
	case os.Name == v1.Linux:
		return meta.Supported(at, signal, linuxSignals()...)
	}
	return nil
}

// linuxSignals lists the names of signal(7), the real-time ones counted from
// both ends as kill -l does.
func linuxSignals() []v1.Signal {
	signals := []v1.Signal{
		"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT",
		"SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT",
		"SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2",
		"SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
	}
	for i := 1; i <= 15; i++ {
		signals = append(signals, v1.Signal(fmt.Sprintf("SIGRTMIN+%d", i)))
	}
	for i := 1; i <= 14; i++ {
		signals = append(signals, v1.Signal(fmt.Sprintf("SIGRTMAX-%d", i)))
	}
	return signals
}
