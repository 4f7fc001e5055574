// Package registrytest runs a real registry, Debian's docker-registry, on a
// loopback port for the time of a test, and pushes images to it.
package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"golang.org/x/crypto/bcrypt"
)

// Options of a registry. With a user name it answers nobody else.
type Options struct {
	Username, Password string
}

// Registry is a running registry.
type Registry struct {
	Host string // 127.0.0.1:port
	opts Options
	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// Start runs a registry that ends with the test.
func Start(t testing.TB, opts Options) *Registry {
	t.Helper()
	r, err := Run(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Run starts a registry; Close ends it and removes its files.
func Run(opts Options) (*Registry, error) {
	var err error
	// The port is free when it is picked; somebody may take it before the registry does.
	for range 3 {
		var r *Registry
		if r, err = run(opts); err == nil {
			return r, nil
		}
	}
	return nil, err
}

func run(opts Options) (*Registry, error) {
	dir, err := os.MkdirTemp("", "proa-registry-")
	if err != nil {
		return nil, err
	}
	r := &Registry{opts: opts, dir: dir, done: make(chan struct{})}
	if r.Host, err = freeAddress(); err != nil {
		r.Close()
		return nil, err
	}
	if err := r.configure(); err != nil {
		r.Close()
		return nil, err
	}
	if err := r.start(); err != nil {
		r.cmd = nil
		r.Close()
		return nil, fmt.Errorf("install docker-registry: %w", err)
	}
	if err := r.await(); err != nil {
		r.Close()
		return nil, fmt.Errorf("docker-registry: %w\n%s", err, r.log.String())
	}
	return r, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (r *Registry) configure() error {
	config := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %q}\n", filepath.Join(r.dir, "data"), r.Host)
	if r.opts.Username != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(r.opts.Password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		file := filepath.Join(r.dir, "htpasswd")
		if err := os.WriteFile(file, fmt.Appendf(nil, "%s:%s\n", r.opts.Username, hash), 0o600); err != nil {
			return err
		}
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: test, path: %s}\n", file)
	}
	return os.WriteFile(filepath.Join(r.dir, "config.yml"), []byte(config), 0o600)
}

// start runs the registry so that it dies with this process: the kernel watches
// the thread, so one thread is kept for it.
func (r *Registry) start() error {
	r.cmd = exec.Command("docker-registry", "serve", filepath.Join(r.dir, "config.yml"))
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	r.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := r.cmd.Start()
		started <- err
		if err == nil {
			_ = r.cmd.Wait() // it is killed
			close(r.done)
		}
	}()
	return <-started
}

func (r *Registry) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		if resp, err := http.Get("http://" + r.Host + "/v2/"); err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case <-r.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Close ends the registry and removes its files.
func (r *Registry) Close() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill() // it may have ended
		<-r.done
	}
	os.RemoveAll(r.dir)
}

// Push uploads an image as name, like "library/busybox:1", and returns the
// reference to pull it by.
func (r *Registry) Push(t testing.TB, name string, img *imagetest.Built) string {
	t.Helper()
	ref, err := r.Upload(name, img)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// Upload is Push outside of a test.
func (r *Registry) Upload(name string, img *imagetest.Built) (string, error) {
	repo, tag, ok := strings.Cut(name, ":")
	if !ok {
		tag = "latest"
	}
	for _, b := range img.Blobs {
		push := r.pushBlob
		if strings.Contains(b.MediaType, "manifest") {
			push = func(repo string, b imagetest.Blob) error { return r.pushManifest(repo, b.Digest.String(), b) }
		}
		if err := push(repo, b); err != nil {
			return "", err
		}
	}
	return r.Host + "/" + repo + ":" + tag, r.pushManifest(repo, tag, img.Target)
}

func (r *Registry) pushBlob(repo string, b imagetest.Blob) error {
	header, err := r.do(http.MethodPost, "http://"+r.Host+"/v2/"+repo+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	location := header.Get("Location")
	sep := "?"
	if strings.Contains(location, "?") {
		sep = "&"
	}
	_, err = r.do(http.MethodPut, location+sep+"digest="+b.Digest.String(), "application/octet-stream", b.Data)
	return err
}

func (r *Registry) pushManifest(repo, ref string, b imagetest.Blob) error {
	_, err := r.do(http.MethodPut, "http://"+r.Host+"/v2/"+repo+"/manifests/"+ref, b.MediaType, b.Data)
	return err
}

func (r *Registry) do(method, url, contentType string, body []byte) (http.Header, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.opts.Username != "" {
		req.SetBasicAuth(r.opts.Username, r.opts.Password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return resp.Header, nil
}
