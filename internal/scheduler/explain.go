package scheduler

import (
	"fmt"
	"sort"
	"strings"
)

// Unfit says why a pod fits on no node, as a count of nodes by reason.
type Unfit struct {
	nodes   int
	reasons map[string]int
	// Of the nodes: how many could be made to fit by ending other pods.
	resolvable int
}

func (u *Unfit) add(reasons []reason) {
	if u.reasons == nil {
		u.reasons = map[string]int{}
	}
	resolvable := true
	for _, r := range reasons {
		u.reasons[r.text]++
		resolvable = resolvable && r.resolvable
	}
	if resolvable {
		u.resolvable++
	}
}

// Error is the message of the pod's condition and event, in the stock wording.
func (u *Unfit) Error() string {
	if u.nodes == 0 {
		return "no nodes available to schedule pods"
	}
	return fmt.Sprintf("%s. preemption: %s.", available(u.nodes, u.reasons), available(u.nodes, u.preemption()))
}

// preemption says of each node whether ending other pods would help.
func (u *Unfit) preemption() map[string]int {
	reasons := map[string]int{}
	if u.resolvable > 0 {
		reasons["No preemption victims found for incoming pod"] = u.resolvable
	}
	if rest := u.nodes - u.resolvable; rest > 0 {
		reasons["Preemption is not helpful for scheduling"] = rest
	}
	return reasons
}

func available(nodes int, reasons map[string]int) string {
	counted := make([]string, 0, len(reasons))
	for text, n := range reasons {
		counted = append(counted, fmt.Sprintf("%d %s", n, text))
	}
	sort.Strings(counted)
	return fmt.Sprintf("0/%d nodes are available: %s", nodes, strings.Join(counted, ", "))
}
