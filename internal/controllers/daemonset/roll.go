package daemonset

import (
	v1 "k8s.io/api/core/v1"
)

// roll takes one step of a rolling update.
func (w *work) roll() {
	surge, unavailable, wanted := w.bounds()
	if surge > 0 {
		w.rollBySurge(surge, wanted)
		return
	}
	w.rollInPlace(unavailable)
}

// pair finds the pods of the new and of an old template on a node; ok is false
// if there are more, which manage takes care of first.
func (w *work) pair(pods []*v1.Pod) (current, old *v1.Pod, ok bool) {
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
		case w.current(p):
			if current != nil {
				return nil, nil, false
			}
			current = p
		default:
			if old != nil {
				return nil, nil, false
			}
			old = p
		}
	}
	return current, old, true
}

// nodesInUse are those that have pods or are to have one.
func (w *work) nodesInUse() (names []string) {
	for _, name := range w.nodeNames() {
		if w.fits[name].run || len(w.on[name]) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// rollInPlace removes old pods; manage makes new ones in their place. Pods that
// don't serve cost nothing, of the others only as many as may be missing.
func (w *work) rollInPlace(most int) {
	missing := 0
	var candidates []*v1.Pod
	for _, name := range w.nodesInUse() {
		current, old, ok := w.pair(w.on[name])
		switch {
		case !ok, (current == nil) == (old == nil):
			missing++
		case current != nil:
			if !w.available(current) {
				missing++
			}
		case !w.available(old):
			w.remove(old)
			missing++
		default:
			candidates = append(candidates, old)
		}
	}
	w.remove(candidates[:min(len(candidates), max(0, most-missing))]...)
}

// rollBySurge makes new pods beside old ones, and removes the old when the new serve.
func (w *work) rollBySurge(most, wanted int) {
	surging, available := 0, 0
	var candidates []string
	var misplaced []*v1.Pod
	for _, name := range w.nodesInUse() {
		current, old, ok := w.pair(w.on[name])
		if !ok {
			surging++
			continue
		}
		if serving := old; serving != nil && w.available(serving) || old == nil && current != nil && w.available(current) {
			available++
		}
		switch {
		case old == nil:
		case current != nil:
			if w.available(current) {
				w.remove(old)
			} else {
				surging++
			}
		case !w.fits[name].run && w.available(old):
			misplaced = append(misplaced, old)
		case !w.fits[name].run:
			w.remove(old)
		case !w.available(old):
			w.step.create = append(w.step.create, name)
		default:
			candidates = append(candidates, name)
		}
	}
	w.remove(misplaced[:min(len(misplaced), max(0, available-wanted))]...)
	w.step.create = append(w.step.create, candidates[:min(len(candidates), max(0, most-surging))]...)
}
