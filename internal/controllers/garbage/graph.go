package garbage

import (
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// phase of an object's life, as far as garbage collection is concerned.
//
//	alive ──deleted──▶ leaving            (background, or somebody else's finalizers)
//	      ──deleted──▶ orphaning ──────▶ leaving
//	      ──deleted──▶ emptying ───────▶ leaving
type phase int

const (
	alive phase = iota
	leaving
	orphaning // waits until its dependents are free of it
	emptying  // waits until its blocking dependents are gone
)

func phaseOf(o metav1.Object) phase {
	switch {
	case o.GetDeletionTimestamp() == nil:
		return alive
	case slices.Contains(o.GetFinalizers(), metav1.FinalizerOrphanDependents):
		return orphaning
	case slices.Contains(o.GetFinalizers(), metav1.FinalizerDeleteDependents):
		return emptying
	}
	return leaving
}

// identity is where an object is, and which one it is.
type identity struct {
	kind      schema.GroupVersionKind
	namespace string
	name      string
	uid       types.UID
}

// isOwner says that a reference in a namespace means this object. The version
// doesn't matter: it is one object in all versions.
func (id identity) isOwner(ref metav1.OwnerReference, namespace string) bool {
	gk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
	return ref.UID == id.uid && ref.Name == id.name && gk == id.kind.GroupKind() && (id.namespace == "" || id.namespace == namespace)
}

type object struct {
	identity
	owners []metav1.OwnerReference
	phase  phase
}

// blocks says that the object holds back the deletion of that owner.
func (o *object) blocks(owner types.UID) bool { return blocks(o.owners, owner) }

func blocks(refs []metav1.OwnerReference, owner types.UID) bool {
	return slices.ContainsFunc(refs, func(r metav1.OwnerReference) bool {
		return r.UID == owner && r.BlockOwnerDeletion != nil && *r.BlockOwnerDeletion
	})
}

// graph of everything that was seen. Its methods say which objects are to be
// looked at because of a change.
type graph struct {
	mu         sync.Mutex
	objects    map[types.UID]*object
	dependents map[types.UID]map[types.UID]struct{} // by owner, whether it was seen or not
}

func newGraph() *graph {
	return &graph{objects: map[types.UID]*object{}, dependents: map[types.UID]map[types.UID]struct{}{}}
}

// observe notes an object that is new or has changed.
func (g *graph) observe(now object) (look []types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.objects[now.uid]
	g.objects[now.uid] = &now
	g.link(before, &now)
	if before != nil {
		look = append(look, g.unblocked(before, &now)...)
	}
	if now.phase != alive && (before == nil || before.phase != now.phase) {
		look = append(look, now.uid)
		if now.phase == emptying {
			look = append(look, g.dependentsOf(now.uid)...)
		}
	}
	if before == nil {
		look = append(look, g.misled(&now)...)
	}
	if now.phase == alive && g.doubtful(&now) {
		look = append(look, now.uid)
	}
	return look
}

func (g *graph) link(before, now *object) {
	if before != nil {
		for _, ref := range before.owners {
			g.unlink(ref.UID, now.uid)
		}
	}
	for _, ref := range now.owners {
		of := g.dependents[ref.UID]
		if of == nil {
			of = map[types.UID]struct{}{}
			g.dependents[ref.UID] = of
		}
		of[now.uid] = struct{}{}
	}
}

func (g *graph) unlink(owner, dependent types.UID) {
	delete(g.dependents[owner], dependent)
	if len(g.dependents[owner]) == 0 {
		delete(g.dependents, owner)
	}
}

// unblocked are the owners that wait for their dependents and that this one
// does not hold back any more.
func (g *graph) unblocked(before, now *object) (owners []types.UID) {
	for _, ref := range before.owners {
		if owner := g.objects[ref.UID]; owner != nil && owner.phase == emptying && before.blocks(ref.UID) && (now == nil || !now.blocks(ref.UID)) {
			owners = append(owners, ref.UID)
		}
	}
	return owners
}

// misled are dependents that refer to an object, which is seen only now, by a
// wrong name, kind or namespace.
func (g *graph) misled(owner *object) (look []types.UID) {
	for uid := range g.dependents[owner.uid] {
		d := g.objects[uid]
		if slices.ContainsFunc(d.owners, func(r metav1.OwnerReference) bool { return r.UID == owner.uid && !owner.isOwner(r, d.namespace) }) {
			look = append(look, uid)
		}
	}
	return look
}

// doubtful says that an owner of the object is not known to be there to stay.
func (g *graph) doubtful(o *object) bool {
	return slices.ContainsFunc(o.owners, func(r metav1.OwnerReference) bool {
		owner := g.objects[r.UID]
		return owner == nil || owner.phase == emptying || !owner.isOwner(r, o.namespace)
	})
}

func (g *graph) isDoubtful(o object) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doubtful(&o)
}

// gone notes that an object is no more; wasOwner says that others refer to it.
func (g *graph) gone(uid types.UID) (look []types.UID, wasOwner bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.objects[uid]
	if o == nil {
		return nil, false
	}
	delete(g.objects, uid)
	for _, ref := range o.owners {
		g.unlink(ref.UID, uid)
	}
	dependents := g.dependentsOf(uid)
	return append(g.unblocked(o, nil), dependents...), len(dependents) > 0
}

func (g *graph) dependentsOf(uid types.UID) (dependents []types.UID) {
	for d := range g.dependents[uid] {
		dependents = append(dependents, d)
	}
	return dependents
}

// view of one object and those that depend on it.
type view struct {
	object     object
	dependents []object
}

func (g *graph) view(uid types.UID) (view, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.objects[uid]
	if o == nil {
		return view{}, false
	}
	v := view{object: *o}
	for d := range g.dependents[uid] {
		if dependent := g.objects[d]; dependent != nil {
			v.dependents = append(v.dependents, *dependent)
		}
	}
	return v, true
}

// ownerInGraph tells what is known about the owner that a reference means.
func (g *graph) ownerInGraph(ref metav1.OwnerReference, namespace string) (p phase, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.objects[ref.UID]
	if o == nil || !o.isOwner(ref, namespace) {
		return 0, false
	}
	return o.phase, true
}

// ofKind are all objects of a resource's kind.
func (g *graph) ofKind(kind schema.GroupVersionKind) (uids []types.UID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for uid, o := range g.objects {
		if o.kind == kind {
			uids = append(uids, uid)
		}
	}
	return uids
}
