// Package suite is the official test program as seen from outside: which tests it
// holds, and the run of one of them in a process of its own.
package suite

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Spec is one test.
type Spec struct {
	Name        string   `json:"name"`
	Labels      []string `json:"labels"`
	Conformance bool     `json:"conformance"`
}

// Group is the special interest group that owns the test, like sig-node.
func (s Spec) Group() string {
	for _, l := range s.Labels {
		if strings.HasPrefix(l, "sig-") {
			return l
		}
	}
	return "other"
}

// Alone says that the test wants the cluster for itself.
func (s Spec) Alone() bool {
	return slices.Contains(s.Labels, "Serial") || slices.Contains(s.Labels, "Disruptive")
}

// Selection of tests. Empty patterns select all conformance tests.
type Selection struct {
	Focus string `json:"focus,omitempty"` // regular expression on names
	Skip  string `json:"skip,omitempty"`
	Any   bool   `json:"any,omitempty"` // also tests that are not conformance tests
}

// Select the tests to run.
func Select(specs []Spec, by Selection) ([]Spec, error) {
	focus, err := regexp.Compile(by.Focus)
	if err != nil {
		return nil, fmt.Errorf("focus: %w", err)
	}
	skip, err := regexp.Compile(by.Skip)
	if err != nil {
		return nil, fmt.Errorf("skip: %w", err)
	}
	var out []Spec
	for _, s := range specs {
		switch {
		case !s.Conformance && !by.Any:
		case !focus.MatchString(s.Name):
		case by.Skip != "" && skip.MatchString(s.Name):
		default:
			out = append(out, s)
		}
	}
	return out, nil
}

// Order the tests so that several at a time end soonest: those that took longest
// the last time first. took is zero for a test that never ran.
func Order(specs []Spec, took func(name string) time.Duration) (together, alone []Spec) {
	sorted := slices.Clone(specs)
	slices.SortStableFunc(sorted, func(a, b Spec) int {
		return cmp.Or(cmp.Compare(took(b.Name), took(a.Name)), cmp.Compare(a.Name, b.Name))
	})
	for _, s := range sorted {
		if s.Alone() {
			alone = append(alone, s)
		} else {
			together = append(together, s)
		}
	}
	return together, alone
}
