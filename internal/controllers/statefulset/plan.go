package statefulset

import (
	"cmp"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// version is a revision's name and template.
type version struct {
	name     string
	template *v1.PodTemplateSpec
}

// snapshot is all that a decision needs.
type snapshot struct {
	set             *appsv1.StatefulSet
	pods            []*v1.Pod // the set's own
	current, update version
	now             time.Time
	staleClaims     func(p *v1.Pod) bool // claims of an earlier pod of that name, about to go
}

// step is what is to be done now.
type step struct {
	create  []*v1.Pod
	remove  []*v1.Pod
	rename  []*v1.Pod // their identity labels are wrong
	claims  []*v1.Pod // pending pods, whose claims may be missing
	status  appsv1.StatefulSetStatus
	recheck time.Duration
}

// work is a plan in the making.
type work struct {
	snapshot
	replicas  []*v1.Pod       // by ordinal, those to be made included
	exists    map[string]bool // by name
	condemned []*v1.Pod       // beyond the range, highest ordinal first
	step      step
}

func plan(s snapshot) step {
	w := &work{snapshot: s, exists: map[string]bool{}, replicas: make([]*v1.Pod, wanted(s.set))}
	for _, p := range s.pods {
		ordinal, ok := ordinalOf(s.set, p)
		switch {
		case !ok:
		case inRange(s.set, ordinal):
			w.replicas[ordinal-start(s.set)] = p
			w.exists[p.Name] = true
		default:
			w.condemned = append(w.condemned, p)
		}
	}
	for i, p := range w.replicas {
		if p == nil {
			w.replicas[i] = w.versioned(i)
		}
	}
	slices.SortFunc(w.condemned, func(a, b *v1.Pod) int {
		i, _ := ordinalOf(s.set, a)
		k, _ := ordinalOf(s.set, b)
		return cmp.Compare(k, i)
	})
	w.countUp()
	if s.set.DeletionTimestamp == nil {
		w.act()
	}
	w.complete()
	return w.step
}

// versioned makes the pod of an index: of the old template below the partition.
func (w *work) versioned(index int) *v1.Pod {
	v := w.update
	strategy := w.set.Spec.UpdateStrategy
	old := 0
	switch {
	case strategy.RollingUpdate != nil:
		old = w.partition()
	case strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType:
		old = int(w.set.Status.CurrentReplicas)
	}
	if index < old {
		v = w.current
	}
	return newPod(w.set, v.template, v.name, start(w.set)+index)
}

func (w *work) partition() int {
	if r := w.set.Spec.UpdateStrategy.RollingUpdate; r != nil && r.Partition != nil {
		return int(*r.Partition)
	}
	return 0
}

func (w *work) available(p *v1.Pod) bool {
	yes, in := podcontrol.Available(p, w.set.Spec.MinReadySeconds, w.now)
	w.step.recheck = podcontrol.Sooner(w.step.recheck, in)
	return yes
}

func (w *work) unavailable(p *v1.Pod) bool { return !w.available(p) || p.DeletionTimestamp != nil }

func (w *work) parallel() bool {
	return w.set.Spec.PodManagementPolicy == appsv1.ParallelPodManagement
}

func (w *work) countUp() {
	st := appsv1.StatefulSetStatus{
		ObservedGeneration: w.set.Generation, CurrentRevision: w.current.name, UpdateRevision: w.update.name,
		CollisionCount: w.set.Status.CollisionCount, Conditions: w.set.Status.Conditions,
	}
	for _, p := range w.pods {
		st.Replicas++
		if p.Status.Phase == v1.PodRunning && podcontrol.Ready(p) {
			st.ReadyReplicas++
			if w.available(p) {
				st.AvailableReplicas++
			}
		}
		if p.DeletionTimestamp != nil {
			continue
		}
		if revisionOf(p) == w.current.name {
			st.CurrentReplicas++
		}
		if revisionOf(p) == w.update.name {
			st.UpdatedReplicas++
		}
	}
	w.step.status = st
}

// act goes over the pods in order: first those that are to be, then those that
// are too many, then those to be updated. In an ordered set the first that isn't
// as it should be ends the round.
func (w *work) act() {
	for _, p := range w.replicas {
		if ok := w.keep(p); !ok && !w.parallel() {
			return
		}
	}
	unhealthy := w.firstUnavailable()
	for _, p := range w.condemned {
		if ok := w.condemn(p, unhealthy); !ok && !w.parallel() {
			return
		}
	}
	if w.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType || w.set.Spec.UpdateStrategy.Type == "" {
		w.roll()
	}
}

// keep has a pod run; ok says that it does.
func (w *work) keep(p *v1.Pod) (ok bool) {
	switch {
	case !w.exists[p.Name]:
		if !w.staleClaims(p) {
			w.step.create = append(w.step.create, p)
		}
		return false
	case podcontrol.Ended(p): // made again once it is gone
		w.remove(p)
		return false
	case p.Status.Phase == v1.PodPending && p.DeletionTimestamp == nil:
		w.step.claims = append(w.step.claims, p)
	}
	if p.DeletionTimestamp != nil || p.Status.Phase != v1.PodRunning || !w.available(p) {
		return false
	}
	if p.Labels[appsv1.StatefulSetPodNameLabel] != p.Name {
		w.step.rename = append(w.step.rename, p)
	}
	return true
}

func (w *work) remove(p *v1.Pod) {
	if p.DeletionTimestamp == nil {
		w.step.remove = append(w.step.remove, p)
	}
}

// condemn ends a pod beyond the range. In an ordered set all others have to
// serve, but for the first that doesn't: that may be the one to go.
func (w *work) condemn(p, unhealthy *v1.Pod) (ok bool) {
	if p.DeletionTimestamp != nil {
		return false
	}
	if !w.parallel() && p != unhealthy && (p.Status.Phase != v1.PodRunning || !w.available(p)) {
		return false
	}
	w.remove(p)
	return false
}

// firstUnavailable in the order of ordinals.
func (w *work) firstUnavailable() *v1.Pod {
	for _, p := range w.replicas {
		if w.unavailable(p) {
			return p
		}
	}
	for _, p := range slices.Backward(w.condemned) {
		if w.unavailable(p) {
			return p
		}
	}
	return nil
}

func (w *work) old(p *v1.Pod) bool {
	return w.exists[p.Name] && revisionOf(p) != w.update.name && p.DeletionTimestamp == nil && !slices.Contains(w.step.remove, p)
}

// roll ends pods of old templates from the highest ordinal down to the
// partition, as many as may be missing.
func (w *work) roll() {
	most := 1
	if r := w.set.Spec.UpdateStrategy.RollingUpdate; r != nil && r.MaxUnavailable != nil {
		if n, err := intstr.GetScaledValueFromIntOrPercent(r.MaxUnavailable, len(w.replicas), false); err == nil {
			most = max(n, 1)
		}
	}
	missing := 0
	for _, p := range w.replicas {
		if w.unavailable(p) {
			missing++
		}
	}
	from := min(w.partition(), len(w.replicas))
	if w.parallel() { // what doesn't serve costs nothing
		for _, p := range slices.Backward(w.replicas[from:]) {
			if w.old(p) && !w.available(p) {
				w.update1(p)
			}
		}
	}
	for _, p := range slices.Backward(w.replicas[from:]) {
		if missing < most && w.old(p) {
			w.update1(p)
			missing++
		}
	}
}

func (w *work) update1(p *v1.Pod) {
	w.remove(p)
	if revisionOf(p) == w.current.name {
		w.step.status.CurrentReplicas--
	}
}

// complete makes the new revision the current one when all pods are of it.
func (w *work) complete() {
	st, n := &w.step.status, int32(wanted(w.set))
	if st.UpdatedReplicas == n && st.ReadyReplicas == n && st.Replicas == n {
		st.CurrentReplicas, st.CurrentRevision = st.UpdatedReplicas, st.UpdateRevision
	}
}
