package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/proa-project/proa/internal/pki"
)

// outsideEtcd is an etcd of its own, the program of the module that we embed, on
// loopback. It takes clients with a certificate alone.
type outsideEtcd struct {
	url           string
	ca, cert, key string // files of a client
	tls           *tls.Config
}

func startEtcd(t *testing.T) *outsideEtcd {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "etcd")
	if out, err := exec.Command("go", "build", "-o", program, "go.etcd.io/etcd/server/v3").CombinedOutput(); err != nil {
		t.Fatalf("build etcd: %v\n%s", err, out)
	}
	authority, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	e := &outsideEtcd{ca: filepath.Join(dir, "ca.crt"), cert: filepath.Join(dir, "client.crt"), key: filepath.Join(dir, "client.key")}
	serving, err := authority.Serving("etcd", nil, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := authority.Client("proa")
	if err != nil {
		t.Fatal(err)
	}
	e.tls = &tls.Config{RootCAs: authority.Pool(), Certificates: []tls.Certificate{client}, MinVersion: tls.VersionTLS12}
	writePair(t, serving, filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	writePair(t, client, e.cert, e.key)
	if err := os.WriteFile(e.ca, authority.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	e.url = "https://" + freeAddress(t)
	peer := "http://" + freeAddress(t)
	cmd := exec.Command(program, "--data-dir", filepath.Join(dir, "data"), "--listen-client-urls", e.url, "--advertise-client-urls", e.url,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--client-cert-auth", "--trusted-ca-file", e.ca, "--cert-file", filepath.Join(dir, "server.crt"), "--key-file", filepath.Join(dir, "server.key"), "--log-level", "error")
	log, err := os.Create(filepath.Join(dir, "etcd.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(tail(log.Name(), 20))
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	return e
}

func writePair(t *testing.T, c tls.Certificate, certFile, keyFile string) {
	t.Helper()
	cert, key, err := pki.PEM(c)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// keys that etcd has below a prefix.
func (e *outsideEtcd) keys(t *testing.T, prefix string) int64 {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.url}, TLS: e.tls})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return got.Count
}

func TestC1_EtcdOutside(t *testing.T) {
	e := startEtcd(t)
	c, err := newCluster(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	usual := c.Args
	nobody := append(usual[:len(usual):len(usual)], "--etcd-servers", e.url, "--etcd-cafile", e.ca)
	c.Args = append(nobody[:len(nobody):len(nobody)], "--etcd-certfile", e.cert, "--etcd-keyfile", e.key)
	s := onCluster(t, c)
	t.Parallel() // from here on, see TestC5_SecondNode
	s.apply(busybox("kept", shell, ""))
	before := s.ready("kept")
	if n := e.keys(t, "/registry/pods/default/kept"); n != 1 {
		t.Errorf("etcd outside has %d keys of the pod", n)
	}
	if _, err := os.Stat(filepath.Join(c.Data, "etcd")); err == nil {
		t.Error("there is an etcd of our own beside it")
	}
	// Which etcd it is, the folder knows: no flag may be forgotten.
	status, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Args = usual
	up(t, c)
	if after := s.ready("kept"); after.UID != before.UID || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("another pod: %v", after.Status)
	}

	if err := c.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	c.Args = nobody
	if err := c.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "does not answer") || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a client certificate: %v", err)
	}
}

func TestC1_AClusterKeepsItsEtcd(t *testing.T) {
	s := alone(t)
	if err := s.cluster.Down(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	out, err := s.cluster.Proa(t.Context(), "up", "--api-port", fmt.Sprint(s.cluster.Port), "--etcd-servers", "http://127.0.0.1:1")
	if err == nil || !strings.Contains(out, "would be left behind") {
		t.Errorf("%v: %s", err, out)
	}
}
