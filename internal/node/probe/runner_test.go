package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type executor func(*runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error)

func (f executor) ExecSync(_ context.Context, r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	return f(r)
}

func portOf(t *testing.T, addr net.Addr) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHTTPProbe(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { seen.Store(r); fmt.Fprint(w, "fine") })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "secret", 503) })
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/bad", 302) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://elsewhere.invalid/", 302) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", 302) })
	hang := make(chan struct{})
	defer close(hang)
	mux.HandleFunc("/hang", func(http.ResponseWriter, *http.Request) { <-hang })
	port := intstr.FromInt(portOf(t, server.Listener.Addr()))
	prober := newHTTPProber()
	for path, want := range map[string]string{
		"/ok?a=b": "Success fine",
		"/bad":    "Failure HTTP probe failed with statuscode: 503",
		"/here":   "Failure HTTP probe failed with statuscode: 503",
		"/away":   "Success Probe terminated redirects",
		"/loop":   "stopped after 10 redirects",
		"/hang":   "Client.Timeout exceeded while awaiting headers",
	} {
		limit := 5 * time.Second
		if path == "/hang" {
			limit = 20 * time.Millisecond
		}
		a, err := prober.probe(context.Background(), &v1.HTTPGetAction{Path: path, Port: port}, &v1.Container{}, "127.0.0.1", limit)
		if got := fmt.Sprintf("%s %s", a.verdict, a.output); a.warning != (path == "/away") || err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %s %v", path, got, err)
		}
	}
	headers := []v1.HTTPHeader{{Name: "Host", Value: "pod.example"}, {Name: "X-A", Value: "1"}, {Name: "X-A", Value: "2"}, {Name: "Accept", Value: ""}}
	if _, err := prober.probe(context.Background(), &v1.HTTPGetAction{Path: "/ok", Port: port, HTTPHeaders: headers}, &v1.Container{}, "127.0.0.1", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	r := seen.Load()
	if r.Host != "pod.example" || len(r.Header["X-A"]) != 2 || len(r.Header["Accept"]) != 0 || r.UserAgent() != "kube-probe/1.37" {
		t.Errorf("request: %s %v", r.Host, r.Header)
	}
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	port = intstr.FromInt(portOf(t, secure.Listener.Addr()))
	a, err := prober.probe(context.Background(), &v1.HTTPGetAction{Path: "/ok", Port: port, Scheme: v1.URISchemeHTTPS}, &v1.Container{}, "127.0.0.1", 5*time.Second)
	if a.verdict != Success || err != nil {
		t.Errorf("HTTPS with an own certificate: %v %v", a, err)
	}
}

func TestTCPProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(t, listener.Addr())
	if a := tcpProbe(context.Background(), "127.0.0.1", port, time.Second); a.verdict != Success {
		t.Errorf("open: %v", a)
	}
	listener.Close()
	if a := tcpProbe(context.Background(), "127.0.0.1", port, time.Second); a.verdict != Failure || !strings.Contains(a.output, "connection refused") {
		t.Errorf("closed: %v", a)
	}
}

func TestGRPCProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, checks := grpc.NewServer(), health.NewServer()
	checks.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	grpc_health_v1.RegisterHealthServer(server, checks)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	defer func() { server.Stop(); <-done }()
	port := int32(portOf(t, listener.Addr()))
	for service, want := range map[string]string{
		"":     "Success service healthy",
		"down": `Failure service unhealthy (responded with "NOT_SERVING")`,
		"none": "Failure error: health rpc probe failed",
	} {
		a := grpcProbe(context.Background(), &v1.GRPCAction{Port: port, Service: &service}, "127.0.0.1", 5*time.Second)
		if got := fmt.Sprintf("%s %s", a.verdict, a.output); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s", service, got)
		}
	}
}

func TestExecProbe(t *testing.T) {
	for name, tc := range map[string]struct {
		answer *runtimeapi.ExecSyncResponse
		err    error
		want   string
	}{
		"passes":    {&runtimeapi.ExecSyncResponse{Stdout: []byte("out"), Stderr: []byte("err")}, nil, "Success outerr <nil>"},
		"fails":     {&runtimeapi.ExecSyncResponse{ExitCode: 1, Stderr: []byte("no such file")}, nil, "Failure no such file <nil>"},
		"hangs":     {nil, status.Error(codes.DeadlineExceeded, "late"), `Failure command timed out: ["cat"] timed out after 3s <nil>`},
		"can't run": {nil, errors.New("no runtime"), "  no runtime"},
	} {
		run := executor(func(r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
			if r.Timeout != 3 || r.ContainerId != "id" {
				t.Errorf("asked %v", r)
			}
			return tc.answer, tc.err
		})
		a, err := execProbe(context.Background(), run, "id", []string{"cat"}, 3*time.Second)
		if got := fmt.Sprintf("%s %s %v", a.verdict, a.output, err); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// TestRunner: many probes at once, more than may be in flight, all are made and reported; a pod that is gone is left alone.
func TestRunner(t *testing.T) {
	const pods = 50
	r, err := New(Config{MaxInFlight: 3, Executor: executor(func(q *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
		if q.ContainerId == "id-7" {
			return nil, errors.New("no such container")
		}
		return &runtimeapi.ExecSyncResponse{}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan Result, 10*pods)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx, func(result Result) { results <- result }) }()
	defer func() { cancel(); <-done }()
	for i := range pods {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(fmt.Sprint("u", i))}, Spec: v1.PodSpec{Containers: []v1.Container{
			{Name: "c", ReadinessProbe: &v1.Probe{PeriodSeconds: 100, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}}}}}}
		r.Sync(pod, []Container{{Name: "c", ID: fmt.Sprint("id-", i), StartedAt: time.Now(), Started: true}})
	}
	seen := map[types.UID]Result{}
	for len(seen) < pods {
		select {
		case result := <-results:
			seen[result.UID] = result
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d", len(seen), pods)
		}
	}
	for uid, result := range seen {
		want := Success
		if uid == "u7" {
			want = Unknown
		}
		if result.Verdict != want || result.Attempt != want || (uid == "u7" && result.Output != "no such container") {
			t.Errorf("%s: %+v", uid, result)
		}
	}
}

// TestProbesThatHangHoldUpNobody: a node full of servers that take connections and say nothing.
func TestProbesThatHangHoldUpNobody(t *testing.T) {
	hang := make(chan struct{})
	r, err := New(Config{Executor: executor(func(q *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
		if q.ContainerId != "answers" {
			<-hang
		}
		return &runtimeapi.ExecSyncResponse{}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan Result, 2000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx, func(result Result) { results <- result }) }()
	defer func() { cancel(); close(hang); <-done }()
	for i := range 1000 {
		id := fmt.Sprint("hangs-", i)
		if i == 999 {
			id = "answers"
		}
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID(id)}, Spec: v1.PodSpec{Containers: []v1.Container{
			{Name: "c", ReadinessProbe: &v1.Probe{TimeoutSeconds: 3600, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}}}}}}
		r.Sync(pod, []Container{{Name: "c", ID: id, StartedAt: time.Now(), Started: true}})
	}
	select {
	case result := <-results:
		if result.ContainerID != "answers" || result.Verdict != Success {
			t.Errorf("first of all: %+v", result)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the one that answers is not asked")
	}
}

// TestReadyAsSoonAsItListens is what makes a pod Ready in milliseconds: the port opens after the first attempt.
func TestReadyAsSoonAsItListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	port := portOf(t, listener.Addr())
	listener.Close()
	r, err := New(Config{Executor: executor(nil), Options: Options{Eager: true}})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan Result, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(ctx, func(result Result) { results <- result }) }()
	defer func() { cancel(); <-done }()
	pod := podOf(v1.Container{ReadinessProbe: &v1.Probe{PeriodSeconds: 3600, ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(port)}}}})
	r.Sync(pod, []Container{{Name: "c", ID: "1", PodIP: "127.0.0.1", StartedAt: time.Now(), Started: true}})
	if first := <-results; first.Attempt != Failure {
		t.Fatalf("first: %+v", first)
	}
	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	select {
	case next := <-results:
		if next.Verdict != Success || next.Run != 1 {
			t.Errorf("then: %+v", next)
		}
	case <-time.After(time.Minute):
		t.Fatal("waits for its period")
	}
}
