package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/crifake"
)

// identities are a CA and what it signed, made once: keys are slow to make.
var identities = func() (out struct {
	pool           *x509.CertPool
	server, client tls.Certificate
}) {
	caKey, caCert := newKey(), &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	ca := sign(caCert, caCert, caKey, caKey)
	parsed, err := x509.ParseCertificate(ca.Certificate[0])
	if err != nil {
		panic(err)
	}
	leaf := func(subject pkix.Name) tls.Certificate {
		key := newKey()
		return sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, parsed, key, caKey)
	}
	out.pool = x509.NewCertPool()
	out.pool.AddCert(parsed)
	out.server, out.client = leaf(pkix.Name{CommonName: "node"}), leaf(pkix.Name{CommonName: "alice", Organization: []string{"team"}})
	return out
}()

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func sign(cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) tls.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type podList []*v1.Pod

func (p podList) Pods() []*v1.Pod { return p }

func (p podList) Pod(namespace, name string) (*v1.Pod, bool) {
	for _, pod := range p {
		if pod.Namespace == namespace && pod.Name == name {
			return pod, true
		}
	}
	return nil, false
}

// rig is a server over a fake runtime with one running container "c" of pod ns/p.
type rig struct {
	t       *testing.T
	base    string
	pod     *v1.Pod
	runtime *crifake.Runtime
	id      string
	// denied are subresources that Authorize refuses; asked is what it was asked.
	denied map[string]bool
	asked  []string
}

func newRig(t *testing.T, program crifake.Program) *rig {
	t.Helper()
	r := &rig{t: t, runtime: crifake.New(crifake.Config{}), denied: map[string]bool{}}
	stop, err := r.runtime.ServeStreams(func(_ context.Context, _ string, port int32, conn io.ReadWriteCloser) error {
		_, err := fmt.Fprintf(conn, "port %d", port)
		return errors.Join(err, conn.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	r.startPod(program)
	server, err := New(Config{
		NodeName: "n1", ServingCert: func() (*tls.Certificate, error) { return &identities.server, nil }, ClientCA: identities.pool,
		Pods: podList{r.pod}, Runtime: r.runtime,
		Authorize: func(_ context.Context, u User, a Attributes) (bool, string, error) {
			r.asked = append(r.asked, fmt.Sprintf("%s%v %s %s/%s", u.Name, u.Groups, a.Verb, a.Node, a.Subresource))
			return !r.denied[a.Subresource], "", nil
		},
		Checks: map[string]func(context.Context) error{"syncloop": func(context.Context) error { return errors.New("stuck") }},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ctx, listener) }()
	t.Cleanup(func() { cancel(); <-done })
	r.base = "https://" + listener.Addr().String()
	return r
}

func (r *rig) startPod(program crifake.Program) {
	r.t.Helper()
	ctx := context.Background()
	r.runtime.AddImage("busybox", crifake.Image{})
	r.runtime.Script("c", program)
	logs := r.t.TempDir()
	config := &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "p", Namespace: "ns", Uid: "u"}, LogDirectory: logs, Labels: map[string]string{labelPodUID: "u"}}
	sandbox, err := r.runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		r.t.Fatal(err)
	}
	made, err := r.runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: sandbox.PodSandboxId, SandboxConfig: config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "c"}, Image: &runtimeapi.ImageSpec{Image: "busybox"}, LogPath: filepath.Join("c", "0.log"),
		Labels: map[string]string{labelPodUID: "u", labelContainerName: "c"},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.id = made.ContainerId
	if _, err := r.runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: r.id}); err != nil {
		r.t.Fatal(err)
	}
	r.pod = &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}, {Name: "late"}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
			{Name: "c", ContainerID: "proa://" + r.id, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
			{Name: "late", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		}}}
}

func (r *rig) client(certs ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: identities.pool, Certificates: certs}}}
}

func (r *rig) get(path string) (int, string) {
	r.t.Helper()
	answer, err := r.client(identities.client).Get(r.base + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(body))
}

func TestAccess(t *testing.T) {
	r := newRig(t, crifake.Program{})
	answer, err := r.client().Get(r.base + "/pods")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a certificate: %s", answer.Status)
	}
	r.denied["pods"] = true
	if code, _ := r.get("/pods"); code != http.StatusOK {
		t.Errorf("allowed by proxy: %d", code)
	}
	r.denied["proxy"] = true
	code, body := r.get("/pods")
	if code != http.StatusForbidden || body != "Forbidden (user=alice, verb=get, resource=nodes, subresource(s)=[pods proxy])" {
		t.Errorf("denied: %d %s", code, body)
	}
	if want := "alice[team system:authenticated] get n1/pods"; r.asked[0] != want {
		t.Errorf("asked %q, want %q", r.asked[0], want)
	}
}

func TestInfo(t *testing.T) {
	r := newRig(t, crifake.Program{})
	for _, path := range []string{"/pods", "/runningpods/"} {
		code, body := r.get(path)
		var list v1.PodList
		if err := json.Unmarshal([]byte(body), &list); code != http.StatusOK || err != nil || len(list.Items) != 1 || list.Items[0].Name != "p" || list.Items[0].Spec.Containers[0].Name != "c" {
			t.Errorf("%s: %d %v %s", path, code, err, body)
		}
	}
	for path, want := range map[string]string{
		"/healthz/ping": "200 ok",
		"/healthz":      "500 [-]syncloop failed: stuck\nhealthz check failed",
		"/healthz/none": "404 404 page not found",
		"/nonsense":     "404 404 page not found",
	} {
		if code, body := r.get(path); fmt.Sprintf("%d %s", code, body) != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestContainerLogs(t *testing.T) {
	r := newRig(t, crifake.Program{Stdout: []string{"one", "two"}, Stderr: []string{"three"}})
	for path, want := range map[string]string{
		"/containerLogs/ns/p/c":                           "200 one\ntwo\nthree",
		"/containerLogs/ns/p/c?tailLines=1&stream=Stdout": "200 two",
		"/containerLogs/ns/p/c?tailLines=x":               `400 {"message": "tailLines: \"x\" is no number"}`,
		"/containerLogs/ns/p/c?previous=true":             `400 previous terminated container "c" in pod "p" not found`,
		"/containerLogs/ns/p/late":                        `400 container "late" in pod "p" is waiting to start: ContainerCreating`,
		"/containerLogs/ns/p/none":                        `404 container "none" not found in pod "p"`,
		"/containerLogs/ns/none/c":                        `404 pod "none" does not exist`,
	} {
		if code, body := r.get(path); fmt.Sprintf("%d %s", code, body) != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	answer, err := r.client(identities.client).Get(r.base + "/containerLogs/ns/p/c?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	r.runtime.Exit(r.id, 0)
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "one\ntwo\nthree\n" {
		t.Errorf("followed to the end: %q %v", body, err)
	}
}

func (r *rig) rest() *rest.Config {
	pemOf := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	key, err := x509.MarshalECPrivateKey(identities.client.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		r.t.Fatal(err)
	}
	// The pool holds one CA, which the server's certificate names; the test goes without checking it twice.
	return &rest.Config{Host: r.base, TLSClientConfig: rest.TLSClientConfig{Insecure: true, CertData: pemOf("CERTIFICATE", identities.client.Certificate[0]), KeyData: pemOf("EC PRIVATE KEY", key)}}
}

func (r *rig) url(path string) *url.URL {
	u, err := url.Parse(r.base + path)
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func TestExecOverBothProtocols(t *testing.T) {
	r := newRig(t, crifake.Program{Stream: func(_ context.Context, cmd []string, in io.Reader, out, errOut io.Writer) int {
		sent, _ := io.ReadAll(in)
		fmt.Fprintf(out, "%s got %s", cmd, sent)
		fmt.Fprint(errOut, "oops")
		return 7
	}})
	const query = "?command=do&command=it&input=1&output=1&error=1"
	for name, dial := range map[string]func(path string) (remotecommand.Executor, error){
		"SPDY": func(path string) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(r.rest(), "POST", r.url(path))
		},
		"WebSocket": func(path string) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(r.rest(), "GET", r.base+path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			executor, err := dial("/exec/ns/p/c" + query)
			if err != nil {
				t.Fatal(err)
			}
			var out, errOut bytes.Buffer
			err = executor.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdin: strings.NewReader("input"), Stdout: &out, Stderr: &errOut})
			var exit utilexec.CodeExitError
			if !errors.As(err, &exit) || exit.Code != 7 {
				t.Errorf("exit: %v", err)
			}
			if out.String() != "[do it] got input" || errOut.String() != "oops" {
				t.Errorf("out %q, err %q", out.String(), errOut.String())
			}
			executor, err = dial("/exec/ns/p/none" + query)
			if err != nil {
				t.Fatal(err)
			}
			err = executor.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut})
			if err == nil || (name == "SPDY" && !strings.Contains(err.Error(), `container not found ("none")`)) {
				t.Errorf("no such container: %v", err)
			}
		})
	}
}

func TestPortForward(t *testing.T) {
	r := newRig(t, crifake.Program{})
	transport, upgrader, err := spdy.RoundTripperFor(r.rest())
	if err != nil {
		t.Fatal(err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", r.url("/portForward/ns/p"))
	stop, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "port 8080" {
		t.Errorf("%q %v", got, err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	r := newRig(t, crifake.Program{Exec: func(_ context.Context, cmd []string) crifake.ExecResult {
		return crifake.ExecResult{Stdout: strings.Join(cmd, "+")}
	}})
	answer, err := r.client(identities.client).Post(r.base+"/run/ns/p/c?cmd=echo+hi", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "echo+hi" {
		t.Errorf("%q %v", body, err)
	}
}

func TestLoggedContainer(t *testing.T) {
	terminated := func(id string) *v1.ContainerStateTerminated { return &v1.ContainerStateTerminated{ContainerID: id} }
	waiting := v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	for name, tc := range map[string]struct {
		status   v1.ContainerStatus
		previous bool
		want     string
	}{
		"running":             {v1.ContainerStatus{ContainerID: "proa://2", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}, LastTerminationState: v1.ContainerState{Terminated: terminated("proa://1")}}, false, "2"},
		"previous of running": {v1.ContainerStatus{ContainerID: "proa://2", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}, LastTerminationState: v1.ContainerState{Terminated: terminated("proa://1")}}, true, "1"},
		"ended":               {v1.ContainerStatus{State: v1.ContainerState{Terminated: terminated("proa://3")}}, false, "3"},
		"waits after a crash": {v1.ContainerStatus{State: waiting, LastTerminationState: v1.ContainerState{Terminated: terminated("proa://4")}}, false, "4"},
		"next did not start":  {v1.ContainerStatus{State: v1.ContainerState{Terminated: terminated("")}, LastTerminationState: v1.ContainerState{Terminated: terminated("proa://5")}}, false, "5"},
		"ended without an ID": {v1.ContainerStatus{State: v1.ContainerState{Terminated: terminated("")}}, false, `container "c" in pod "p" is terminated`},
		"image can't be had":  {v1.ContainerStatus{State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}, false, `container "c" in pod "p" is waiting to start: trying and failing to pull image`},
		"nothing known of it": {v1.ContainerStatus{}, false, `container "c" in pod "p" is waiting to start - no logs yet`},
	} {
		tc.status.Name = "c"
		id, err := loggedContainer(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{tc.status}}}, "c", tc.previous)
		if err != nil {
			id = err.Error()
		}
		if id != tc.want {
			t.Errorf("%s: %s, want %s", name, id, tc.want)
		}
	}
}
