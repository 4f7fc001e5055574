// Package rules holds the tests of the source itself.
package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/proa-project/proa/"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// component of a package below internal/: its first folder.
func component(path string) string {
	rest, ok := strings.CutPrefix(path, module+"internal/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// shared may be imported by every component.
var shared = map[string]string{
	"kit": "small things without a state of their own: layout, version, atomic files",
	"pki": "certificates, as values",
}

// joins may import components: that is what they are for.
var joins = map[string]string{
	"app": "the composition root",
	"cli": "commands speak to a component where there is no server to ask",
}

// Components meet in the API or at a port that the consumer declares, so that
// each can be read, tested and replaced alone.
func TestSiblingsDoNotImportEachOther(t *testing.T) {
	for _, p := range list(t, "./internal/...") {
		from := component(p.ImportPath)
		if joins[from] != "" || strings.HasSuffix(p.ImportPath, "/apitest") { // a test's server stands on a real etcd
			continue
		}
		for _, i := range p.Imports {
			to := component(i)
			if to != "" && to != from && shared[to] == "" {
				t.Errorf("%s imports %s: declare a port in %s and join the two in internal/app", p.ImportPath, i, from)
			}
		}
	}
}

func TestNothingButMainImportsTheCompositionRoot(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, i := range p.Imports {
			if component(i) == "app" && p.ImportPath != module+"cmd/proa" && component(p.ImportPath) != "app" && !strings.HasPrefix(p.ImportPath, module+"pkg/") {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
}

// What a program must not link, and why.
var unlinked = []struct{ program, prefix, why string }{
	{"cmd/proa", "k8s.io/kubernetes", "proa is independent of upstream's programs"},
	{"cmd/proa", "github.com/opencontainers/runc", "libcontainer's init must re-execute the small keeper, never proa"},
	{"cmd/proa-keeper", "k8s.io/", "the keeper is one small process a node"},
	{"cmd/proa-keeper", "google.golang.org/grpc", "the keeper is one small process a node"},
	{"cmd/proa-keeper", "github.com/containerd/containerd", "images are proa's business, so that the keeper needs no upgrades"},
}

func TestProgramsDoNotLink(t *testing.T) {
	for _, rule := range unlinked {
		for _, p := range list(t, "./"+rule.program) {
			for _, d := range p.Deps {
				if strings.HasPrefix(d, rule.prefix) {
					t.Errorf("%s links %s: %s", rule.program, d, rule.why)
				}
			}
		}
	}
}

// Deciders take the time as a value and touch no client, so that every moment of
// a pod's life can be replayed in a test.
var pure = []string{"internal/node/podlife", "internal/node/podstatus"}

func TestDecidersArePure(t *testing.T) {
	forbidden := map[string]string{
		"os": "files", "net": "networks", "net/http": "networks", "context": "cancellation", "log/slog": "logs", "sync": "goroutines",
		"k8s.io/client-go/kubernetes": "clients", "math/rand": "chance", "math/rand/v2": "chance",
	}
	for _, path := range pure {
		for _, p := range list(t, "./"+path) {
			for _, i := range p.Imports {
				if what := forbidden[i]; what != "" {
					t.Errorf("%s imports %s: a decider knows no %s", p.ImportPath, i, what)
				}
			}
		}
	}
}

// The suite that judges proa needs upstream's source; it has a module of its own,
// so that nothing else can come to lean on it.
func TestUpstreamIsKnownToTheConformanceModuleAlone(t *testing.T) {
	for _, p := range list(t, "-test", "./...") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "k8s.io/kubernetes/") {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}
