// Package report turns the results of a run into what people and machines read.
package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/proa-project/proa/test/conformance/internal/suite"
)

// Report of a run.
type Report struct {
	Suite   string // version of Kubernetes
	Machine string
	Asked   suite.Selection
	Results []suite.Result // by group and name
	Missing int            // tests of the selection that have no result
	Elapsed time.Duration  // of this invocation
}

// Tally counts results.
type Tally struct {
	Total, Passed, Failed, Skipped int
	Took                           time.Duration
}

func (t *Tally) add(r suite.Result) {
	t.Total++
	t.Took += r.Took
	switch r.State {
	case suite.Passed:
		t.Passed++
	case suite.Skipped:
		t.Skipped++
	default:
		t.Failed++
	}
}

// Tally of all results.
func (r Report) Tally() (t Tally) {
	for _, result := range r.Results {
		t.add(result)
	}
	return t
}

// groups in order of their names, with their tallies.
func (r Report) groups() (names []string, tallies map[string]*Tally) {
	tallies = map[string]*Tally{}
	for _, result := range r.Results {
		if tallies[result.Group] == nil {
			tallies[result.Group] = &Tally{}
			names = append(names, result.Group)
		}
		tallies[result.Group].add(result)
	}
	slices.Sort(names)
	return names, tallies
}

// Bad are the results that failed.
func (r Report) bad() (out []suite.Result) {
	for _, result := range r.Results {
		if result.State == suite.Failed || result.State == suite.Lost {
			out = append(out, result)
		}
	}
	return out
}

// versions of proa that the results are of; more than one when a run went on after
// a new build.
func (r Report) versions() string {
	var all []string
	for _, result := range r.Results {
		if !slices.Contains(all, result.Version) {
			all = append(all, result.Version)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Text for a terminal.
func (r Report) Text(w io.Writer) error {
	fmt.Fprintf(w, "proa %s against the suite of Kubernetes %s\n%s\n\n", r.versions(), r.Suite, r.Machine)
	for _, result := range r.bad() {
		fmt.Fprintf(w, "%s %s (%s)\n    %s\n    %s\n    %s\n\n", strings.ToUpper(string(result.State)), result.Name, seconds(result.Took),
			strings.ReplaceAll(brief(result.Reason, 1000), "\n", "\n    "), result.Where, result.Log)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "group\ttests\tpassed\tfailed\tskipped\ttime\t")
	names, tallies := r.groups()
	all := r.Tally()
	for _, name := range append(names, "all") {
		t := &all
		if name != "all" {
			t = tallies[name]
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\t\n", name, t.Total, t.Passed, t.Failed, t.Skipped, seconds(t.Took))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Missing > 0 {
		fmt.Fprintf(w, "\n%d tests have not run\n", r.Missing)
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }

// brief is a reason without the dumps of whole objects that may follow it.
func brief(reason string, longest int) string {
	reason = strings.TrimSpace(reason)
	if runes := []rune(reason); len(runes) > longest {
		return string(runes[:longest]) + " …"
	}
	return reason
}
