package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

var update = flag.Bool("update", false, "write the golden files anew")

var example = Report{
	Suite: "v1.37.2", Machine: "2 CPUs, Linux 6.18", Missing: 1,
	Results: []suite.Result{
		{Name: "[sig-apps] Job | runs", Group: "sig-apps", State: suite.Passed, Took: 3 * time.Second, Version: "v0.1"},
		{Name: "[sig-node] Pods start", Group: "sig-node", State: suite.Failed, Took: time.Minute, Version: "v0.1",
			Reason: "timed out <after> 60s\n  {object}", Where: "test/e2e/pods.go:7", Log: "/logs/pods.log"},
		{Name: "[sig-node] Pods swap", Group: "sig-node", State: suite.Skipped, Took: time.Second, Version: "v0.2", Reason: "no swap"},
		{Name: "[sig-node] Pods vanish", Group: "sig-node", State: suite.Lost, Took: time.Second, Version: "v0.2", Reason: "killed", Log: "/logs/vanish.log"},
		{Name: "[sig-node] Secrets are read", Group: "sig-node", State: suite.Passed, Took: time.Second, Version: "v0.2"},
	},
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", name, diff)
	}
}

func TestForms(t *testing.T) {
	var text, junit, markdown strings.Builder
	if err := example.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := example.JUnit(&junit); err != nil {
		t.Fatal(err)
	}
	if err := example.Markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", text.String())
	golden(t, "junit.xml", junit.String())
	golden(t, "summary.md", markdown.String())
}

func TestInsertLeavesTheRestAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("# Title\n"+beginMark+"\nold\n"+endMark+"\nremarks\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := example.Insert(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := string(data)
	if !strings.HasPrefix(got, "# Title\n") || !strings.HasSuffix(got, endMark+"\nremarks\n") || strings.Contains(got, "old") {
		t.Errorf("got:\n%s", got)
	}
}
