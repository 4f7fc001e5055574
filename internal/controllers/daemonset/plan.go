package daemonset

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// burst is how many pods are made or deleted in one go.
const burst = 250

// snapshot is all that a decision needs.
type snapshot struct {
	ds    *appsv1.DaemonSet
	nodes []*v1.Node
	pods  []*v1.Pod // the set's own
	hash  string    // of the present template
	now   time.Time
	held  func(node string) time.Duration // until a failed pod there may be replaced
}

// step is what is to be done now.
type step struct {
	remove  []*v1.Pod
	create  []string // names of nodes
	failed  []string // nodes of which a failed pod is removed
	events  []event
	status  appsv1.DaemonSetStatus
	recheck time.Duration
}

type event struct{ kind, reason, message string }

// work is a plan in the making.
type work struct {
	snapshot
	fits map[string]fit // by node
	on   map[string][]*v1.Pod
	step step
}

func plan(s snapshot) step {
	w := &work{snapshot: s, fits: map[string]fit{}, on: map[string][]*v1.Pod{}}
	f := newFitter(s.ds)
	for _, n := range s.nodes {
		w.fits[n.Name] = f.on(n)
	}
	for _, p := range s.pods {
		if podcontrol.Ended(p) && p.DeletionTimestamp != nil {
			continue // nothing left to do about it
		}
		if node := nodeOf(p); node != "" {
			w.on[node] = append(w.on[node], p)
		}
	}
	for _, pods := range w.on {
		slices.SortFunc(pods, oldestFirst)
	}
	w.countUp()
	w.manage()
	if len(w.step.remove) == 0 && len(w.step.create) == 0 && s.ds.Spec.UpdateStrategy.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		w.roll()
	}
	w.step.create = w.step.create[:min(len(w.step.create), burst)]
	w.step.remove = w.step.remove[:min(len(w.step.remove), burst)]
	return w.step
}

// oldestFirst, those that have no node yet at the end.
func oldestFirst(a, b *v1.Pod) int {
	unplaced := func(p *v1.Pod) int {
		if p.Spec.NodeName == "" {
			return 1
		}
		return 0
	}
	return cmp.Or(unplaced(a)-unplaced(b), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

func (w *work) nodeNames() []string { return slices.Sorted(maps.Keys(w.fits)) }

func (w *work) available(p *v1.Pod) bool {
	yes, in := podcontrol.Available(p, w.ds.Spec.MinReadySeconds, w.now)
	w.step.recheck = podcontrol.Sooner(w.step.recheck, in)
	return yes
}

func (w *work) current(p *v1.Pod) bool {
	generation := w.ds.Annotations[appsv1.DeprecatedTemplateGeneration]
	return w.hash != "" && p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == w.hash ||
		generation != "" && p.Labels[generationLabel] == generation
}

// countUp fills the status.
func (w *work) countUp() {
	st := appsv1.DaemonSetStatus{ObservedGeneration: w.ds.Generation, CollisionCount: w.ds.Status.CollisionCount, Conditions: w.ds.Status.Conditions}
	for name, f := range w.fits {
		pods := w.on[name]
		switch {
		case !f.run && len(pods) > 0:
			st.NumberMisscheduled++
		case f.run && len(pods) == 0:
			st.DesiredNumberScheduled++
		case f.run:
			st.DesiredNumberScheduled++
			st.CurrentNumberScheduled++
			if podcontrol.Ready(pods[0]) {
				st.NumberReady++
			}
			if w.available(pods[0]) {
				st.NumberAvailable++
			}
			if w.current(pods[0]) {
				st.UpdatedNumberScheduled++
			}
		}
	}
	st.NumberUnavailable = st.DesiredNumberScheduled - st.NumberAvailable
	w.step.status = st
}

// manage has one good pod on every node that is to have one, and none elsewhere.
func (w *work) manage() {
	for _, name := range w.nodeNames() {
		f, pods := w.fits[name], w.on[name]
		switch {
		case f.run && len(pods) == 0:
			w.step.create = append(w.step.create, name)
		case f.stay:
			w.prune(name, w.living(name, pods))
		default:
			w.remove(pods...)
		}
	}
	for node, pods := range w.on {
		if _, exists := w.fits[node]; exists {
			continue
		}
		for _, p := range pods {
			if p.Spec.NodeName == "" { // nobody else would ever remove it
				w.remove(p)
			}
		}
	}
}

func (w *work) remove(pods ...*v1.Pod) {
	for _, p := range pods {
		if p.DeletionTimestamp == nil {
			w.step.remove = append(w.step.remove, p)
		}
	}
}

// living pods of a node; those that have ended are removed, failed ones not too often.
func (w *work) living(node string, pods []*v1.Pod) (living []*v1.Pod) {
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
		case p.Status.Phase == v1.PodFailed:
			if wait := w.held(node); wait > 0 {
				w.step.recheck = podcontrol.Sooner(w.step.recheck, wait)
				continue
			}
			w.step.failed = append(w.step.failed, node)
			w.event(v1.EventTypeWarning, "FailedDaemonPod", "Found failed daemon pod %s/%s on node %s, will try to kill it", p.Namespace, p.Name, node)
			w.remove(p)
		case p.Status.Phase == v1.PodSucceeded:
			w.event(v1.EventTypeNormal, "SucceededDaemonPod", "Found succeeded daemon pod %s/%s on node %s, will try to delete it", p.Namespace, p.Name, node)
			w.remove(p)
		default:
			living = append(living, p)
		}
	}
	return living
}

func (w *work) event(kind, reason, format string, args ...any) {
	w.step.events = append(w.step.events, event{kind, reason, fmt.Sprintf(format, args...)})
}

// prune leaves the oldest pod of a node, or, where updates surge, the oldest of
// the old and of the new template, until the new one serves.
func (w *work) prune(node string, living []*v1.Pod) {
	if w.surge(1) == 0 {
		if len(living) > 1 {
			w.remove(living[1:]...)
		}
		return
	}
	switch len(living) {
	case 0:
		if w.fits[node].run {
			w.step.create = append(w.step.create, node)
		}
		return
	case 1:
		return
	}
	var oldest, newest *v1.Pod
	for _, p := range living {
		isNew := p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == w.hash
		switch {
		case isNew && newest == nil:
			newest = p
		case !isNew && oldest == nil:
			oldest = p
		default:
			w.remove(p)
		}
	}
	if oldest != nil && newest != nil && (!podcontrol.Ready(oldest) || w.available(newest)) {
		w.remove(oldest)
	}
}

func (w *work) surge(nodes int) int {
	r := w.ds.Spec.UpdateStrategy.RollingUpdate
	if w.ds.Spec.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType || r == nil {
		return 0
	}
	return scaled(r.MaxSurge, nodes)
}

func scaled(v *intstr.IntOrString, of int) int {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, of, true)
	if err != nil {
		return 0 // the API lets none in
	}
	return n
}

// bounds of an update.
func (w *work) bounds() (surge, unavailable, wanted int) {
	wanted = int(w.step.status.DesiredNumberScheduled)
	surge = w.surge(wanted)
	if r := w.ds.Spec.UpdateStrategy.RollingUpdate; r != nil {
		unavailable = scaled(r.MaxUnavailable, wanted)
	}
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable, wanted
}
