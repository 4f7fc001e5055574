package probe

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/httpget"
)

const (
	// maxOutput bounds what is kept of a command's or a server's answer.
	maxOutput = 10 << 10
	// maxTries is how often an attempt is made when the prober itself errs.
	maxTries = 3
	// userAgent is how gRPC probes introduce themselves.
	userAgent = "kube-probe/" + httpget.Version
)

// answer is what one attempt found out.
type answer struct {
	verdict Verdict
	warning bool // a success that the user should hear of
	output  string
}

func success(output string) answer { return answer{verdict: Success, output: output} }
func failure(output string) answer { return answer{verdict: Failure, output: output} }

// probe makes an attempt and, where the prober itself erred, makes it again. An error tells nothing of the container.
func (r *Runner) probe(ctx context.Context, e *entry, podIP string) answer {
	var err error
	for range maxTries {
		var a answer
		if a, err = r.once(ctx, e, podIP); err == nil {
			return a
		}
		if ctx.Err() != nil {
			break
		}
	}
	return answer{output: err.Error()}
}

func (r *Runner) once(ctx context.Context, e *entry, podIP string) (answer, error) {
	limit := timeout(e.probe)
	switch handler := e.probe.ProbeHandler; {
	case handler.Exec != nil:
		return execProbe(ctx, r.cfg.Executor, e.id, expand(handler.Exec.Command, e.container.Env), limit)
	case handler.HTTPGet != nil:
		return r.http.probe(ctx, handler.HTTPGet, e.container, podIP, limit)
	case handler.TCPSocket != nil:
		port, err := httpget.Port(handler.TCPSocket.Port, e.container)
		if err != nil {
			return answer{}, err
		}
		return tcpProbe(ctx, hostOr(handler.TCPSocket.Host, podIP), port, limit), nil
	case handler.GRPC != nil:
		return grpcProbe(ctx, handler.GRPC, podIP, limit), nil
	}
	return answer{}, errors.New("probe names no handler")
}

func hostOr(host, podIP string) string {
	if host != "" {
		return host
	}
	return podIP
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
