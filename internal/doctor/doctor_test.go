package doctor

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestThisMachineIsFit(t *testing.T) {
	for _, p := range Run(Checks(Config{DataDir: filepath.Join(t.TempDir(), "not", "yet", "made")})) {
		t.Error(p)
	}
}

func TestAPortInUseIsNamedWithItsRemedy(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	problems := Run(Checks(Config{DataDir: t.TempDir(), APIPort: port}))
	if len(problems) != 1 {
		t.Fatalf("got %v, want one problem", problems)
	}
	line := problems[0].String()
	for _, want := range []string{fmt.Sprint(port), "in use", "--api-port"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not say %q", line, want)
		}
	}
}

func TestPrintSaysALineACheck(t *testing.T) {
	good := func() error { return nil }
	bad := func() error { return errors.New("it broke") }
	for name, c := range map[string]struct {
		checks []Check
		want   string
	}{
		"all are tried": {
			[]Check{{Name: "good", Try: good}, {Name: "bad", Remedy: "Do this", Try: bad}, {Name: "next", Try: good}},
			"ok    good\nFAIL  bad: it broke. Do this\nok    next\n",
		},
		"a gate": {
			[]Check{{Name: "root", Remedy: "Do this", Try: bad, Gate: true}, {Name: "next", Try: bad}},
			"FAIL  root: it broke. Do this\n      (the rest can be checked once that is mended)\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if failed := Print(&out, c.checks); out.String() != c.want || failed != 1 {
				t.Errorf("got %q with %d failed, want %q", out.String(), failed, c.want)
			}
			if problems := Run(c.checks); len(problems) != 1 {
				t.Errorf("got %v, want one problem", problems)
			}
		})
	}
}
