package assets

import (
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	imageutils "k8s.io/kubernetes/test/utils/image"
)

// recipe says how one image of the suite is made: a base, files on top, and what
// runs in it. The name and tag are the suite's own.
type recipe struct {
	image  imageutils.ImageID
	base   base
	files  []file
	config v1.Config
}

// base is the lowest layer, shared by the images that are made on it.
type base string

const (
	scratch base = ""
	debian  base = "debian"
	busybox base = "busybox"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// recipes of all the images that the conformance tests run, and of some that only
// other tests do. Upstream's are made on Alpine and on Docker's official images;
// these have Debian's packages of the same programs, so versions inside differ.
//
// Two images are missing on purpose: the tests expect that they can't be pulled.
func recipes(programs, source string) []recipe {
	program := func(name, at string) file { return file{path: at, mode: 0o755, from: path.Join(programs, name)} }
	ours := func(name, at string) file {
		return file{path: at, mode: 0o644, from: path.Join(source, "test/images", name)}
	}
	agnhost := []file{
		program("agnhost", "agnhost"), {path: "agnhost-2", link: "agnhost"}, {path: "uploads/"},
		ours("agnhost/porter/localhost.crt", "localhost.crt"), ours("agnhost/porter/localhost.key", "localhost.key"),
	}
	// A test of image volumes looks up there what upstream's image is made of.
	madeOf := file{path: "etc/os-release", mode: 0o644, body: "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux, in place of Alpine Linux\"\nID=debian\n"}
	runsAgnhost := v1.Config{Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, Env: []string{defaultPath},
		ExposedPorts: map[string]struct{}{"80": {}, "8080": {}, "8081": {}, "9376": {}, "5000": {}}}
	serves := runsAgnhost
	serves.Cmd = []string{"test-webserver"}
	shows := func(name string) []file {
		return append(agnhost[:len(agnhost):len(agnhost)], ours(name+"/html/"+name+".jpg", name+".jpg"), ours(name+"/html/data.json", "data.json"), madeOf)
	}
	shell := v1.Config{Cmd: []string{"sh"}, Env: []string{defaultPath}}
	runs := func(command ...string) v1.Config { return v1.Config{Entrypoint: command, Env: []string{defaultPath}} }

	return []recipe{
		{imageutils.Agnhost, debian, agnhost, runsAgnhost},
		{imageutils.AgnhostPrev, debian, agnhost, runsAgnhost},
		{imageutils.Kitten, debian, shows("kitten"), serves},
		{imageutils.Nautilus, debian, shows("nautilus"), serves},
		{imageutils.BusyBox, busybox, nil, shell},
		{imageutils.IpcUtils, debian, nil, shell},
		{imageutils.GlibcDnsTesting, debian, nil, shell},
		{imageutils.Perl, debian, nil, shell},
		{imageutils.NonRoot, debian, nil, v1.Config{Cmd: []string{"sh"}, User: "1234", Env: []string{defaultPath}}},
		{imageutils.Nginx, debian, nginxFiles, runsNginx},
		{imageutils.NginxNew, debian, nginxFiles, runsNginx},
		{imageutils.Nonewprivs, busybox, []file{{path: "usr/local/bin/nnp", mode: 0o4755, from: path.Join(programs, "nonewprivs")}},
			v1.Config{Cmd: []string{"nnp"}, Env: []string{defaultPath}}},
		{imageutils.Pause, scratch, []file{program("pause", "pause")}, v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535", Env: []string{defaultPath}}},
		{imageutils.Etcd, busybox, []file{program("etcd", "usr/local/bin/etcd")}, v1.Config{Env: []string{defaultPath}}},
		{imageutils.APIServer, busybox, []file{program("sample-apiserver", "sample-apiserver")}, runs("/sample-apiserver")},
		{imageutils.SampleDevicePlugin, busybox, []file{program("sample-device-plugin", "sampledeviceplugin")}, runs("/sampledeviceplugin", "-alsologtostderr")},
		{imageutils.RegressionIssue74839, busybox, []file{program("regression-issue-74839", "regression-issue-74839")}, runs("/regression-issue-74839")},
		{imageutils.ResourceConsumer, debian, []file{program("resource-consumer", "consumer"), program("consume-cpu", "consume-cpu")}, runs("/consumer")},
	}
}

// packages of the Debian layer: what the programs of all images on it call.
var packages = []string{
	"bash", "bind9-dnsutils", "ca-certificates", "curl", "iperf", "iproute2", "iputils-ping", "netcat-openbsd",
	"nginx-light", "perl-base", "procps", "socat", "stress", "util-linux",
}

// accounts that the suite expects agnhost to hold: a test of supplemental groups
// that are defined in an image.
var accounts = []string{
	"useradd --no-create-home --uid 1000 user-defined-in-image",
	"groupadd --gid 50000 group-defined-in-image",
	"usermod --append --groups group-defined-in-image user-defined-in-image",
}

// nginx as in Docker's official image: in the foreground, its page and its logs
// where people look for them.
var (
	runsNginx = v1.Config{Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT", Env: []string{defaultPath},
		ExposedPorts: map[string]struct{}{"80/tcp": {}}}
	nginxFiles = []file{
		{path: "etc/nginx/sites-enabled/default", mode: 0o644, body: "server {\n\tlisten 80;\n\troot /usr/share/nginx/html;\n}\n"},
		{path: "usr/share/nginx/html/index.html", mode: 0o644, body: "<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n"},
		{path: "var/log/nginx/access.log", link: "/dev/stdout"},
		{path: "var/log/nginx/error.log", link: "/dev/stderr"},
	}
)

// busyboxFiles is a root file system of busybox alone, with its applets.
func busyboxFiles(program string, applets []string) []file {
	files := []file{
		{path: "dev/"}, {path: "etc/"}, {path: "home/"}, {path: "proc/"}, {path: "root/", mode: 0o700}, {path: "sys/"},
		{path: "tmp/", mode: 0o1777}, {path: "usr/"}, {path: "usr/bin/"}, {path: "usr/local/"}, {path: "usr/local/bin/"},
		{path: "usr/sbin/"}, {path: "sbin/"}, {path: "var/"}, {path: "var/tmp/", mode: 0o1777},
		{path: "etc/passwd", mode: 0o644, body: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"},
		{path: "etc/group", mode: 0o644, body: "root:x:0:\nnogroup:x:65534:\n"},
		{path: "bin/busybox", mode: 0o755, from: program},
	}
	for _, applet := range applets {
		if applet != "busybox" {
			files = append(files, file{path: "bin/" + applet, link: "/bin/busybox"})
		}
	}
	return files
}

// name that the suite gives an image.
func name(id imageutils.ImageID) string { return strings.TrimSpace(imageutils.GetE2EImage(id)) }
