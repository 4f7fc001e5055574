package critests

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func testExecSync(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	r := p.exec(id, "sh", "-c", "echo out; echo err >&2; exit 5")
	if string(r.Stdout) != "out\n" || string(r.Stderr) != "err\n" || r.ExitCode != 5 {
		t.Errorf("answer %v", r)
	}
}

func testExecSyncTimeout(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	_, err := s.rt.ExecSync(within(t), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: []string{"sleep", "1000"}, Timeout: 1})
	wantCode(t, err, codes.DeadlineExceeded, "a command that takes too long")
	if p.container(id).State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Error("the container ended with the command")
	}
	if s.Kernel {
		eventually(t, "the command is killed", func() bool { return !strings.Contains(p.sh(id, "ps"), "sleep 1000") })
	}
}

func testExecSyncRefused(t *testing.T, s *suite) {
	p := s.pod(t)
	id, err := p.create(p.containerConfig("app", idle))
	if err != nil {
		t.Fatal(err)
	}
	try := func(id string, cmd ...string) error {
		_, err := s.rt.ExecSync(within(t), &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: cmd, Timeout: 10})
		return err
	}
	wantCode(t, try(id, "true"), codes.FailedPrecondition, "exec in a container that does not run")
	wantCode(t, try("none", "true"), codes.NotFound, "exec in an absent container")
	if err := p.start(id); err != nil {
		t.Fatal(err)
	}
	if err := try(id); err == nil {
		t.Error("exec of nothing")
	}
	if err := try(id, "no-such-command"); err == nil || !strings.Contains(err.Error(), `"no-such-command": executable file not found in $PATH`) {
		t.Errorf("exec of what is not there: %v", err)
	}
}

func testExecSyncOutputLimit(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	r := p.exec(id, "sh", "-c", "head -c 20000000 /dev/zero; echo done >&2")
	if len(r.Stdout) != 16<<20 || string(r.Stderr) != "done\n" || r.ExitCode != 0 {
		t.Errorf("%d bytes, %q, code %d", len(r.Stdout), r.Stderr, r.ExitCode)
	}
}

func testExecSyncBackgroundChild(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	if r := p.exec(id, "sh", "-c", "sleep 1000 & echo started"); string(r.Stdout) != "started\n" {
		t.Errorf("answer %v", r)
	}
}

// stream runs a streaming call at the URL that the runtime gave.
func stream(t *testing.T, address string, opts remotecommand.StreamOptions) error {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	e, err := remotecommand.NewSPDYExecutor(&rest.Config{}, http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	return e.StreamWithContext(within(t), opts)
}

func testExecStream(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	var out, errOut bytes.Buffer
	r := must(s.rt.Exec(within(t), &runtimeapi.ExecRequest{ContainerId: id, Cmd: []string{"cat"}, Stdin: true, Stdout: true, Stderr: true}))(t)
	if err := stream(t, r.Url, remotecommand.StreamOptions{Stdin: strings.NewReader("through and back"), Stdout: &out, Stderr: &errOut}); err != nil {
		t.Error(err)
	}
	if out.String() != "through and back" || errOut.Len() > 0 {
		t.Errorf("got %q, %q", out.String(), errOut.String())
	}
	r = must(s.rt.Exec(within(t), &runtimeapi.ExecRequest{ContainerId: id, Cmd: []string{"sh", "-c", "echo bad >&2; exit 9"}, Stdout: true, Stderr: true}))(t)
	err := stream(t, r.Url, remotecommand.StreamOptions{Stdout: &out, Stderr: &errOut})
	var exit utilexec.CodeExitError
	if !errors.As(err, &exit) || exit.Code != 9 || errOut.String() != "bad\n" {
		t.Errorf("error %v, stderr %q", err, errOut.String())
	}
	if err := stream(t, r.Url, remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard}); err == nil {
		t.Error("a URL worked twice")
	}
	_, err = s.rt.Exec(within(t), &runtimeapi.ExecRequest{ContainerId: "none", Cmd: []string{"true"}, Stdout: true})
	wantCode(t, err, codes.NotFound, "exec in an absent container")
}

// sizes is a window that has one size.
type sizes struct {
	once sync.Once
	done chan struct{}
}

func (s *sizes) Next() *remotecommand.TerminalSize {
	var size *remotecommand.TerminalSize
	s.once.Do(func() { size = &remotecommand.TerminalSize{Width: 123, Height: 45} })
	if size == nil {
		<-s.done
	}
	return size
}

func testExecStreamTTY(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle)
	window := &sizes{done: make(chan struct{})}
	defer close(window.done)
	var out bytes.Buffer
	r := must(s.rt.Exec(within(t), &runtimeapi.ExecRequest{ContainerId: id, Tty: true, Stdin: true, Stdout: true,
		Cmd: []string{"sh", "-c", "while [ \"$(stty size)\" != '45 123' ]; do sleep 0.05; done; tty; read line; echo got $line; exit 6"}}))(t)
	in, feed := io.Pipe()
	go func() { io.WriteString(feed, "hello\n") }()
	defer feed.Close()
	err := stream(t, r.Url, remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: window})
	var exit utilexec.CodeExitError
	if !errors.As(err, &exit) || exit.Code != 6 {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "/dev/pts/") || !strings.Contains(out.String(), "got hello") {
		t.Errorf("terminal showed %q", out.String())
	}
}

func testAttach(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", "", func(c *runtimeapi.ContainerConfig) {
		c.Command, c.Stdin, c.StdinOnce = []string{"cat"}, true, true
	})
	var out bytes.Buffer
	r := must(s.rt.Attach(within(t), &runtimeapi.AttachRequest{ContainerId: id, Stdin: true, Stdout: true, Stderr: true}))(t)
	if err := stream(t, r.Url, remotecommand.StreamOptions{Stdin: strings.NewReader("hello cat\n"), Stdout: &out, Stderr: io.Discard}); err != nil {
		t.Error(err)
	}
	if out.String() != "hello cat\n" {
		t.Errorf("got %q", out.String())
	}
	// Its input was for one client: with that gone, cat is done.
	if st := p.exited(id); st.ExitCode != 0 {
		t.Errorf("status %v", st)
	}
	if got := p.log("app/0.log"); got != "hello cat\n" {
		t.Errorf("log %q", got)
	}
}

func testPortForward(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("web", "mkdir /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www")
	eventually(t, "httpd listens", func() bool {
		return p.exec(id, "sh", "-c", "wget -q -O - http://127.0.0.1:8080/index.html").ExitCode == 0
	})
	r := must(s.rt.PortForward(within(t), &runtimeapi.PortForwardRequest{PodSandboxId: p.id, Port: []int32{8080}}))(t)
	u, err := url.Parse(r.Url)
	if err != nil {
		t.Fatal(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(&rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	defer func() { close(stop); <-ended }()
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("port-forward: %v", err)
	case <-within(t).Done():
		t.Fatal("port-forward does not get ready")
	}
	ports, err := f.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	address := (&url.URL{Scheme: "http", Host: "127.0.0.1:" + itoa(ports[0].Local), Path: "/index.html"}).String()
	for range 2 {
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "served\n" {
			t.Errorf("got %q", body)
		}
	}
}
