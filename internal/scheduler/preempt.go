package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
)

// Preemption is a node and the pods to be ended there so that a pod fits.
type Preemption struct {
	Node    string
	Victims []*v1.Pod // the most important first
	broken  int       // disruption budgets that this breaks
}

// Nomination says what becomes of the node that was cleared for a pod.
type Nomination int

// Nominations.
const (
	Keep  Nomination = iota // it waits as before, if it does
	Clear                   // no node can be cleared for it
	Set                     // the preemption's node
)

// How many of the nodes that could be cleared are tried in earnest.
const (
	leastTried        = 100
	leastTriedPercent = 10
)

// Preempt looks for a node on which ending pods of lower priority makes the pod
// fit, and of several takes the one where that costs least. It tells in
// u.Preemption what it found. offset, any number, is where it begins to look.
func (u *Unfit) Preempt(budgets []*policyv1.PodDisruptionBudget, offset int) (*Preemption, Nomination) {
	q := u.question
	if never := q.pod.Spec.PreemptionPolicy; never != nil && *never == v1.PreemptNever {
		u.Preemption = "not eligible due to preemptionPolicy=Never."
		return nil, Keep
	}
	if u.alreadyClearing() {
		u.Preemption = "not eligible due to a terminating pod on the nominated node."
		return nil, Keep
	}
	candidates, reasons := u.candidates(budgets, offset)
	if len(candidates) == 0 {
		u.Preemption = available(len(q.cluster.present()), reasons)
		return nil, Clear
	}
	p := cheapest(candidates)
	u.Preemption = fmt.Sprintf("found a potential placement for pod on node %s, preempting %d victims", p.Node, len(p.Victims))
	return p, Set
}

// alreadyClearing: pods that were ended for this one are still on their way out.
func (u *Unfit) alreadyClearing() bool {
	n, ok := u.question.cluster.nominated[u.question.pod.UID]
	if !ok || !resolvable(u.refused[n.node]) {
		return false
	}
	for _, p := range n.node.pods {
		if p.priority < u.question.pod.priority && endedByScheduler(p.Pod) {
			return true
		}
	}
	return false
}

func endedByScheduler(pod *v1.Pod) bool {
	return pod.DeletionTimestamp != nil && slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.DisruptionTarget && c.Status == v1.ConditionTrue && c.Reason == v1.PodReasonPreemptionByScheduler
	})
}

// candidates are nodes that can be cleared; reasons count the nodes that can't.
func (u *Unfit) candidates(budgets []*policyv1.PodDisruptionBudget, offset int) (found []*Preemption, reasons map[string]int) {
	nodes, reasons := u.clearable(), map[string]int{}
	if rest := len(u.question.cluster.present()) - len(nodes); rest > 0 {
		reasons["Preemption is not helpful for scheduling"] = rest
	}
	most := min(len(nodes), max(leastTried, len(nodes)*leastTriedPercent/100))
	harmless := false
	for i := range nodes {
		p, refused := u.question.clear(nodes[(i+offset)%len(nodes)], budgets)
		for _, r := range refused {
			reasons[r.Text]++
		}
		if p != nil {
			found, harmless = append(found, p), harmless || p.broken == 0
		}
		if harmless && len(found) >= most {
			break
		}
	}
	return found, reasons
}

// clearable nodes are those that refused for reasons that ending pods can resolve.
func (u *Unfit) clearable() (nodes []*node) {
	for _, n := range u.question.cluster.present() {
		if reasons, refused := u.refused[n]; refused && resolvable(reasons) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

var noVictims = []Reason{{"No preemption victims found for incoming pod", false, OfResources}}

// clear finds the least of a node's pods that must be ended. It takes all off
// that it may and puts back, the most important first, those that can stay;
// those whose disruption budget would break before the others.
func (q *question) clear(n *node, budgets []*policyv1.PodDisruptionBudget) (*Preemption, []Reason) {
	t := q.try(n)
	var lower []*podInfo
	for _, p := range n.pods {
		if p.priority < q.pod.priority {
			lower = append(lower, p)
			t.remove(p)
		}
	}
	if len(lower) == 0 {
		return nil, noVictims
	}
	if reasons := t.refuse(t.node); len(reasons) > 0 {
		return nil, reasons
	}
	slices.SortFunc(lower, moreImportant)
	breaking, harmless := byBudget(lower, budgets)
	var victims []*podInfo
	spare := func(pods []*podInfo) (ended int) {
		for _, p := range pods {
			t.add(p)
			if len(t.refuse(t.node)) > 0 {
				t.remove(p)
				victims, ended = append(victims, p), ended+1
			}
		}
		return ended
	}
	out := &Preemption{Node: n.name, broken: spare(breaking)}
	spare(harmless)
	slices.SortFunc(victims, moreImportant)
	for _, p := range victims {
		out.Victims = append(out.Victims, p.Pod)
	}
	if len(victims) == 0 {
		return nil, noVictims
	}
	return out, nil
}

// moreImportant pods come first: by priority, then those that run longer.
func moreImportant(a, b *podInfo) int {
	if a.priority != b.priority {
		return cmp.Compare(b.priority, a.priority)
	}
	return startOf(a.Pod).Compare(startOf(b.Pod))
}

// startOf a pod; one that has not started counts as the youngest.
func startOf(pod *v1.Pod) time.Time {
	if pod.Status.StartTime != nil {
		return pod.Status.StartTime.Time
	}
	return time.Unix(math.MaxInt32, 0)
}

// byBudget tells the pods whose end would break a disruption budget, when all end.
func byBudget(pods []*podInfo, budgets []*policyv1.PodDisruptionBudget) (breaking, harmless []*podInfo) {
	left := make([]int32, len(budgets))
	for i, b := range budgets {
		left[i] = b.Status.DisruptionsAllowed
	}
	for _, p := range pods {
		breaks := false
		for i, b := range budgets {
			if covers(b, p.Pod) {
				left[i]--
				breaks = breaks || left[i] < 0
			}
		}
		if breaks {
			breaking = append(breaking, p)
		} else {
			harmless = append(harmless, p)
		}
	}
	return breaking, harmless
}

// covers: a budget is about a pod, and has not yet counted its end.
func covers(b *policyv1.PodDisruptionBudget, pod *v1.Pod) bool {
	if b.Namespace != pod.Namespace || len(pod.Labels) == 0 {
		return false
	}
	if _, counted := b.Status.DisruptedPods[pod.Name]; counted {
		return false
	}
	selector := selectorOf(b.Spec.Selector)
	return !selector.Empty() && selector.Matches(labels.Set(pod.Labels))
}

// cheapest: fewest broken budgets, then the least important pods, then the
// fewest, then those that run the shortest.
func cheapest(candidates []*Preemption) *Preemption {
	return slices.MinFunc(candidates, func(a, b *Preemption) int {
		for _, cost := range []func(*Preemption) int64{
			func(p *Preemption) int64 { return int64(p.broken) },
			func(p *Preemption) int64 { return int64(corev1.PodPriority(p.Victims[0])) },
			sumOfPriorities,
			func(p *Preemption) int64 { return int64(len(p.Victims)) },
			func(p *Preemption) int64 { return -oldestOfTop(p).UnixNano() },
		} {
			if c := cmp.Compare(cost(a), cost(b)); c != 0 {
				return c
			}
		}
		return 0
	})
}

// sumOfPriorities, all moved above zero: two pods of negative priority must not
// be cheaper than one.
func sumOfPriorities(p *Preemption) (sum int64) {
	for _, v := range p.Victims {
		sum += int64(corev1.PodPriority(v)) + math.MaxInt32 + 1
	}
	return sum
}

func oldestOfTop(p *Preemption) time.Time {
	oldest := startOf(p.Victims[0])
	for _, v := range p.Victims {
		if s := startOf(v); corev1.PodPriority(v) == corev1.PodPriority(p.Victims[0]) && s.Before(oldest) {
			oldest = s
		}
	}
	return oldest
}
