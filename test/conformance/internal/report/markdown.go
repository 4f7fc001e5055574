package report

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// What stands between these lines of a document is ours; the rest is its author's.
const (
	beginMark = "<!-- written by make conformance -->"
	endMark   = "<!-- end of what make conformance wrote -->"
)

// Insert the report into a document, between its marks.
func (r Report) Insert(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s: no place for the summary: want a line %q and a line %q", path, beginMark, endMark)
	}
	var out strings.Builder
	out.WriteString(before + beginMark + "\n\n")
	if err := r.Markdown(&out); err != nil {
		return err
	}
	out.WriteString("\n" + endMark + after)
	return os.WriteFile(path, []byte(out.String()), 0o644)
}

// Markdown is the summary for docs/conformance.md.
func (r Report) Markdown(w io.Writer) error {
	t := r.Tally()
	fmt.Fprintf(w, "**%d of %d pass.** proa %s, suite of Kubernetes %s; %s. The tests took %.0f minutes, added up.\n\n",
		t.Passed, t.Total, r.versions(), r.Suite, r.Machine, t.Took.Minutes())
	fmt.Fprintln(w, "| group | tests | passed | failed | skipped | time |\n|---|--:|--:|--:|--:|--:|")
	names, tallies := r.groups()
	for _, name := range names {
		g := tallies[name]
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %s |\n", name, g.Total, g.Passed, g.Failed, g.Skipped, seconds(g.Took))
	}
	if bad := r.bad(); len(bad) > 0 {
		fmt.Fprintln(w, "\nWhat fails:\n\n| test | reason, as the suite puts it |\n|---|---|")
		for _, result := range bad {
			fmt.Fprintf(w, "| %s | %s |\n", cell(result.Name), cell(brief(firstLine(result.Reason), 160)))
		}
	}
	r.firstPod(w)
	return nil
}

// firstPod names the tests that ask for nothing beyond a pod: a reader who has one
// wants to know what it may be relied on for.
func (r Report) firstPod(w io.Writer) {
	var passed []string
	total := 0
	for _, result := range r.Results {
		if suite.FirstPod(result.Name) {
			total++
			if result.State == suite.Passed {
				passed = append(passed, result.Name)
			}
		}
	}
	if total == 0 {
		return
	}
	fmt.Fprintf(w, "\n<details><summary>%d of %d tests pass that need a pod and nothing else: no services, workloads or storage</summary>\n\n", len(passed), total)
	for _, name := range passed {
		fmt.Fprintf(w, "- %s\n", cell(name))
	}
	fmt.Fprintln(w, "\n</details>")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// cell keeps text from ending a cell of a table, or a line.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}
