package e2e

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/proa-project/proa/internal/runtime/images/imagetest"
)

// testImages are what the tests pull, by the names on docker.io.
func testImages() (map[string]*imagetest.Built, error) {
	all := map[string]*imagetest.Built{}
	for name, build := range map[string]func() (*imagetest.Built, error){
		"library/busybox:1.28": imagetest.Busybox, "library/nginx:1.14.2": imagetest.Nginx, "library/tools:1": tools, "library/says:1": says,
	} {
		img, err := build()
		if err != nil {
			return nil, err
		}
		all[name] = img
	}
	return all, nil
}

// tools is busybox with what it lacks to look at a container from the inside; its
// processes run as "app", who is in the group "extra". suid is id(1), setuid root.
func tools() (*imagetest.Built, error) {
	base, err := imagetest.BusyboxLayer()
	if err != nil {
		return nil, err
	}
	programs, err := imagetest.Programs("/usr/bin/ipcs", "/usr/bin/ipcmk", "/usr/bin/unshare")
	if err != nil {
		return nil, err
	}
	suid, err := imagetest.Programs("/usr/bin/id")
	if err != nil {
		return nil, err
	}
	suid[0].Path, suid[0].Mode = "bin/suid", 0o4755
	users := imagetest.Layer{
		{Path: "etc/passwd", Body: []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")},
		{Path: "etc/group", Body: []byte("root:x:0:\napp:x:1000:\nextra:x:50000:app\n")},
	}
	return imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{base, programs, suid, users}, Config: ocispec.ImageConfig{
		Cmd: []string{"sleep", "1000"}, User: "app", StopSignal: "SIGUSR1",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}})
}

// says is an image with an entrypoint, arguments, a variable and a folder of its own.
func says() (*imagetest.Built, error) {
	base, err := imagetest.BusyboxLayer()
	if err != nil {
		return nil, err
	}
	return imagetest.Build(imagetest.Image{Layers: []imagetest.Layer{base}, Config: ocispec.ImageConfig{
		Entrypoint: []string{"echo", "entrypoint"}, Cmd: []string{"cmd"}, WorkingDir: "/home",
		Env: []string{"PATH=/bin", "FROM=image", "KEPT=image"},
	}})
}
