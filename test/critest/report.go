package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// results of a run, as far as they are told on.
type results struct{ tests []test }

type test struct {
	Group  string
	Name   string
	State  string // passed, failed, skipped …
	Reason string // of a failure or a skip
	Took   time.Duration
}

// ginkgoReport is what we read of ginkgo's JSON report.
type ginkgoReport []struct {
	SpecReports []struct {
		ContainerHierarchyTexts []string
		LeafNodeType            string
		LeafNodeText            string
		State                   string
		RunTime                 time.Duration
		Failure                 struct{ Message string }
	}
}

func readReport(path string) (results, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return results{}, err
	}
	var report ginkgoReport
	if err := json.Unmarshal(data, &report); err != nil {
		return results{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(report) == 0 {
		return results{}, errors.New("the suite reported nothing")
	}
	var r results
	for _, s := range report[0].SpecReports {
		notRun := s.State == "skipped" && s.Failure.Message == "" // by focus or skip
		if s.LeafNodeType != "It" || notRun || s.State == "pending" {
			continue
		}
		groups := s.ContainerHierarchyTexts
		t := test{State: s.State, Took: s.RunTime, Reason: strings.TrimSpace(s.Failure.Message)}
		if len(groups) > 0 {
			t.Group = strings.TrimPrefix(groups[0], "[k8s.io] ")
			groups = groups[1:]
		}
		t.Name = strings.Join(append(slices.Clone(groups), s.LeafNodeText), " ")
		r.tests = append(r.tests, t)
	}
	slices.SortFunc(r.tests, func(a, b test) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name)) })
	return r, nil
}

func (r results) count(state string) (n int) {
	for _, t := range r.tests {
		if t.State == state {
			n++
		}
	}
	return n
}

func (r results) print(w io.Writer) {
	for _, t := range r.tests {
		if t.State != "passed" {
			fmt.Fprintf(w, "%s: %s: %s\n\t%s\n", strings.ToUpper(t.State), t.Group, t.Name, strings.ReplaceAll(t.Reason, "\n", "\n\t"))
		}
	}
	fmt.Fprintf(w, "%d tests: %d passed, %d failed, %d skipped by the suite\n", len(r.tests), r.count("passed"),
		len(r.tests)-r.count("passed")-r.count("skipped"), r.count("skipped"))
}

// marker ends the part of the document that is written by hand.
const marker = "<!-- written by test/critest from here on -->\n"

// write puts the result into a document, below what is written by hand.
func (r results) write(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, _, found := strings.Cut(string(data), marker)
	if !found {
		return fmt.Errorf("%s has no line %q", path, strings.TrimSpace(marker))
	}
	return os.WriteFile(path, []byte(head+marker+r.markdown()), 0o644)
}

// markdown is a line a group, then all that did not pass.
func (r results) markdown() string {
	groups := map[string]map[string]int{}
	for _, t := range r.tests {
		if groups[t.Group] == nil {
			groups[t.Group] = map[string]int{}
		}
		groups[t.Group][t.State]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n| group | passed | failed | skipped |\n|---|---|---|---|\n")
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		n := groups[g]
		total := 0
		for _, count := range n {
			total += count
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", g, n["passed"], total-n["passed"]-n["skipped"], n["skipped"])
	}
	fmt.Fprintf(&b, "| **all** | **%d** | **%d** | **%d** |\n", r.count("passed"), len(r.tests)-r.count("passed")-r.count("skipped"), r.count("skipped"))
	for _, t := range r.tests {
		if t.State != "passed" {
			first, _, _ := strings.Cut(t.Reason, "\n")
			fmt.Fprintf(&b, "\n- %s: %s: %s — %s", t.State, t.Group, t.Name, first)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(notHere)) {
		fmt.Fprintf(&b, "\n- not run: %s — %s", name, notHere[name])
	}
	return b.String() + "\n"
}
