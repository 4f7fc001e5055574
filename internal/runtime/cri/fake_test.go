package cri

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-project/proa/internal/runtime/cri/critests"
	"github.com/proa-project/proa/internal/runtime/keeper/fake"
)

// memoryNetwork hands out addresses.
type memoryNetwork struct {
	mu       sync.Mutex
	attached map[string]netip.Addr
	next     netip.Addr
	fail     error
	detached []string
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{attached: map[string]netip.Addr{}, next: netip.MustParseAddr("10.244.0.2")}
}

func (n *memoryNetwork) Attach(_ context.Context, req AttachRequest) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		return nil, n.fail
	}
	if _, ok := n.attached[req.SandboxID]; !ok {
		n.attached[req.SandboxID] = n.next
		n.next = n.next.Next()
	}
	return []netip.Addr{n.attached[req.SandboxID]}, nil
}

func (n *memoryNetwork) Detach(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.attached, id)
	n.detached = append(n.detached, id)
	return nil
}

func (n *memoryNetwork) Status(context.Context) error { return nil }

// memoryImages has one image and mounts nothing.
type memoryImages struct {
	mu   sync.Mutex
	keys map[string]bool
	fail error // of Prepare
}

const testImage = "docker.io/library/busybox:1.36"

func (m *memoryImages) Resolve(_ context.Context, ref string) (Image, error) {
	if ref != testImage {
		return Image{}, fmt.Errorf("image %q: %w", ref, errdefs.ErrNotFound)
	}
	return Image{ID: "sha256:1234", Ref: "docker.io/library/busybox@sha256:5678", Size: 1, Config: ocispec.Image{
		Config: ocispec.ImageConfig{Entrypoint: []string{"sh"}, StopSignal: "SIGTERM"},
	}}, nil
}

func (m *memoryImages) Prepare(_ context.Context, key, _ string, _ SnapshotOptions) ([]mount.Mount, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	m.keys[key] = true
	return nil, nil
}

func (m *memoryImages) View(ctx context.Context, key, id string, _ SnapshotOptions) ([]mount.Mount, error) {
	return m.Prepare(ctx, key, id, SnapshotOptions{})
}

func (m *memoryImages) Remove(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keys, key)
	return nil
}

func (m *memoryImages) Usage(context.Context, string) (Usage, error) {
	return Usage{Bytes: 4096, Inodes: 1}, nil
}

func (m *memoryImages) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for k := range m.keys {
		out = append(out, k)
	}
	return out, nil
}

// shell is as much of a shell as the conformance tests speak: echo (to standard
// error with >&2), exit, sleep, trap, and anything with "while" runs for ever.
func shell(ctx context.Context, p fake.Process) int {
	script := p.Args[len(p.Args)-1]
	traps := map[string]string{}
	for _, cmd := range strings.Split(script, ";") {
		cmd = strings.TrimSpace(cmd)
		word, rest, _ := strings.Cut(cmd, " ")
		switch word {
		case "echo":
			say(p, rest)
		case "exit":
			n, _ := strconv.Atoi(rest)
			return n
		case "sleep":
			sec, _ := strconv.ParseFloat(rest, 64)
			select {
			case <-time.After(time.Duration(sec * float64(time.Second))):
			case <-ctx.Done():
				return 0
			}
		case "trap":
			i := strings.LastIndex(rest, " ")
			traps[rest[i+1:]] = strings.Trim(rest[:i], "'")
			fake.Trap(ctx)
		case "while":
			return loop(ctx, p, traps)
		}
	}
	return 0
}

func say(p fake.Process, text string) {
	if t, ok := strings.CutSuffix(text, " >&2"); ok {
		fmt.Fprintln(p.Stderr, t)
	} else {
		fmt.Fprintln(p.Stdout, text)
	}
}

func loop(ctx context.Context, p fake.Process, traps map[string]string) int {
	for {
		select {
		case <-ctx.Done():
			return 0
		case sig := <-p.Signals:
			action, ok := traps[map[syscall.Signal]string{syscall.SIGTERM: "TERM", syscall.SIGUSR1: "USR1"}[sig]]
			if !ok {
				continue
			}
			word, rest, _ := strings.Cut(action, " ")
			if word == "echo" {
				say(p, rest)
			}
			if word == "exit" {
				n, _ := strconv.Atoi(rest)
				return n
			}
		}
	}
}

// fixture is a service over fakes.
type fixture struct {
	t       testing.TB
	cfg     Config
	keeper  *fake.Keeper
	images  *memoryImages
	network *memoryNetwork
	socket  string
	*Service
	stop func()
}

func newFixture(t testing.TB) *fixture {
	f := &fixture{t: t, keeper: fake.New(), images: &memoryImages{keys: map[string]bool{}}, network: newMemoryNetwork()}
	f.keeper.Programs["sh"] = shell
	dir := t.TempDir()
	f.socket = filepath.Join(dir, "cri.sock")
	f.cfg = Config{
		Keeper: f.keeper, Images: f.images, Network: f.network, Version: "1.2.3",
		StateDir: filepath.Join(dir, "cri"), ContainersDir: filepath.Join(dir, "containers"), CgroupParent: "/proa-test/cri",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	f.start()
	t.Cleanup(func() {
		f.stop()
		f.keeper.Close()
	})
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	s, err := New(context.Background(), f.cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- s.Serve(ctx, f.socket, nil, func() { close(ready) }) }()
	<-ready
	f.Service = s
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
		if err := s.Close(); err != nil {
			f.t.Error(err)
		}
	}
}

func (f *fixture) restart() {
	f.stop()
	f.start()
}

func TestConformanceOverFakes(t *testing.T) {
	f := newFixture(t)
	critests.Run(t, critests.Target{
		Socket: f.socket, Image: testImage, CgroupParent: "/proa-test",
		Restart: func(testing.TB) { f.restart() },
	})
	f.wantNothingLeft()
}
