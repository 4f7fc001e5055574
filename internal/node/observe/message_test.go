package observe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/container"
	"github.com/proa-project/proa/internal/node/podlife"
)

func TestTerminationMessage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	log := file("log", "2026-11-22T12:00:00.1Z stdout F first\n2026-11-22T12:00:00.2Z stderr P in \n2026-11-22T12:00:00.3Z stderr F parts\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, policy, message string
		code                  int32
		want                  string
	}{
		"file":                {path: file("said", "bye"), want: "bye"},
		"after the runtime's": {path: file("said", "bye"), message: "oom", want: "oom: bye"},
		"long":                {path: file("long", strings.Repeat("x", 5000)+"end"), want: strings.Repeat("x", 4093) + "end"},
		"binary":              {path: file("binary", "a\xffb"), want: "a\uFFFDb"},
		"empty":               {path: file("empty", ""), want: ""},
		"log on error":        {path: file("empty", ""), policy: "FallbackToLogsOnError", code: 1, want: "first\nin parts\n"},
		"no log on success":   {path: file("empty", ""), policy: "FallbackToLogsOnError", want: ""},
		"gone":                {path: filepath.Join(dir, "none"), want: ""},
		"a link is no file":   {path: filepath.Join(dir, "link"), want: "Error on reading termination log " + filepath.Join(dir, "link") + ": is no regular file"},
	} {
		status := &runtimeapi.ContainerStatus{
			LogPath:     log,
			Annotations: map[string]string{container.AnnotationMessagePath: "/dev/termination-log", container.AnnotationMessagePolicy: c.policy},
			Mounts:      []*runtimeapi.Mount{{ContainerPath: "/dev/termination-log", HostPath: c.path}},
		}
		if got := terminationMessage(status, podlife.Instance{ExitCode: c.code, Message: c.message}); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
