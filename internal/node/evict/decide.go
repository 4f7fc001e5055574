package evict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// hardGrace is what a pod gets to end when there is no time: the least that still lets it flush.
const hardGrace = time.Second

// Input is all that a decision is made of.
type Input struct {
	Now        time.Time
	Memory     Memory
	Thresholds []Threshold
	Signals    map[Signal]Observation
	// Pods are the running ones; Measured tells that their use is known, without which none is evicted.
	Pods     []Pod
	Measured bool
	// Transition is how long a condition lingers after its signal is well.
	Transition time.Duration
	// MaxSoftGrace bounds what pods get to end at a soft threshold.
	MaxSoftGrace time.Duration
	// Reclaimed tells that what the node itself could give up was given up just now.
	Reclaimed bool
}

// Output is what follows.
type Output struct {
	Memory     Memory
	Conditions map[v1.NodeConditionType]bool
	// Measure asks for the pods' use, Reclaim for what the node itself can give up (images, dead containers), after which the
	// decision is to be made again.
	Measure, Reclaim bool
	Evict            []Eviction
	// Short is the resource that the node is short of; empty is none.
	Short v1.ResourceName
}

// Eviction ends a pod. Its status gets phase Failed, reason "Evicted" and the message.
type Eviction struct {
	UID     types.UID
	Grace   time.Duration
	Message string
}

// urgency is the order of signals: memory kills at once, disks fill slowly.
var urgency = map[Signal]int{
	MemoryAvailable: 0, PIDAvailable: 1, NodeFSAvailable: 2, NodeFSInodesFree: 3, ImageFSAvailable: 4, ImageFSInodesFree: 5,
}

// Decide makes one turn's decision.
func Decide(in Input) Output {
	due, conditions, memory := judge(&in)
	out := Output{Memory: memory, Conditions: conditions}
	if in.Measured {
		if out.Evict = evictOverLimit(in.Pods); len(out.Evict) > 0 {
			return out
		}
	}
	if len(due) == 0 {
		return out
	}
	first := slices.MinFunc(due, func(a, b int) int {
		x, y := &in.Thresholds[a], &in.Thresholds[b]
		return cmp.Or(cmp.Compare(urgency[x.Signal], urgency[y.Signal]), cmp.Compare(x.Grace, y.Grace))
	})
	t := &in.Thresholds[first]
	out.Short = signalResource[t.Signal]
	switch {
	case onDisk(t.Signal) && !in.Reclaimed:
		out.Reclaim = true
	case !in.Measured:
		out.Measure = true
	default:
		out.Evict = evictFor(&in, t)
	}
	return out
}

func onDisk(s Signal) bool { return signalCondition[s] == v1.NodeDiskPressure }

func evictOverLimit(pods []Pod) []Eviction {
	var out []Eviction
	for i := range pods {
		if why := overLimit(&pods[i]); why != "" && !critical(pods[i].Pod) {
			out = append(out, Eviction{UID: pods[i].UID, Grace: hardGrace, Message: why})
		}
	}
	return out
}

// evictFor picks the one pod that goes.
func evictFor(in *Input, t *Threshold) []Eviction {
	for _, p := range rank(in.Pods, t.Signal) {
		if critical(p.Pod) {
			continue
		}
		grace := hardGrace
		if t.Grace > 0 {
			grace = in.MaxSoftGrace
			if p.Spec.TerminationGracePeriodSeconds != nil {
				grace = min(grace, time.Duration(*p.Spec.TerminationGracePeriodSeconds)*time.Second)
			}
		}
		return []Eviction{{UID: p.UID, Grace: grace, Message: message(&p, t, in.Signals[t.Signal])}}
	}
	return nil
}

// message says why in upstream's words, which users search for.
func message(p *Pod, t *Threshold, o Observation) string {
	name := signalResource[t.Signal]
	var b strings.Builder
	fmt.Fprintf(&b, "The node was low on resource: %s. ", name)
	fmt.Fprintf(&b, "Threshold quantity: %s, available: %s. ", quantity(name, t.Of(o.Capacity)), quantity(name, o.Available))
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		used, known := containerUse(p.Usage.Containers[c.Name], name)
		requested := c.Resources.Requests[name]
		if known && used > requested.Value() {
			fmt.Fprintf(&b, "Container %s was using %s, request is %s, has larger consumption of %s. ", c.Name, quantity(name, used), requested.String(), name)
		}
	}
	return b.String()
}

func containerUse(u ContainerUsage, name v1.ResourceName) (int64, bool) {
	switch name {
	case v1.ResourceMemory:
		return u.Memory, true
	case v1.ResourceEphemeralStorage:
		return u.Disk, true
	}
	return 0, false
}

// quantity shows bytes as people read them (whole KiB), and pieces as they are.
func quantity(name v1.ResourceName, n int64) string {
	if name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage {
		return resource.NewQuantity(n/1024*1024, resource.BinarySI).String()
	}
	return resource.NewQuantity(n, resource.DecimalSI).String()
}
