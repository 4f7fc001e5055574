package assets

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	imageutils "k8s.io/kubernetes/test/utils/image"
)

// flags of all builds: small, and with the version that a release would show.
func (b *builder) flags() []string {
	const pkg = "k8s.io/component-base/version."
	major, minor, _ := strings.Cut(strings.TrimPrefix(b.version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	link := []string{"-s", "-w", "-X", pkg + "gitVersion=" + b.version, "-X", pkg + "gitMajor=" + major, "-X", pkg + "gitMinor=" + minor}
	return []string{"-trimpath", "-ldflags", strings.Join(link, " ")}
}

func (b *builder) makeE2E(ctx context.Context, out string) error {
	args := append([]string{"test", "-c"}, b.flags()...)
	return b.run(ctx, "the suite's test program (some minutes, once)", "go", append(args, "-o", out, "k8s.io/kubernetes/test/e2e")...)
}

// makePrograms builds what go.mod names as tools: kubectl and the programs in the
// images; and pause, which is written in C.
func (b *builder) makePrograms(ctx context.Context, pause string) error {
	args := append([]string{"build"}, b.flags()...)
	if err := b.run(ctx, "kubectl and the images' programs", "go", append(args, "-o", b.programs()+"/", "tool")...); err != nil {
		return err
	}
	// A main package is named after its folder, and etcd's is called server.
	if err := os.Rename(filepath.Join(b.programs(), "server"), filepath.Join(b.programs(), "etcd")); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	_, tag, _ := strings.Cut(name(imageutils.Pause), ":")
	return b.run(ctx, "pause", "gcc", "-Os", "-static", "-s", "-DVERSION="+tag, "-o", pause, filepath.Join(b.source, "build/pause/linux/pause.c"))
}

// makeBusybox builds Debian's source without Debian's patches and with its own
// default configuration, as the official image has it: Debian's shell drops
// variables with names like a-b from the environment of what it runs, which the
// suite looks for there.
func (b *builder) makeBusybox(ctx context.Context, out string) error {
	return b.run(ctx, "busybox", "sh", "-c", busyboxScript, "sh", release, out)
}

const busyboxScript = `set -e
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p lists/partial
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $1 main" >sources.list
get() { apt-get -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$dir/lists" -o APT::Sandbox::User=root "$@"; }
get update
get source --download-only busybox
tar -xf busybox_*.orig.tar.*
cd busybox-*/
make -s defconfig
sed -i 's/^# CONFIG_STATIC is not set/CONFIG_STATIC=y/' .config
make -s -j"$(nproc)" busybox
cp busybox "$2"
`
