// Package doctor finds out whether this machine can run a node. Every check
// tries the very thing that the node will do, rather than reading versions.
package doctor

import (
	"fmt"
	"io"
)

// Check is one thing that a node needs of its machine.
type Check struct {
	Name   string
	Remedy string // what the user can do when it fails
	Try    func() error
	// Gate: what comes after it can't be tried when it fails, and would only
	// complain of the same thing in other words.
	Gate bool
}

// Problem is a check that failed.
type Problem struct {
	Check Check
	Err   error
}

// String is one line: what is wrong and what to do.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %v. %s", p.Check.Name, p.Err, p.Check.Remedy)
}

// Run tries all checks and returns the problems, in order.
func Run(checks []Check) []Problem {
	var problems []Problem
	for _, c := range checks {
		if err := c.Try(); err != nil {
			problems = append(problems, Problem{c, err})
			if c.Gate {
				break
			}
		}
	}
	return problems
}

// Print tries all checks, writes a line for each, and tells how many failed.
func Print(w io.Writer, checks []Check) (failed int) {
	for _, c := range checks {
		if err := c.Try(); err != nil {
			failed++
			fmt.Fprintf(w, "FAIL  %s\n", Problem{c, err})
			if c.Gate {
				fmt.Fprintln(w, "      (the rest can be checked once that is mended)")
				break
			}
			continue
		}
		fmt.Fprintf(w, "ok    %s\n", c.Name)
	}
	return failed
}
