package critests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func mounting(mounts ...*runtimeapi.Mount) change {
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = append(c.Mounts, mounts...) }
}

func testMounts(t *testing.T, s *suite) {
	p := s.pod(t)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("rw/file", "one")
	write("ro/file", "two")
	write("hosts", "127.0.0.1 from-the-agent\n")
	if err := os.Symlink(filepath.Join(dir, "rw"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	id := p.run("app", idle, mounting(
		&runtimeapi.Mount{HostPath: filepath.Join(dir, "rw"), ContainerPath: "/data/rw"},
		&runtimeapi.Mount{HostPath: filepath.Join(dir, "ro"), ContainerPath: "/data/ro", Readonly: true},
		&runtimeapi.Mount{HostPath: filepath.Join(dir, "link"), ContainerPath: "/data/link"},
		&runtimeapi.Mount{HostPath: filepath.Join(dir, "hosts"), ContainerPath: "/etc/hosts"},
		&runtimeapi.Mount{HostPath: filepath.Join(dir, "rw"), ContainerPath: "/data/noexec", MountOptions: []string{"noexec", "nosuid"}},
	))
	if got := p.sh(id, "cat /data/rw/file /data/ro/file /data/link/file /etc/hosts"); got != "onetwoone127.0.0.1 from-the-agent" {
		t.Errorf("read %q", got)
	}
	p.sh(id, "echo new > /data/rw/new")
	if data, err := os.ReadFile(filepath.Join(dir, "rw/new")); err != nil || string(data) != "new\n" {
		t.Errorf("what the container wrote: %q, %v", data, err)
	}
	if r := p.exec(id, "touch", "/data/ro/new"); r.ExitCode == 0 {
		t.Error("a read-only mount was written")
	}
	if got := p.sh(id, `awk '$2=="/data/noexec"{print $4}' /proc/mounts`); !strings.Contains(got, "noexec") || !strings.Contains(got, "nosuid") {
		t.Errorf("options %q", got)
	}
	if len(p.container(id).Mounts) != 5 {
		t.Errorf("told %v", p.container(id).Mounts)
	}
	// A removal must leave what was mounted alone.
	must(s.rt.RemoveContainer(within(t), &runtimeapi.RemoveContainerRequest{ContainerId: id}))(t)
	if data, err := os.ReadFile(filepath.Join(dir, "ro/file")); err != nil || string(data) != "two" {
		t.Errorf("the host's file after the removal: %q, %v", data, err)
	}
}

func testMountRefused(t *testing.T, s *suite) {
	p := s.pod(t)
	for name, m := range map[string]*runtimeapi.Mount{
		"absent":    {HostPath: "/no/such/path", ContainerPath: "/data"},
		"recursive": {HostPath: t.TempDir(), ContainerPath: "/data", RecursiveReadOnly: true},
		"both":      {HostPath: t.TempDir(), ContainerPath: "/data", Image: &runtimeapi.ImageSpec{Image: s.Image}, Readonly: true},
		"writable":  {ContainerPath: "/data", Image: &runtimeapi.ImageSpec{Image: s.Image}},
	} {
		config := p.containerConfig(name, idle)
		config.Mounts = []*runtimeapi.Mount{m}
		if _, err := p.create(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// sharedDir is a folder on a shared mount of its own.
func sharedDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	return dir
}

func testPropagation(t *testing.T, s *suite) {
	p := s.pod(t)
	dir := sharedDir(t)
	for _, sub := range []string{"host", "back"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(path string, kind runtimeapi.MountPropagation) *runtimeapi.Mount {
		return &runtimeapi.Mount{HostPath: dir, ContainerPath: path, Propagation: kind}
	}
	private := p.run("private", idle, mounting(at("/data", runtimeapi.MountPropagation_PROPAGATION_PRIVATE)))
	slave := p.run("slave", idle, mounting(at("/data", runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER)), privileged)
	both := p.run("both", idle, mounting(at("/data", runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL)), privileged)

	if err := unix.Mount("tmpfs", filepath.Join(dir, "host"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "host/file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{private: "", slave: "file", both: "file"} {
		if got := p.sh(id, "ls /data/host"); got != want {
			t.Errorf("a mount of the host shows %q, want %q", got, want)
		}
	}
	p.sh(slave, "mount -t tmpfs none /data/back && touch /data/back/slave")
	if entries, err := os.ReadDir(filepath.Join(dir, "back")); err != nil || len(entries) != 0 {
		t.Errorf("a mount got out of a slave: %v, %v", entries, err)
	}
	p.sh(both, "mount -t tmpfs none /data/back && touch /data/back/both")
	if _, err := os.Stat(filepath.Join(dir, "back/both")); err != nil {
		t.Errorf("the container's mount does not show: %v", err)
	}
	p.sh(both, "umount /data/back")
}

func testImageVolume(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle, mounting(
		&runtimeapi.Mount{ContainerPath: "/image", Image: &runtimeapi.ImageSpec{Image: s.Image}, Readonly: true},
		&runtimeapi.Mount{ContainerPath: "/part", Image: &runtimeapi.ImageSpec{Image: s.Image}, ImageSubPath: "bin", Readonly: true},
	))
	if got := p.sh(id, "test -e /image/bin/sh && test -e /part/sh && echo there"); got != "there" {
		t.Errorf("got %q", got)
	}
	if r := p.exec(id, "touch", "/image/new"); r.ExitCode == 0 {
		t.Error("an image was written")
	}
	for _, m := range p.container(id).Mounts {
		if m.Image.ImageRef == "" {
			t.Errorf("mount %s does not tell which image it is", m.ContainerPath)
		}
	}
	config := p.containerConfig("lost", idle)
	config.Mounts = []*runtimeapi.Mount{{ContainerPath: "/part", Image: &runtimeapi.ImageSpec{Image: s.Image}, ImageSubPath: "no/such", Readonly: true}}
	if _, err := p.create(config); err == nil {
		t.Error("a sub path that is not there")
	}
}

func testDevices(t *testing.T, s *suite) {
	p := s.pod(t)
	id := p.run("app", idle, func(c *runtimeapi.ContainerConfig) {
		c.Devices = []*runtimeapi.Device{{HostPath: "/dev/null", ContainerPath: "/dev/mine", Permissions: "rw"}}
	})
	if got := p.sh(id, "test -c /dev/mine && echo x > /dev/mine && echo usable"); got != "usable" {
		t.Errorf("got %q", got)
	}
	config := p.containerConfig("lost", idle)
	config.Devices = []*runtimeapi.Device{{HostPath: "/dev/no-such-device", ContainerPath: "/dev/x", Permissions: "r"}}
	if _, err := p.create(config); err == nil {
		t.Error("a device that is not there")
	}
}
