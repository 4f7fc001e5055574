package loop

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/node/podlife"
)

// remirror is how often a mirror that could not be made is tried again.
const remirror = 10 * time.Second

// mirrorPause is how long a mirror that somebody deleted stays away, for all to see
// that it went: kubectl takes one that comes at once for the old one, and waits on.
const mirrorPause = time.Second

// SetStatic gives all pods of a source of static pods; those of its earlier ones
// that are not among them are gone.
func (l *Loop) SetStatic(before, now []*v1.Pod) {
	l.mu.Lock()
	for _, p := range before {
		delete(l.static, p.UID)
	}
	for _, p := range now {
		l.static[p.UID] = true
	}
	l.mu.Unlock()
	for _, p := range now {
		l.Set(p)
		l.wg.Go(func() { l.mirror(p, l.isAnew(p.UID)) })
	}
	for _, p := range before {
		if !l.hasManifest(p.UID) {
			l.Gone(p)
		}
	}
}

func (l *Loop) hasManifest(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.static[uid]
}

// SetMirror gives a mirror pod's object. One that somebody is deleting waits for
// the node, as every pod does, and goes at once.
func (l *Loop) SetMirror(mirror *v1.Pod) {
	uid := types.UID(mirror.Annotations[podlife.AnnotationMirror])
	l.mail(uid, nil, func(m *mail) { m.mirror, m.noMirror = mirror, false })
	if mirror.DeletionTimestamp != nil {
		l.dropMirror(uid, mirror.Namespace, mirror.Name, func() bool { return true })
	}
}

// MirrorGone: somebody deleted a mirror pod; it comes back while its pod lives.
func (l *Loop) MirrorGone(mirror *v1.Pod) {
	uid := types.UID(mirror.Annotations[podlife.AnnotationMirror])
	l.mail(uid, nil, func(m *mail) { m.mirror, m.noMirror = nil, true })
	l.mu.Lock()
	w := l.workers[uid]
	l.mu.Unlock()
	if w == nil {
		return
	}
	p := w.shown.Load()
	if p == nil {
		return
	}
	l.wg.Go(func() {
		select {
		case <-l.ctx.Done():
		case <-l.cfg.Clock.After(mirrorPause):
			l.mirror(p, false)
		}
	})
}

// isAnew tells, once, whether the pod had ended in an earlier life of the agent
// and runs again.
func (l *Loop) isAnew(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.anew[uid]
	delete(l.anew, uid)
	return was
}

// mirror makes the mirror of a static pod, however long that takes, while there is a
// manifest of it. A pod that is anew needs another one than it had: a terminal phase
// can't be taken back.
func (l *Loop) mirror(static *v1.Pod, anew bool) {
	if l.cfg.Mirrors == nil {
		return
	}
	for l.ctx.Err() == nil && l.hasManifest(static.UID) {
		var m *v1.Pod
		var err error
		if anew {
			err = l.cfg.Mirrors.Remove(l.ctx, static.UID, static.Namespace, static.Name)
		}
		if err == nil {
			anew = false
			m, err = l.cfg.Mirrors.Ensure(l.ctx, static)
		}
		if err == nil && m != nil {
			if known := l.mail(static.UID, nil, func(box *mail) { box.mirror, box.noMirror = m, false }); !known {
				l.removeMirror(static) // the pod ended while its mirror was made
			}
			return
		}
		if err != nil {
			l.cfg.Log.Warn("mirror pod not made, will be tried again", "pod", static.UID, "err", err)
		}
		select {
		case <-l.ctx.Done():
		case <-l.cfg.Clock.After(remirror):
		}
	}
}

// removeMirror deletes the mirror of a static pod that has ended.
func (l *Loop) removeMirror(pod *v1.Pod) {
	if podlife.IsStatic(pod) {
		l.dropMirror(pod.UID, pod.Namespace, pod.Name, func() bool { return !l.Known(pod.UID) })
	}
}

// dropMirror deletes a mirror, however long that takes, while it is to go.
func (l *Loop) dropMirror(uid types.UID, namespace, name string, wanted func() bool) {
	if l.cfg.Mirrors == nil {
		return
	}
	l.wg.Go(func() {
		for l.ctx.Err() == nil && wanted() {
			err := l.cfg.Mirrors.Remove(l.ctx, uid, namespace, name)
			if err == nil {
				return
			}
			l.cfg.Log.Warn("mirror pod not removed, will be tried again", "pod", uid, "err", err)
			select {
			case <-l.ctx.Done():
			case <-l.cfg.Clock.After(remirror):
			}
		}
	})
}
