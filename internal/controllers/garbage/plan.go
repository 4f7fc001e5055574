package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ownerState is what was found out about one owner.
type ownerState int

const (
	there    ownerState = iota // exists and is no reason to go
	absent                     // does not exist
	departed                   // is being deleted and waits for its dependents
)

// owner of an object: the reference and what is behind it.
type owner struct {
	ref   metav1.OwnerReference
	state ownerState
}

// verdict over an object that is alive and has owners.
type verdict struct {
	drop    []types.UID                 // references to take away
	unblock bool                        // references are to hold nobody back any more
	remove  *metav1.DeletionPropagation // delete it in this way
}

// judge says what becomes of an object: while one owner is there, the object
// stays and only loses the references to the others.
func judge(finalizers []string, owners []owner, dependents []object) verdict {
	var lost []types.UID
	isThere, isDeparted := false, false
	for _, o := range owners {
		switch o.state {
		case there:
			isThere = true
		case departed:
			isDeparted = true
			lost = append(lost, o.ref.UID)
		case absent:
			lost = append(lost, o.ref.UID)
		}
	}
	switch {
	case len(owners) == 0 || len(lost) == 0:
		return verdict{}
	case isThere:
		return verdict{drop: lost}
	case isDeparted && len(dependents) > 0:
		// Its owner waits for it, so it has to wait for its own dependents. Where
		// one of those waits too, it may be for this one: then nobody waits.
		circle := slices.ContainsFunc(dependents, func(d object) bool { return d.phase == emptying })
		return verdict{unblock: circle, remove: policy(metav1.DeletePropagationForeground)}
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return verdict{remove: policy(metav1.DeletePropagationOrphan)}
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return verdict{remove: policy(metav1.DeletePropagationForeground)}
	}
	return verdict{remove: policy(metav1.DeletePropagationBackground)}
}

func policy(p metav1.DeletionPropagation) *metav1.DeletionPropagation { return &p }

// empty says for an owner that waits for its dependents, which of those are
// still to be looked at, and whether it may go.
func empty(owner object, dependents []object) (look []types.UID, done bool) {
	done = true
	for _, d := range dependents {
		if !d.blocks(owner.uid) {
			continue
		}
		done = false
		if d.phase != emptying {
			look = append(look, d.uid)
		}
	}
	return look, done
}

// without gives references less those to some owners.
func without(refs []metav1.OwnerReference, owners []types.UID) []metav1.OwnerReference {
	kept := []metav1.OwnerReference{}
	for _, r := range refs {
		if !slices.Contains(owners, r.UID) {
			kept = append(kept, r)
		}
	}
	return kept
}

// unblocking gives references that hold no owner back.
func unblocking(refs []metav1.OwnerReference) []metav1.OwnerReference {
	open := slices.Clone(refs)
	for i := range open {
		open[i].BlockOwnerDeletion = new(bool)
	}
	return open
}
