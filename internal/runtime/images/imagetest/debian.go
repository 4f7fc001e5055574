package imagetest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// base is what programs expect to find in any image.
func base() Layer {
	return Layer{
		{Path: "bin/"}, {Path: "dev/"}, {Path: "etc/"}, {Path: "proc/"}, {Path: "root/", Mode: 0o700}, {Path: "sys/"},
		{Path: "tmp/", Mode: 0o1777}, {Path: "usr/"}, {Path: "usr/bin/"}, {Path: "var/"}, {Path: "var/log/"}, {Path: "home/"},
		{Path: "run/"}, {Path: "var/run", Type: tar.TypeSymlink, Link: "/run", Mode: 0o777},
		{Path: "etc/passwd", Body: []byte("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")},
		{Path: "etc/group", Body: []byte("root:x:0:\nadm:x:4:\nwww-data:x:33:\nnogroup:x:65534:\n")},
		{Path: "etc/nsswitch.conf", Body: []byte("passwd: files\ngroup: files\nhosts: files dns\n")},
	}
}

// Busybox is an image with all applets of Debian's busybox-static, which must be
// installed. Its command is sh, like that of the well-known image.
func Busybox() (*Built, error) {
	layer, err := BusyboxLayer()
	if err != nil {
		return nil, err
	}
	return Build(Image{Layers: []Layer{layer}, Config: ocispec.ImageConfig{
		Cmd: []string{"sh"}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}})
}

// BusyboxLayer is what [Busybox] consists of, as a base of other images.
func BusyboxLayer() (Layer, error) {
	const path = "/bin/busybox"
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("busybox image: install busybox-static: %w", err)
	}
	if dynamic(path) {
		return nil, fmt.Errorf("busybox image: %s is not static: install busybox-static", path)
	}
	applets, err := exec.Command(path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox image: %w", err)
	}
	layer := append(base(), File{Path: "bin/busybox", Body: program, Mode: 0o755})
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			layer = append(layer, File{Path: "bin/" + applet, Type: tar.TypeLink, Link: "bin/busybox", Mode: 0o755})
		}
	}
	return layer, nil
}

// Nginx is an image of Debian's nginx, which must be installed, with busybox
// beside it. It serves a welcome page on port 80 in the foreground.
func Nginx() (*Built, error) { return NginxAt(80) }

// NginxAt is Nginx on another port.
func NginxAt(port int) (*Built, error) {
	tools, err := BusyboxLayer()
	if err != nil {
		return nil, err
	}
	files, err := Programs("/usr/sbin/nginx")
	if err != nil {
		return nil, fmt.Errorf("nginx image: install nginx-light: %w", err)
	}
	files = append(files,
		File{Path: "etc/nginx/nginx.conf", Body: fmt.Appendf(nil, nginxConf, port)},
		File{Path: "usr/share/nginx/html/index.html", Body: []byte("<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n")},
		File{Path: "var/log/nginx/access.log", Type: tar.TypeSymlink, Link: "/dev/stdout", Mode: 0o777},
		File{Path: "var/log/nginx/error.log", Type: tar.TypeSymlink, Link: "/dev/stderr", Mode: 0o777},
		File{Path: "var/lib/nginx/"},
	)
	if types, err := os.ReadFile("/etc/nginx/mime.types"); err == nil {
		files = append(files, File{Path: "etc/nginx/mime.types", Body: types})
	} else {
		files = append(files, File{Path: "etc/nginx/mime.types", Body: []byte("types { text/html html; }\n")})
	}
	return Build(Image{Layers: []Layer{tools, files}, Config: ocispec.ImageConfig{
		Cmd: []string{"nginx", "-g", "daemon off;"}, ExposedPorts: map[string]struct{}{fmt.Sprintf("%d/tcp", port): {}}, StopSignal: "SIGQUIT",
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}})
}

const nginxConf = `worker_processes 1;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    include /etc/nginx/mime.types;
    access_log /var/log/nginx/access.log;
    server {
        listen %d;
        root /usr/share/nginx/html;
    }
}
`

// Program is an image with busybox and one program of this machine with the
// libraries it is linked against, as its entrypoint.
func Program(path string, config ocispec.ImageConfig) (*Built, error) {
	tools, err := BusyboxLayer()
	if err != nil {
		return nil, err
	}
	files, err := Programs(path)
	if err != nil {
		return nil, err
	}
	if len(config.Entrypoint) == 0 {
		config.Entrypoint = []string{path}
	}
	return Build(Image{Layers: []Layer{tools, files}, Config: config})
}

// Programs are programs of this machine with what they are linked against, and
// what the C library opens by itself to look up names.
func Programs(paths ...string) (Layer, error) {
	var wanted []string
	for _, path := range paths {
		wanted = append(wanted, path)
		if !dynamic(path) {
			continue
		}
		libs, err := libraries(path)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, libs...)
	}
	var layer Layer
	seen := map[string]bool{}
	for _, p := range wanted {
		name := strings.TrimPrefix(p, "/")
		if seen[name] {
			continue
		}
		seen[name] = true
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			return nil, err
		}
		data, err := os.ReadFile(real)
		if err != nil {
			return nil, err
		}
		layer = append(layer, File{Path: name, Body: data, Mode: 0o755})
	}
	return layer, nil
}

func libraries(path string) ([]string, error) {
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", path, err)
	}
	var libs []string
	scan := bufio.NewScanner(bytes.NewReader(out))
	for scan.Scan() {
		for _, word := range strings.Fields(scan.Text()) {
			if strings.HasPrefix(word, "/") {
				libs = append(libs, word)
			}
		}
	}
	if matches, err := filepath.Glob("/lib/*-linux-gnu/libnss_files.so.2"); err == nil {
		libs = append(libs, matches...)
	}
	slices.Sort(libs)
	return slices.Compact(libs), nil
}

func dynamic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Section(".interp") != nil
}
