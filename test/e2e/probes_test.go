package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
)

// probed is a server of the test's that a pod on the host's network is probed by.
type probed struct {
	*httptest.Server
	answer atomic.Int32 // status code; 0 hangs
	flaps  atomic.Bool  // every other answer is 500

	mu    sync.Mutex
	asked []time.Time
}

func newProbed(t *testing.T, answer int32) *probed {
	p := &probed{}
	p.answer.Store(answer)
	hung := make(chan struct{})
	t.Cleanup(func() { close(hung); p.Close() })
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.asked = append(p.asked, time.Now())
		n := len(p.asked)
		p.mu.Unlock()
		code := int(p.answer.Load())
		if p.flaps.Load() && n%2 == 1 {
			code = http.StatusInternalServerError
		}
		switch {
		case code == 0:
			select {
			case <-hung:
			case <-r.Context().Done():
			}
		case r.Header.Get("X-Probe") != "yes" || r.URL.Path != "/at" || !strings.HasPrefix(r.UserAgent(), "kube-probe/"):
			http.Error(w, "not what was asked for", http.StatusBadRequest)
		default:
			w.WriteHeader(code)
			fmt.Fprintf(w, "answer %d", code)
		}
	}))
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	p.Listener = l
	return p
}

func (p *probed) port() int { return port(p.Listener) }

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func (p *probed) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *probed) get(more string) string {
	return fmt.Sprintf("{httpGet: {port: %d, path: /at, httpHeaders: [{name: X-Probe, value: 'yes'}]}, periodSeconds: 1%s}", p.port(), more)
}

func TestP11_EveryKindOfProbe(t *testing.T) {
	t.Parallel()
	s := begin(t)
	hangs, flaps, gate, secret, regular := newProbed(t, 0), newProbed(t, 200), newProbed(t, 500), newProbed(t, 399), newProbed(t, 200)
	flaps.flaps.Store(true)
	for _, p := range []*probed{hangs, flaps, gate, regular} {
		p.Start()
	}
	secret.StartTLS()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	rpc, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	server, state := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	state.SetServingStatus("part", healthpb.HealthCheckResponse_SERVING)
	go func() { _ = server.Serve(rpc) }()
	defer server.Stop()

	container := func(name, probes string) string {
		return fmt.Sprintf("  - {name: %s, image: \"busybox:1.28\", command: [sleep, \"3600\"], %s}\n", name, probes)
	}
	tls := strings.Replace(secret.get(""), "httpGet: {", "httpGet: {scheme: HTTPS, ", 1)
	s.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: probed, namespace: NAMESPACE}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 0\n  containers:\n" +
		container("hangs", "livenessProbe: "+hangs.get(", timeoutSeconds: 1, failureThreshold: 2")) +
		container("flaps", "readinessProbe: "+flaps.get(", successThreshold: 2, failureThreshold: 2")) +
		container("gated", "startupProbe: "+gate.get(", failureThreshold: 60")+", livenessProbe: "+regular.get(", failureThreshold: 1, initialDelaySeconds: 1")) +
		container("secret", "readinessProbe: "+tls) +
		container("tcp", fmt.Sprintf("readinessProbe: {tcpSocket: {port: listens}, periodSeconds: 1, failureThreshold: 1}, ports: [{name: listens, containerPort: %d}]", port(listener))) +
		container("grpc", fmt.Sprintf("readinessProbe: {grpc: {port: %d, service: part}, periodSeconds: 1, failureThreshold: 1}", port(rpc))))
	of := func(name string) v1.ContainerStatus {
		for _, c := range s.pod("probed").Status.ContainerStatuses {
			if c.Name == name {
				return c
			}
		}
		return v1.ContainerStatus{}
	}
	ready := func(name string, want bool) {
		t.Helper()
		s.until(fmt.Sprintf("%s is ready: %t", name, want), func() bool { return of(name).Ready == want })
	}
	ready("secret", true)
	ready("tcp", true)
	ready("grpc", true)

	s.until("the startup probe was asked three times", func() bool { return len(gate.times()) >= 3 })
	if len(regular.times()) != 0 || *of("gated").Started {
		t.Error("liveness was probed before the container had started")
	}
	gate.answer.Store(200)
	s.until("the container has started", func() bool { return *of("gated").Started })
	asked := len(gate.times())

	s.until("the one that flaps was asked six times", func() bool { return len(flaps.times()) >= 6 })
	if of("flaps").Ready {
		t.Error("ready without two successes in a row")
	}
	flaps.flaps.Store(false)
	ready("flaps", true)

	state.SetServingStatus("part", healthpb.HealthCheckResponse_NOT_SERVING)
	listener.Close()
	ready("grpc", false)
	ready("tcp", false)

	s.until("the one that hangs was restarted", func() bool { return of("hangs").RestartCount >= 1 })
	out := s.kubectl("describe", "pod", "probed")
	s.contains(out,
		"Liveness probe failed: Get \"http://", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
		"Startup probe failed: HTTP probe failed with statuscode: 500", "Readiness probe failed: HTTP probe failed with statuscode: 500",
		"Readiness probe failed: dial tcp", "connect: connection refused", "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")",
		"Container hangs failed liveness probe, will be restarted")

	s.until("the regular one was asked often enough", func() bool { return len(regular.times()) >= 8 })
	if now := len(gate.times()); now != asked {
		t.Errorf("the startup probe went on: %d attempts, then %d", asked, now)
	}
	if off := offBeat(regular.times(), time.Second); off > 100*time.Millisecond {
		t.Errorf("a probe of every second is off its beat by %v", off)
	}
}

// offBeat is the median distance of intervals from what they should be: one busy
// moment of the machine counts no more than another.
func offBeat(times []time.Time, period time.Duration) time.Duration {
	var off []time.Duration
	for i := 1; i < len(times); i++ {
		off = append(off, (times[i].Sub(times[i-1]) - period).Abs())
	}
	slices.Sort(off)
	return off[len(off)/2]
}

// A probe's own grace period takes the place of the pod's; a failing startup probe
// ends the container, too.
func TestP11_WhoFailsIsEnded(t *testing.T) {
	t.Parallel()
	s := begin(t)
	fails := "{exec: {command: [sh, -c, 'echo no luck; exit 1']}, periodSeconds: 1, failureThreshold: 2, terminationGracePeriodSeconds: 1}"
	stubborn := "trap '' TERM; while :; do sleep 0.2; done"
	s.apply(strings.Replace(probes("fails", "  terminationGracePeriodSeconds: 600",
		probe{"starting", "", stubborn, ", startupProbe: " + fails},
		probe{"living", "", stubborn, ", livenessProbe: " + fails},
	), "restartPolicy: Never", "restartPolicy: OnFailure", 1))
	s.await("fails", "had both restarted", func(p *v1.Pod) bool {
		n := 0
		for _, c := range p.Status.ContainerStatuses {
			if e := c.LastTerminationState.Terminated; c.RestartCount > 0 && e != nil && e.ExitCode == 137 {
				n++
			}
		}
		return n == 2
	})
	s.contains(s.kubectl("describe", "pod", "fails"), "Startup probe failed: no luck", "Container starting failed startup probe, will be restarted", "Container living failed liveness probe, will be restarted")
}
