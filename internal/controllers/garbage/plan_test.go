package garbage

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func TestJudge(t *testing.T) {
	ref := func(uid string, s ownerState) owner { return owner{metav1.OwnerReference{UID: types.UID(uid)}, s} }
	for name, c := range map[string]struct {
		finalizers []string
		owners     []owner
		dependents []object
		want       string
	}{
		"no owners":                       {want: "stay"},
		"owner is there":                  {owners: []owner{ref("a", there)}, want: "stay"},
		"one of two is gone":              {owners: []owner{ref("a", there), ref("b", absent)}, want: "drop [b]"},
		"one of two waits":                {owners: []owner{ref("a", there), ref("b", departed)}, want: "drop [b]"},
		"gone":                            {owners: []owner{ref("a", absent)}, want: "delete Background"},
		"gone, foreground asked":          {finalizers: []string{metav1.FinalizerDeleteDependents}, owners: []owner{ref("a", absent)}, want: "delete Foreground"},
		"gone, orphaning asked":           {finalizers: []string{metav1.FinalizerOrphanDependents}, owners: []owner{ref("a", absent)}, want: "delete Orphan"},
		"waits, no dependents":            {owners: []owner{ref("a", departed)}, want: "delete Background"},
		"waits, has dependents":           {owners: []owner{ref("a", departed)}, dependents: []object{{}}, want: "delete Foreground"},
		"waits for one that waits for it": {owners: []owner{ref("a", departed)}, dependents: []object{{phase: emptying}}, want: "unblock, delete Foreground"},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(c.finalizers, c.owners, c.dependents)
			got := "stay"
			if len(v.drop) > 0 {
				got = fmt.Sprintf("drop %v", v.drop)
			}
			if v.remove != nil {
				got = "delete " + string(*v.remove)
			}
			if v.unblock {
				got = "unblock, " + got
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestEmptyWaitsForBlockingDependentsOnly(t *testing.T) {
	yes := true
	blocking := []metav1.OwnerReference{{UID: "o", BlockOwnerDeletion: &yes}}
	free := []metav1.OwnerReference{{UID: "o"}}
	o := object{identity: identity{uid: "o"}, phase: emptying}
	dependent := func(uid string, refs []metav1.OwnerReference, p phase) object {
		return object{identity: identity{uid: types.UID(uid)}, owners: refs, phase: p}
	}
	look, done := empty(o, []object{dependent("free", free, alive), dependent("a", blocking, alive), dependent("b", blocking, emptying), dependent("c", blocking, leaving)})
	if d := cmp.Diff([]types.UID{"a", "c"}, look); d != "" || done {
		t.Errorf("done %v, %s", done, d)
	}
	if _, done := empty(o, []object{dependent("free", free, alive)}); !done {
		t.Error("waits for a dependent that does not block")
	}
}

var pods = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}

// The graph's two directions agree, and it asks to look at every object with an
// owner that it does not know, at every dependent of one that goes, and at every
// owner whose last blocking dependent goes.
func TestGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGraph()
		names := []string{"a", "b", "c", "d"}
		name := rapid.SampledFrom(names)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			uid := types.UID(name.Draw(t, "object"))
			before := maps.Clone(g.objects)
			if rapid.Bool().Draw(t, "gone") {
				look, wasOwner := g.gone(uid)
				for _, o := range g.objects {
					refers := slices.ContainsFunc(o.owners, func(r metav1.OwnerReference) bool { return r.UID == uid })
					if refers && before[uid] != nil && (!wasOwner || !slices.Contains(look, o.uid)) {
						t.Fatalf("%s lost its owner %s unnoticed", o.uid, uid)
					}
				}
				if o := before[uid]; o != nil {
					for _, r := range o.owners {
						if w := g.objects[r.UID]; w != nil && w.phase == emptying && o.blocks(r.UID) && !slices.Contains(look, r.UID) {
							t.Fatalf("%s does not hear that %s is gone", r.UID, uid)
						}
					}
				}
			} else {
				var refs []metav1.OwnerReference
				for _, n := range rapid.SliceOfNDistinct(name, 0, 2, rapid.ID).Draw(t, "owners") {
					block := rapid.Bool().Draw(t, "blocks")
					refs = append(refs, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: n, UID: types.UID(n), BlockOwnerDeletion: &block})
				}
				o := object{identity: identity{kind: pods, name: string(uid), uid: uid}, owners: refs, phase: phase(rapid.IntRange(0, 3).Draw(t, "phase"))}
				look := g.observe(o)
				if (g.doubtful(&o) && o.phase == alive || o.phase > leaving && before[uid] == nil) && !slices.Contains(look, uid) {
					t.Fatalf("%s is not looked at", uid)
				}
			}
			for _, n := range names {
				want := map[types.UID]struct{}{}
				for _, o := range g.objects {
					if slices.ContainsFunc(o.owners, func(r metav1.OwnerReference) bool { return r.UID == types.UID(n) }) {
						want[o.uid] = struct{}{}
					}
				}
				got := g.dependents[types.UID(n)]
				if got == nil {
					got = map[types.UID]struct{}{}
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("dependents of %s: %s", n, d)
				}
			}
		}
	})
}

func TestAReferenceNamesOneObject(t *testing.T) {
	o := identity{kind: schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, namespace: "ns", name: "d", uid: "1"}
	ref := metav1.OwnerReference{APIVersion: "apps/v1beta1", Kind: "Deployment", Name: "d", UID: "1"}
	if !o.isOwner(ref, "ns") {
		t.Error("another version of the kind is the same object")
	}
	if o.isOwner(ref, "other") {
		t.Error("an owner is in the dependent's namespace")
	}
	if ref.Name = "e"; o.isOwner(ref, "ns") {
		t.Error("the name is another one")
	}
}

func TestKindsLeaveOutWhatCannotBeWatched(t *testing.T) {
	all := metav1.Verbs{"list", "watch", "delete"}
	got := kindsOf([]*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods", Kind: "Pod", Namespaced: true, Verbs: all},
		{Name: "events", Kind: "Event", Namespaced: true, Verbs: all},
		{Name: "componentstatuses", Kind: "ComponentStatus", Verbs: metav1.Verbs{"list"}},
	}}})
	watched := []string{}
	for gk, k := range got {
		if k.watched {
			watched = append(watched, gk.Kind)
		}
	}
	if d := cmp.Diff([]string{"Pod"}, watched); d != "" || len(got) != 3 {
		t.Errorf("%d kinds, %s", len(got), d)
	}
}
