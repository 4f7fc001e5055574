package scheduler

import (
	"fmt"
	"sort"
	"strings"
)

// Unfit says why a pod fits on no node.
type Unfit struct {
	question *question
	refused  map[*node][]Reason
	concerns Concern // beside those of refused
	// Nowhere, if set, is why no node was even looked at.
	Nowhere string
	// Preemption is what came of the thought of ending other pods.
	Preemption string
}

// Concerns are what would have to change for the pod to fit somewhere.
func (u *Unfit) Concerns() (all Concern) {
	if all = u.concerns; len(u.refused) == 0 && all == 0 {
		return OfAll
	}
	for _, reasons := range u.refused {
		for _, r := range reasons {
			all |= r.Concern
		}
	}
	return all
}

// Error is the message of the pod's condition and event, in the stock wording.
func (u *Unfit) Error() string {
	nodes := len(u.question.cluster.present())
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	var message string
	if u.Nowhere != "" {
		message = fmt.Sprintf("0/%d nodes are available: %s.", nodes, u.Nowhere)
	} else {
		message = available(nodes, u.counts())
	}
	if u.Preemption != "" {
		message += " preemption: " + u.Preemption
	}
	return message
}

func (u *Unfit) counts() map[string]int {
	counts := map[string]int{}
	for _, reasons := range u.refused {
		for _, r := range reasons {
			counts[r.Text]++
		}
	}
	return counts
}

func available(nodes int, reasons map[string]int) string {
	counted := make([]string, 0, len(reasons))
	for text, n := range reasons {
		counted = append(counted, fmt.Sprintf("%d %s", n, text))
	}
	sort.Strings(counted)
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(counted, ", "))
}

func resolvable(reasons []Reason) bool {
	for _, r := range reasons {
		if !r.Resolvable {
			return false
		}
	}
	return true
}
