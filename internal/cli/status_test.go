package cli

import (
	"strings"
	"testing"

	"github.com/proa-project/proa/internal/control"
)

func TestStatusSaysWhatThereIs(t *testing.T) {
	base := control.Status{Running: true, Ready: true, PID: 1, KeeperPID: 2, Node: "n", DataDir: "/d", CRISocket: "/s", Version: "v"}
	for name, c := range map[string]struct {
		change func(*control.Status)
		want   string
	}{
		"the whole cluster": {func(s *control.Status) { s.APIServer, s.Kubeconfig = "https://a", "/k" },
			"node        n (ready)\nAPI server  https://a\nkubeconfig  /k\ndata        /d\nprocesses   proa 1, keeper 2\nversion     v\n"},
		"a node of another": {func(s *control.Status) { s.APIServer, s.Ready = "https://a", false },
			"node        n (starting)\nAPI server  https://a\ndata        /d\nprocesses   proa 1, keeper 2\nversion     v\n"},
		"on another runtime": {func(s *control.Status) { s.APIServer, s.KeeperPID = "https://a", 0 },
			"node        n (ready)\nAPI server  https://a\nruntime     /s\ndata        /d\nprocesses   proa 1\nversion     v\n"},
		"the runtime alone": {func(*control.Status) {},
			"runtime     /s (ready)\ndata        /d\nprocesses   proa 1, keeper 2\nversion     v\n"},
		"nothing": {func(s *control.Status) { *s = control.Status{DataDir: "/d"} },
			"proa is not running (data in /d). Start it with: proa up --data-dir /d\n"},
	} {
		s := base
		c.change(&s)
		var out strings.Builder
		if err := printStatus(&out, s, ""); err != nil || out.String() != c.want {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}
