package node

import (
	"context"
	"os"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/proa-project/proa/internal/node/journal"
	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
)

// handler gives the loop the API's pods of this node. A mirror pod is no pod of
// its own, but the picture of a static one.
func (a *Agent) handler() cache.ResourceEventHandler {
	return cache.FilteringResourceEventHandler{
		FilterFunc: func(obj any) bool {
			pod := podOf(obj)
			return pod != nil && pod.Spec.NodeName == a.cfg.NodeName
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { a.set(podOf(obj)) },
			UpdateFunc: a.update,
			DeleteFunc: func(obj any) { a.gone(podOf(obj)) },
		},
	}
}

// update: a watch that broke may have missed that the name has a new owner.
func (a *Agent) update(before, now any) {
	old, pod := podOf(before), podOf(now)
	if old.UID != pod.UID {
		a.gone(old)
	}
	a.set(pod)
}

func (a *Agent) set(pod *v1.Pod) {
	if isMirror(pod) {
		a.loop.SetMirror(pod)
		return
	}
	a.loop.Set(pod)
}

func (a *Agent) gone(pod *v1.Pod) {
	if isMirror(pod) {
		a.loop.MirrorGone(pod)
		return
	}
	a.loop.Gone(pod)
}

func isMirror(pod *v1.Pod) bool {
	_, ok := pod.Annotations[podlife.AnnotationMirror]
	return ok
}

func podOf(obj any) *v1.Pod {
	if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = t.Obj
	}
	pod, _ := obj.(*v1.Pod)
	return pod
}

// static feeds the loop with the static pods; told is closed after the first set.
func (a *Agent) static(ctx context.Context, told chan<- struct{}) error {
	var before []*v1.Pod
	first := true
	return a.cfg.Source.Run(ctx, func(pods []*v1.Pod) {
		a.loop.SetStatic(before, pods)
		before = pods
		if first {
			close(told)
			first = false
		}
	})
}

// endLeftovers ends what is left of pods that no source has: they were deleted
// while the agent was down. Only to be called once all sources have told.
func (a *Agent) endLeftovers(ctx context.Context, seen map[types.UID]observe.Snapshot, kept map[types.UID]journal.Entry) {
	left := map[types.UID]*v1.Pod{}
	for _, uid := range a.onDisk() {
		left[uid] = &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}}
	}
	for uid, s := range seen {
		left[uid] = skeleton(s)
	}
	for uid, e := range kept {
		left[uid] = e.Skeleton() // knows most
	}
	for uid, pod := range left {
		if ctx.Err() == nil && !a.loop.Known(uid) {
			a.cfg.Log.Info("ending what is left of a pod that nobody has", "pod", uid, "namespace", pod.Namespace, "name", pod.Name)
			a.loop.Orphan(pod)
		}
	}
}

// endMirrors deletes mirror pods whose static pod is no more.
func (a *Agent) endMirrors(ctx context.Context) {
	if a.cfg.Mirrors == nil {
		return
	}
	for _, pod := range a.lister() {
		uid := types.UID(pod.Annotations[podlife.AnnotationMirror])
		if !isMirror(pod) || a.loop.Known(uid) {
			continue
		}
		if err := a.cfg.Mirrors.Remove(ctx, uid, pod.Namespace, pod.Name); err != nil {
			a.cfg.Log.Warn("mirror pod without a static pod not removed", "namespace", pod.Namespace, "name", pod.Name, "err", err)
		}
	}
}

// onDisk lists pods with volumes, cgroups or a folder.
func (a *Agent) onDisk() []types.UID {
	var out []types.UID
	add := func(what string, uids []types.UID, err error) {
		if err != nil {
			a.cfg.Log.Warn("leftovers not listed", "what", what, "err", err)
		}
		out = append(out, uids...)
	}
	volumes, err := a.cfg.Volumes.Present()
	add("volumes", volumes, err)
	if c, ok := a.cfg.Cgroups.(interface{ Present() ([]types.UID, error) }); ok {
		cgroups, err := c.Present()
		add("cgroups", cgroups, err)
	}
	dirs, err := os.ReadDir(a.cfg.podsDir())
	var uids []types.UID
	for _, d := range dirs {
		uids = append(uids, types.UID(d.Name()))
	}
	add("folders", uids, err)
	return out
}

// skeleton is a pod as far as the runtime knows it.
func skeleton(s observe.Snapshot) *v1.Pod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: s.UID, Namespace: s.Namespace, Name: s.Name}}
	named := map[string]bool{}
	for _, inst := range s.Instances {
		if !named[inst.Name] {
			named[inst.Name] = true
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: inst.Name, Image: inst.Image})
		}
	}
	return pod
}

// changed takes the news that something of a pod changed in the runtime. A pod
// that is not known is ended, if no source has it.
func (a *Agent) changed(ctx context.Context, uid types.UID) {
	if a.loop.Changed(uid) || !a.complete.Load() {
		return
	}
	s, err := a.observer.Pod(ctx, uid)
	if err != nil || len(s.Sandboxes)+len(s.Instances) == 0 || a.loop.Known(uid) {
		return
	}
	for _, pod := range a.lister() {
		if pod.UID == uid {
			return // on its way to the loop
		}
	}
	a.cfg.Log.Info("ending a pod that nobody has", "pod", uid, "namespace", s.Namespace, "name", s.Name)
	a.loop.Orphan(skeleton(s))
}
