package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	// maxOutput bounds what is kept of a command's or a server's answer.
	maxOutput = 10 << 10
	// maxTries is how often an attempt is made when the prober itself errs.
	maxTries = 3
	// userAgent is how probes introduce themselves.
	userAgent = "kube-probe/1.37"
)

// probe makes an attempt and, where the prober itself erred, makes it again. An error tells nothing of the container.
func (r *Runner) probe(ctx context.Context, e *entry, podIP string) (Verdict, string) {
	var err error
	for range maxTries {
		var verdict Verdict
		var output string
		if verdict, output, err = r.once(ctx, e, podIP); err == nil {
			return verdict, output
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Unknown, err.Error()
}

func (r *Runner) once(ctx context.Context, e *entry, podIP string) (Verdict, string, error) {
	limit := timeout(e.probe)
	switch handler := e.probe.ProbeHandler; {
	case handler.Exec != nil:
		return execProbe(ctx, r.cfg.Executor, e.id, expand(handler.Exec.Command, e.container.Env), limit)
	case handler.HTTPGet != nil:
		port, err := resolvePort(handler.HTTPGet.Port, e.container)
		if err != nil {
			return Unknown, "", err
		}
		return r.http.probe(ctx, handler.HTTPGet, hostOr(handler.HTTPGet.Host, podIP), port, limit)
	case handler.TCPSocket != nil:
		port, err := resolvePort(handler.TCPSocket.Port, e.container)
		if err != nil {
			return Unknown, "", err
		}
		verdict, output := tcpProbe(ctx, hostOr(handler.TCPSocket.Host, podIP), port, limit)
		return verdict, output, nil
	case handler.GRPC != nil:
		verdict, output := grpcProbe(ctx, handler.GRPC, podIP, limit)
		return verdict, output, nil
	}
	return Unknown, "", errors.New("probe names no handler")
}

func hostOr(host, podIP string) string {
	if host != "" {
		return host
	}
	return podIP
}

// resolvePort finds a port by its number, or by its name among the container's.
func resolvePort(port intstr.IntOrString, container *v1.Container) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String && number == 0 {
		for _, p := range container.Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
		if number == 0 {
			return 0, fmt.Errorf("couldn't find port: %v for container %q", port.StrVal, container.Name)
		}
	}
	if number <= 0 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", number)
	}
	return number, nil
}

// expand fills $(NAME) in with variables whose values stand in the pod itself; $$ is a dollar sign, other references stay.
func expand(command []string, env []v1.EnvVar) []string {
	values := map[string]string{}
	for _, v := range env {
		if v.ValueFrom == nil {
			values[v.Name] = expandWord(v.Value, values)
		}
	}
	out := make([]string, 0, len(command))
	for _, word := range command {
		out = append(out, expandWord(word, values))
	}
	return out
}

func expandWord(text string, values map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = after
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		switch value, known := values[name]; {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "(") && closed && known:
			b.WriteString(value)
			text = rest
		default:
			b.WriteByte('$')
		}
	}
}

// dialer leaves no connections in TIME_WAIT for a minute each: probes make many. One second, not none, so that what was sent
// still arrives.
func dialer(limit time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout: limit,
		Control: func(_, _ string, conn syscall.RawConn) error {
			var err error
			controlErr := conn.Control(func(fd uintptr) {
				err = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
			})
			return errors.Join(controlErr, err)
		},
	}
}

// clip bounds the output that is kept.
func clip(output []byte) string { return string(output[:min(len(output), maxOutput)]) }
