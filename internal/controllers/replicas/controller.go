package replicas

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// API is one of the two kinds, as its controller reads and writes it.
type API interface {
	// Get from the cache; a NotFound error if it is gone.
	Get(namespace, name string) (Set, error)
	// Live asks the API server.
	Live(ctx context.Context, namespace, name string) (metav1.Object, error)
	UpdateStatus(ctx context.Context, s Set, status Status) error
	// Siblings are the UIDs of the sets with the same owner, this one included.
	Siblings(s Set) []types.UID
	// Matching are the keys of the sets whose selector matches an orphan.
	Matching(pod *v1.Pod) []string
}

type controller struct {
	api     API
	control *podcontrol.Control
	clock   clock.PassiveClock
	loop    *reconcile.Loop
}

// New makes the controller of one kind; sets and pods are its informers.
func New(name string, api API, control *podcontrol.Control, sets, pods cache.SharedIndexInformer, clock clock.PassiveClock) (*reconcile.Loop, error) {
	c := &controller{api: api, control: control, clock: clock}
	c.loop = reconcile.New(name, 4, c.reconcile)
	err := c.loop.WatchChanges(sets, func(old, current any) []string {
		o := current
		if current == nil {
			o = old
			control.Forget(old.(metav1.Object).GetUID())
		}
		set := o.(metav1.Object)
		return []string{set.GetNamespace() + "/" + set.GetName()}
	})
	if err != nil {
		return nil, err
	}
	return c.loop, c.loop.WatchChanges(pods, podcontrol.Keys(control.Kind.GroupKind(), api.Matching))
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	s, err := c.api.Get(namespace, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := c.control.Of(s.Object, true)
	if err != nil {
		return err
	}
	live := func(ctx context.Context) (metav1.Object, error) { return c.api.Live(ctx, namespace, name) }
	active, err := c.control.Claim(ctx, s.Object, podcontrol.Matching[*v1.Pod](s.Selector), podcontrol.Filter(all, podcontrol.Active), live)
	if err != nil {
		return err
	}
	terminating := podcontrol.Filter(all, func(p *v1.Pod) bool {
		return podcontrol.Terminating(p) && metav1.IsControlledBy(p, s.Object) && podcontrol.Matching[*v1.Pod](s.Selector)(p)
	})
	failure := c.act(ctx, s, active)
	now, recheck := status(s, active, len(terminating), failure, c.clock.Now())
	if recheck > 0 {
		c.loop.After(key, recheck)
	}
	if !equality.Semantic.DeepEqual(now, s.Status) {
		if err := c.api.UpdateStatus(ctx, s, now); err != nil && !apierrors.IsNotFound(err) {
			return errors.Join(failure, fmt.Errorf("status of %s: %w", key, err))
		}
	}
	return failure
}

// act makes or deletes pods.
func (c *controller) act(ctx context.Context, s Set, active []*v1.Pod) error {
	var related []*v1.Pod
	if len(active) > int(s.Replicas) {
		related = c.related(s)
	}
	step := plan(s, active, related, c.clock.Now())
	if step.create > 0 {
		_, err := podcontrol.SlowStart(step.create, func(int) error {
			return c.control.Create(ctx, s.Object, podcontrol.FromTemplate(s.Template, s.Object, c.control.Kind))
		})
		return err
	}
	return podcontrol.AtOnce(step.remove, func(p *v1.Pod) error { return c.control.Delete(ctx, s.Object, p) })
}

func (c *controller) related(s Set) (related []*v1.Pod) {
	for _, uid := range c.api.Siblings(s) {
		pods, err := c.control.Of(&metav1.ObjectMeta{UID: uid, Namespace: s.Object.GetNamespace()}, false)
		if err == nil {
			related = append(related, pods...)
		}
	}
	return related
}
