package cri

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/critests"
	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// storeImages is the real image store behind our port.
type storeImages struct{ *images.Store }

func (s storeImages) Resolve(ctx context.Context, ref string) (Image, error) {
	img, err := s.Get(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	config, err := s.Config(ctx, img.ID)
	return Image{ID: img.ID, Ref: img.Ref(), Size: img.Size, Config: config}, err
}

func (s storeImages) Prepare(ctx context.Context, key, imageID string, opts SnapshotOptions) ([]mount.Mount, error) {
	return s.Store.Prepare(ctx, key, imageID, rootFSOptions(opts))
}

func (s storeImages) View(ctx context.Context, key, imageID string, opts SnapshotOptions) ([]mount.Mount, error) {
	return s.Store.View(ctx, key, imageID, rootFSOptions(opts))
}

func rootFSOptions(opts SnapshotOptions) images.RootFSOptions {
	mappings := func(in []*runtimeapi.IDMapping) (out []images.IDMapping) {
		for _, m := range in {
			out = append(out, images.IDMapping{ContainerID: m.ContainerId, HostID: m.HostId, Length: m.Length})
		}
		return out
	}
	return images.RootFSOptions{UIDMappings: mappings(opts.UIDMappings), GIDMappings: mappings(opts.GIDMappings)}
}

func (s storeImages) Remove(ctx context.Context, key string) error { return s.Release(ctx, key) }

func (s storeImages) Usage(ctx context.Context, key string) (Usage, error) {
	u, err := s.RootFSUsage(ctx, key)
	return Usage(u), err
}

func (s storeImages) Keys(ctx context.Context) ([]string, error) { return s.RootFSKeys(ctx) }

// command runs a tool of the build and fails loudly.
func command(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// runDir is a short-named folder on the tmpfs where the product has its own.
func runDir(t testing.TB) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("this test makes namespaces and mounts: run it as root")
	}
	dir, err := os.MkdirTemp("/run", "proa-cri-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroups(t, filepath.Base(dir)) })
	t.Cleanup(func() {
		// Never through a mount: one that is left is a failure of its own.
		if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil && bytes.Contains(data, []byte(dir)) {
			t.Errorf("mounts are left below %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return dir
}

// removeCgroups removes the groups of the test's pods, which are the caller's to
// make and remove, and fails if any of a container is left in them.
func removeCgroups(t testing.TB, name string) {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
		var dirs []string
		filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			if strings.Count(strings.TrimPrefix(dir, root), "/") > 1 {
				t.Errorf("a container's cgroup is left: %s", dir)
			}
			if err := os.Remove(dir); err != nil {
				t.Errorf("remove cgroup: %v", err)
			}
		}
	}
}

// realKeeper is the real keeper's process.
type realKeeper struct {
	t        testing.TB
	bin, run string
	cmd      *exec.Cmd
	ended    chan struct{}
	*keeper.Client
}

// startKeeper builds the real keeper and runs it, for the time of the test.
func startKeeper(t testing.TB, run string) *realKeeper {
	t.Helper()
	k := &realKeeper{t: t, bin: t.TempDir(), run: run}
	command(t, "../../..", "go", "build", "-tags", "seccomp", "-o", filepath.Join(k.bin, "proa-keeper"), "./cmd/proa-keeper")
	command(t, "../../..", "internal/runtime/pause/build.sh", filepath.Join(k.bin, "pause"))
	k.start()
	k.Client = k.dial()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := k.Shutdown(ctx, true); err != nil && !errors.Is(err, keeper.ErrUnavailable) {
			t.Errorf("shut the keeper down: %v", err)
			k.cmd.Process.Kill()
		}
		k.Close()
		<-k.ended
	})
	return k
}

func (k *realKeeper) start() {
	k.t.Helper()
	k.cmd = exec.Command(filepath.Join(k.bin, "proa-keeper"), "-run", k.run, "-pause", filepath.Join(k.bin, "pause"), "-pool", "1")
	k.cmd.Stderr = k.t.Output()
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		cmd.Wait()
	}(k.cmd, k.ended)
}

func (k *realKeeper) dial() *keeper.Client {
	k.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		client, err := keeper.Dial(filepath.Join(k.run, "keeper.sock"))
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			k.cmd.Process.Kill()
			k.t.Fatalf("the keeper does not answer: %v", err)
		}
	}
}

// replace kills the keeper as nothing should and starts another.
func (k *realKeeper) replace() {
	k.t.Helper()
	k.cmd.Process.Kill()
	<-k.ended
	k.start()
	k.dial().Close()
}

const realImage, realImageUser = "docker.io/library/busybox:1.36", "docker.io/library/tester:1"

// openImages is a store with the two images that the suite asks for.
func openImages(t testing.TB) *images.Store {
	t.Helper()
	store, err := images.Open(context.Background(), images.Config{Root: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	load := func(name string, b *imagetest.Built, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		r, w := io.Pipe()
		go func() { w.CloseWithError(b.WriteOCIArchive(w, name)) }()
		if _, err := store.Import(context.Background(), r, images.ImportOptions{Names: []string{name}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := imagetest.Busybox()
	load(realImage, b, err)
	b, err = testerImage()
	load(realImageUser, b, err)
	return store
}

// testerImage is busybox with a user of its own.
func testerImage() (*imagetest.Built, error) {
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return nil, err
	}
	layer := imagetest.Layer{
		{Path: "bin/"}, {Path: "etc/"}, {Path: "proc/"}, {Path: "dev/"}, {Path: "sys/"}, {Path: "tmp/", Mode: 0o1777},
		{Path: "bin/busybox", Body: program, Mode: 0o755},
		{Path: "etc/passwd", Body: []byte("root:x:0:0:root:/:/bin/sh\ntester:x:1000:1001::/tmp:/bin/sh\n")},
		{Path: "etc/group", Body: []byte("root:x:0:\nusers:x:1001:\nextra:x:1002:tester\n")},
	}
	for _, applet := range []string{"sh", "echo", "sed", "sleep", "id", "cat"} {
		layer = append(layer, imagetest.File{Path: "bin/" + applet, Type: tar.TypeSymlink, Link: "busybox", Mode: 0o777})
	}
	return imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{layer}, Config: ocispec.ImageConfig{
		User: "tester", Cmd: []string{"sh"}, Volumes: map[string]struct{}{"/new": {}, "/tmp": {}},
	}})
}

// newRealFixture is a service over the real keeper and image store.
func newRealFixture(t testing.TB) *fixture {
	run := runDir(t)
	store := openImages(t)
	f := &fixture{t: t, network: newMemoryNetwork(), socket: filepath.Join(run, "cri.sock")}
	f.cfg = Config{
		Keeper: startKeeper(t, run), Images: storeImages{store}, Network: f.network, Version: "1.2.3",
		StateDir: filepath.Join(run, "cri"), ContainersDir: filepath.Join(run, "containers"), CgroupParent: "/" + filepath.Base(run) + "/cri",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	f.start()
	t.Cleanup(func() { f.stop() })
	return f
}

func TestConformanceOverRealProcesses(t *testing.T) {
	f := newRealFixture(t)
	critests.Run(t, critests.Target{
		Socket: f.socket, Image: realImage, ImageUser: realImageUser, CgroupParent: strings.TrimSuffix(f.cfg.CgroupParent, "/cri"), Kernel: true,
		Restart: func(testing.TB) { f.restart() },
	})
	f.wantNothingLeft()
}

// The keeper may be killed: containers go on, and the service finds the next
// keeper by itself.
func TestKeeperIsReplaced(t *testing.T) {
	f := newRealFixture(t)
	pod := f.runPod("p")
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	events := f.Subscribe(ctx)
	script := func(name, text string) string {
		return f.runContainer(pod, name, "sh", "-c", text)
	}
	running := script("app", "while :; do sleep 0.05; done")
	before, err := f.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: running, Verbose: true})
	must(t, err)
	ending := script("ending", "while ! test -e /dev/shm/go; do sleep 0.02; done; exit 7")

	f.cfg.Keeper.(*realKeeper).replace()

	var resp *runtimeapi.ExecSyncResponse
	for { // until the client has found the new one
		resp, err = f.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: running, Cmd: []string{"sh", "-c", "touch /dev/shm/go; echo here"}})
		if err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || string(resp.Stdout) != "here\n" {
		t.Fatalf("exec: %v, %v", resp, err)
	}
	for e := range events {
		if e.ContainerId == ending && e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
			break
		}
	}
	st, err := f.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: ending})
	must(t, err)
	if st.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED || st.Status.ExitCode != 7 && st.Status.Reason != reasonUnknown {
		t.Errorf("ended under the new keeper: %v", st.Status)
	}
	after, err := f.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: running, Verbose: true})
	must(t, err)
	if after.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING || after.Info["info"] != before.Info["info"] {
		t.Errorf("before %v, after %v", before, after)
	}
	if _, err := f.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod}); err != nil {
		t.Error(err)
	}
}

// A folder that the image declares as a volume can be written under a read-only root.
func TestImageVolumesStayWritable(t *testing.T) {
	f := newRealFixture(t)
	pod := f.runPod("p")
	config := containerConfigFor("app", "sh", "-c", "while :; do sleep 1; done")
	config.Image.Image = realImageUser
	config.Linux.SecurityContext.ReadonlyRootfs = true
	config.Linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: 0}
	resp, err := f.CreateContainer(background, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: config})
	must(t, err)
	_, err = f.StartContainer(background, &runtimeapi.StartContainerRequest{ContainerId: resp.ContainerId})
	must(t, err)
	out, err := f.ExecSync(background, &runtimeapi.ExecSyncRequest{ContainerId: resp.ContainerId, Cmd: []string{
		"sh", "-c", "echo a > /tmp/x && echo b > /new/x && cat /tmp/x /new/x; echo c > /bin/x || echo refused",
	}})
	must(t, err)
	if string(out.Stdout) != "a\nb\nrefused\n" {
		t.Errorf("got %q, %q", out.Stdout, out.Stderr)
	}
	_, err = f.RemovePodSandbox(background, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: pod})
	must(t, err)
	f.wantNothingLeft()
}
