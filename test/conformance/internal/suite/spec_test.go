package suite

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/onsi/ginkgo/v2/types"
)

func names(specs []Spec) (out []string) {
	for _, s := range specs {
		out = append(out, s.Name)
	}
	return out
}

var some = []Spec{
	{Name: "[sig-apps] Job runs [Conformance]", Labels: []string{"sig-apps", "Conformance"}, Conformance: true},
	{Name: "[sig-node] Pods start [Conformance]", Labels: []string{"sig-node", "Conformance"}, Conformance: true},
	{Name: "[sig-node] Pods swap", Labels: []string{"sig-node"}},
	{Name: "[sig-node] Taints evict [Serial] [Conformance]", Labels: []string{"sig-node", "Serial", "Conformance"}, Conformance: true},
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		by   Selection
		want []string
	}{
		{Selection{}, []string{some[0].Name, some[1].Name, some[3].Name}},
		{Selection{Focus: `^\[sig-node\]`}, []string{some[1].Name, some[3].Name}},
		{Selection{Focus: "Pods", Any: true}, []string{some[1].Name, some[2].Name}},
		{Selection{Skip: `\[Serial\]|Job`}, []string{some[1].Name}},
	} {
		got, err := Select(some, c.by)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, names(got)); diff != "" {
			t.Errorf("%+v: -want +got\n%s", c.by, diff)
		}
	}
	if _, err := Select(some, Selection{Focus: "("}); err == nil {
		t.Error("a pattern that is none was taken")
	}
}

func TestOrder(t *testing.T) {
	took := map[string]time.Duration{some[1].Name: time.Second, some[2].Name: time.Minute}
	together, alone := Order(some, func(name string) time.Duration { return took[name] })
	if diff := cmp.Diff([]string{some[2].Name, some[1].Name, some[0].Name}, names(together)); diff != "" {
		t.Errorf("together: -want +got\n%s", diff)
	}
	if diff := cmp.Diff([]string{some[3].Name}, names(alone)); diff != "" {
		t.Errorf("alone: -want +got\n%s", diff)
	}
}

func it(state types.SpecState, reason string) types.SpecReport {
	return types.SpecReport{
		LeafNodeType: types.NodeTypeIt, ContainerHierarchyTexts: []string{"[sig-node] Pods"}, LeafNodeText: "start", State: state,
		Failure: types.Failure{Message: reason, Location: types.CodeLocation{FileName: "/go/pkg/mod/k8s.io/kubernetes@v1/test/e2e/pods.go", LineNumber: 7}},
	}
}

func TestResultOfReport(t *testing.T) {
	deselected := it(types.SpecStateSkipped, "")
	setUp := types.SpecReport{LeafNodeType: types.NodeTypeSynchronizedBeforeSuite, State: types.SpecStateFailed, Failure: types.Failure{Message: "no node"}}
	for _, c := range []struct {
		name   string
		report []types.SpecReport
		want   Result
	}{
		{"passed", []types.SpecReport{deselected, it(types.SpecStatePassed, "")}, Result{State: Passed}},
		{"failed", []types.SpecReport{it(types.SpecStateFailed, "want 1"), deselected}, Result{State: Failed, Reason: "want 1", Where: "test/e2e/pods.go:7"}},
		{"time out", []types.SpecReport{it(types.SpecStateTimedout, "too long")}, Result{State: Failed, Reason: "too long", Where: "test/e2e/pods.go:7"}},
		{"skipped by itself", []types.SpecReport{it(types.SpecStateSkipped, "needs two nodes")}, Result{State: Skipped, Reason: "needs two nodes"}},
		{"no such test", []types.SpecReport{deselected}, Result{State: Lost, Reason: "no test of this name ran"}},
		{"set-up failed", []types.SpecReport{setUp, deselected}, Result{State: Failed, Reason: "no node", Where: ":0"}},
	} {
		var got Result
		got.read([]types.Report{{SpecReports: c.report}})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
	}
}

func TestFileName(t *testing.T) {
	if got := fileName("[sig-node] Pods should start [Conformance]"); got != "sig-node-Pods-should-start-Conformance" {
		t.Error(got)
	}
	long := strings.Repeat("long ", 50)
	if a, b := fileName(long+"a"), fileName(long+"b"); a == b || len(a) > 200 {
		t.Errorf("%q and %q", a, b)
	}
}
