package deployment

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
)

// step is what is to be done now, in this order.
type step struct {
	template *appsv1.Deployment // rolled back: write it, and nothing else
	create   *appsv1.ReplicaSet
	change   []change
	remove   []*appsv1.ReplicaSet
	status   appsv1.DeploymentStatus
	revision string // of the Deployment
	events   []event
	recheck  time.Duration
}

// change of a set: the object to write and the size that it had.
type change struct {
	set  *appsv1.ReplicaSet
	from int32
}

type event struct{ kind, reason, message string }

// work is a plan in the making: copies of the sets, which are changed freely.
type work struct {
	d       *appsv1.Deployment
	current *appsv1.ReplicaSet // of the Deployment's template, or nil
	old     []*appsv1.ReplicaSet
	oldPods bool // pods of old sets that have not ended
	now     time.Time
	step    step
}

// plan takes a Deployment and the sets that are its own. oldPods says, given the
// set of the present template, whether pods of others are still there.
func plan(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, oldPods func(current *appsv1.ReplicaSet) bool, now time.Time) step {
	w := &work{d: d.DeepCopy(), now: now}
	copies := make([]*appsv1.ReplicaSet, len(sets))
	originals := map[string]*appsv1.ReplicaSet{}
	for i, rs := range sets {
		copies[i], originals[rs.Name] = rs.DeepCopy(), rs
	}
	w.current, w.old = split(w.d, copies)
	if d.DeletionTimestamp != nil {
		w.step.status = counts(w.d, w.current, w.all(), now)
		return w.step
	}
	w.oldPods = oldPods(w.current)
	w.notePause()
	w.decide()
	if w.step.template == nil {
		w.collect(originals)
	}
	return w.step
}

func (w *work) all() []*appsv1.ReplicaSet {
	all := slices.Clone(w.old)
	if w.current != nil {
		all = append(all, w.current)
	}
	return all
}

func (w *work) decide() {
	if target, ok := rollbackTo(w.d); ok && !w.d.Spec.Paused {
		w.rollback(target)
		return
	}
	w.syncCurrent()
	switch {
	case w.d.Spec.Paused:
		w.scale()
		w.step.remove = surplus(w.d, w.old)
		w.step.status = counts(w.d, w.current, w.all(), w.now)
	case w.sizeChanged():
		w.scale()
		w.step.status = counts(w.d, w.current, w.all(), w.now)
	default:
		moved := w.recreate
		if w.d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
			moved = w.roll
		}
		if !moved() && isComplete(w.d, &w.d.Status) {
			w.step.remove = surplus(w.d, w.old)
		}
		w.step.status, w.step.recheck = rolloutStatus(w.d, w.current, w.all(), w.now)
	}
}

// notePause keeps a pause from counting as lack of progress.
func (w *work) notePause() {
	c := conditionOf(w.d.Status.Conditions, appsv1.DeploymentProgressing)
	switch {
	case !hasDeadline(w.d) || c != nil && c.Reason == timedOut:
	case w.d.Spec.Paused && (c == nil || c.Reason != paused):
		setCondition(&w.d.Status, appsv1.DeploymentProgressing, v1.ConditionUnknown, paused, "Deployment is paused", w.now)
	case !w.d.Spec.Paused && c != nil && c.Reason == paused:
		setCondition(&w.d.Status, appsv1.DeploymentProgressing, v1.ConditionUnknown, resumed, "Deployment is resumed", w.now)
	}
}

// syncCurrent hands annotations and the next revision down to the current set.
func (w *work) syncCurrent() {
	if w.current == nil {
		return
	}
	highest, _ := latest(w.old)
	handDown(w.d, w.current, highest+1)
	w.current.Spec.MinReadySeconds = w.d.Spec.MinReadySeconds
	if hasDeadline(w.d) && conditionOf(w.d.Status.Conditions, appsv1.DeploymentProgressing) == nil {
		setCondition(&w.d.Status, appsv1.DeploymentProgressing, v1.ConditionTrue, found, fmt.Sprintf("Found new replica set %q", w.current.Name), w.now)
	}
}

// create makes the current set if there is none.
func (w *work) create() {
	if w.current != nil {
		return
	}
	highest, _ := latest(w.old)
	w.current = newSet(w.d)
	w.step.create = w.current
	handDown(w.d, w.current, highest+1)
	resize(w.d, w.current, grown(w.d, w.all(), w.current))
	if hasDeadline(w.d) {
		setCondition(&w.d.Status, appsv1.DeploymentProgressing, v1.ConditionTrue, created, fmt.Sprintf("Created new replica set %q", w.current.Name), w.now)
	}
}

// sizeChanged says that somebody scaled the Deployment since its sets were sized.
func (w *work) sizeChanged() bool {
	return slices.ContainsFunc(active(w.all()), func(rs *appsv1.ReplicaSet) bool {
		n, ok := number(rs, desiredReplicas)
		return ok && n != wanted(w.d)
	})
}

// scale brings the sets to the Deployment's size without moving the rollout on.
func (w *work) scale() {
	busy := active(w.all())
	switch {
	case len(busy) == 0 && w.current != nil:
		w.resizeIfOther(w.current, wanted(w.d))
	case len(busy) == 0 && len(w.old) > 0:
		w.resizeIfOther(w.old[len(w.old)-1], wanted(w.d))
	case len(busy) == 1:
		w.resizeIfOther(busy[0], wanted(w.d))
	case w.saturated():
		for _, rs := range active(w.old) {
			resize(w.d, rs, 0)
		}
	case w.d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType:
		proportions(w.d, busy)
	}
}

// saturated says that the current set alone is all that is wanted.
func (w *work) saturated() bool {
	if w.current == nil {
		return false
	}
	desired, ok := number(w.current, desiredReplicas)
	n := wanted(w.d)
	return ok && desired == n && size(w.current) == n && w.current.Status.AvailableReplicas == n
}

func (w *work) resizeIfOther(rs *appsv1.ReplicaSet, to int32) bool {
	if size(rs) == to {
		return false
	}
	resize(w.d, rs, to)
	return true
}

// roll takes one step of a rolling update: up if there is room, else down.
func (w *work) roll() bool {
	w.create()
	if w.step.create != nil {
		return w.shrinkOld()
	}
	to := min(wanted(w.d), size(w.current))
	if size(w.current) < wanted(w.d) {
		to = grown(w.d, w.all(), w.current)
	}
	return w.resizeIfOther(w.current, to) || w.shrinkOld()
}

// shrinkOld takes away what old sets may lose: first pods that don't serve
// anyway, then as many as are available beyond the minimum.
func (w *work) shrinkOld() bool {
	old := active(w.old)
	byAge(old)
	minimum := wanted(w.d) - boundsOf(w.d).unavailable
	room := total(w.all(), size) - minimum - (size(w.current) - w.current.Status.AvailableReplicas)
	if len(old) == 0 || room <= 0 {
		return false
	}
	moved := false
	for _, rs := range old {
		useless := min(room, max(0, size(rs)-rs.Status.AvailableReplicas))
		if useless > 0 {
			resize(w.d, rs, size(rs)-useless)
			room -= useless
			moved = true
		}
	}
	spare := total(w.all(), serving) - minimum
	for _, rs := range old {
		if n := min(size(rs), spare); n > 0 {
			resize(w.d, rs, size(rs)-n)
			spare -= n
			moved = true
		}
	}
	return moved
}

// recreate ends all old pods before it starts new ones.
func (w *work) recreate() bool {
	moved := false
	for _, rs := range active(w.old) {
		moved = w.resizeIfOther(rs, 0) || moved
	}
	if moved || total(w.old, existing) > 0 || w.oldPods {
		return true
	}
	w.create()
	return w.resizeIfOther(w.current, wanted(w.d)) || w.step.create != nil
}

// rollbackTo reads the annotation by which old clients ask for a rollback.
func rollbackTo(d *appsv1.Deployment) (int64, bool) {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedRollbackTo], 10, 64)
	return n, err == nil
}

func (w *work) rollback(to int64) {
	w.step.template = w.d
	delete(w.d.Annotations, appsv1.DeprecatedRollbackTo)
	if to == 0 {
		if _, to = latest(w.all()); to == 0 {
			w.event(v1.EventTypeWarning, "DeploymentRollbackRevisionNotFound", "Unable to find last revision.")
			return
		}
	}
	i := slices.IndexFunc(w.all(), func(rs *appsv1.ReplicaSet) bool { return revisionOf(rs) == to })
	if i < 0 {
		w.event(v1.EventTypeWarning, "DeploymentRollbackRevisionNotFound", "Unable to find the revision to rollback to.")
		return
	}
	rs := w.all()[i]
	if sameTemplate(&rs.Spec.Template, &w.d.Spec.Template) {
		w.event(v1.EventTypeWarning, "DeploymentRollbackTemplateUnchanged", fmt.Sprintf("The rollback revision contains the same template as current deployment %q", w.d.Name))
		return
	}
	w.d.Spec.Template = *rs.Spec.Template.DeepCopy()
	delete(w.d.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	maps.DeleteFunc(w.d.Annotations, func(k, _ string) bool { return !kept[k] })
	for k, v := range rs.Annotations {
		if !kept[k] {
			w.d.Annotations[k] = v
		}
	}
	w.event(v1.EventTypeNormal, "DeploymentRollback", fmt.Sprintf("Rolled back deployment %q to revision %d", w.d.Name, to))
}

func (w *work) event(kind, reason, message string) {
	w.step.events = append(w.step.events, event{kind, reason, message})
}

// collect finds what differs from the originals.
func (w *work) collect(originals map[string]*appsv1.ReplicaSet) {
	for _, rs := range w.all() {
		before, exists := originals[rs.Name]
		if !exists || slices.Contains(w.step.remove, rs) {
			continue
		}
		if !equality.Semantic.DeepEqual(before.Spec, rs.Spec) || !equality.Semantic.DeepEqual(before.Annotations, rs.Annotations) {
			w.step.change = append(w.step.change, change{rs, size(before)})
		}
	}
	if w.current != nil {
		w.step.revision = w.current.Annotations[revisionKey]
	}
}
