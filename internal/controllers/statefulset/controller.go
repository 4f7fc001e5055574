// Package statefulset keeps pods with names and volumes of their own: made in
// order, ended in reverse, updated from the highest ordinal down; all at once
// where the set says Parallel.
package statefulset

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/controllers/revision"
)

// Kind of the owners.
var Kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// Component that events are from.
const Component = "statefulset-controller"

// hashLabel of a revision; pods carry its name instead.
const hashLabel = "controller.kubernetes.io/hash"

type controller struct {
	client    kubernetes.Interface
	sets      appslisters.StatefulSetLister
	claims    corelisters.PersistentVolumeClaimLister
	control   *podcontrol.Control
	revisions *revision.Store
	recorder  record.EventRecorder
	clock     clock.PassiveClock
	loop      *reconcile.Loop
}

// New watches StatefulSets, their pods and revisions, and claims.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	apps, core := factory.Apps().V1(), factory.Core().V1()
	c := &controller{
		client: client, sets: apps.StatefulSets().Lister(), claims: core.PersistentVolumeClaims().Lister(), recorder: recorder, clock: clock,
		revisions: revision.NewStore(client, apps.ControllerRevisions(), Kind, hashLabel, clock),
	}
	var err error
	if c.control, err = podcontrol.New(client, core.Pods().Informer(), recorder, Kind, clock); err != nil {
		return nil, err
	}
	c.loop = reconcile.New("statefulset", 2, c.reconcile)
	return c.loop, errors.Join(
		c.loop.WatchChanges(apps.StatefulSets().Informer(), c.setChanged),
		c.loop.WatchChanges(apps.ControllerRevisions().Informer(), c.revisions.Keys),
		c.loop.WatchChanges(core.Pods().Informer(), podcontrol.Keys(Kind.GroupKind(), c.matching)),
		c.loop.WatchChanges(core.PersistentVolumeClaims().Informer(), c.claimChanged),
	)
}

func (c *controller) setChanged(old, current any) []string {
	o := current
	if o == nil {
		o = old
		c.control.Forget(old.(*appsv1.StatefulSet).UID)
		c.revisions.Forget(old.(*appsv1.StatefulSet).UID)
	}
	set := o.(*appsv1.StatefulSet)
	return []string{set.Namespace + "/" + set.Name}
}

func (c *controller) matching(p *v1.Pod) (keys []string) {
	sets, err := c.sets.StatefulSets(p.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, set := range sets {
		if _, member := ordinalOf(set, p); member && matches(set)(p) {
			keys = append(keys, set.Namespace+"/"+set.Name)
		}
	}
	return keys
}

// claimChanged wakes sets that wait for a stale claim to go.
func (c *controller) claimChanged(old, current any) (keys []string) {
	claim, ok := old.(*v1.PersistentVolumeClaim)
	if !ok || current != nil {
		return nil
	}
	sets, err := c.sets.StatefulSets(claim.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, set := range sets {
		if len(set.Spec.VolumeClaimTemplates) > 0 {
			keys = append(keys, set.Namespace+"/"+set.Name)
		}
	}
	return keys
}

// matches says which pods may be a set's: by labels and by name.
func matches(set *appsv1.StatefulSet) func(*v1.Pod) bool {
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || selector.Empty() {
		selector = labels.Nothing()
	}
	return func(p *v1.Pod) bool {
		_, member := ordinalOf(set, p)
		return member && selector.Matches(labels.Set(p.Labels))
	}
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	set, err := c.sets.StatefulSets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return fmt.Errorf("selector of stateful set %s: %w", key, err)
	}
	live := func(ctx context.Context) (metav1.Object, error) {
		return c.client.AppsV1().StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
	}
	history, err := c.revisions.History(ctx, set, selector, live)
	if err != nil {
		return err
	}
	set = set.DeepCopy()
	collisions := int32(0)
	if set.Status.CollisionCount != nil {
		collisions = *set.Status.CollisionCount
	}
	update, others, err := c.revisions.Current(ctx, set, &set.Spec.Template, history, &collisions)
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := c.control.Of(set, true)
	if err != nil {
		return err
	}
	pods, err := c.control.Claim(ctx, set, matches(set), all, live)
	if err != nil {
		return err
	}
	current, err := versionNamed(set.Status.CurrentRevision, update, others)
	if err != nil {
		return err
	}
	s := plan(snapshot{
		set: set, pods: pods, current: current, update: version{update.Name, &set.Spec.Template}, now: c.clock.Now(),
		staleClaims: func(p *v1.Pod) bool { return c.staleClaims(set, p) },
	})
	s.status.CollisionCount = &collisions
	lives := map[string]bool{update.Name: true, s.status.CurrentRevision: true, current.name: true}
	for _, p := range pods {
		lives[revisionOf(p)] = true
	}
	failed := c.act(ctx, set, pods, s)
	if failed == nil {
		failed = c.revisions.Remove(ctx, set, revision.Surplus(others, set.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool { return lives[r.Name] }))
	}
	return errors.Join(failed, c.writeStatus(ctx, set, s.status))
}

// versionNamed finds the revision that pods were of before the update.
func versionNamed(name string, update *appsv1.ControllerRevision, others []*appsv1.ControllerRevision) (version, error) {
	found := update
	for _, r := range others {
		if r.Name == name {
			found = r
		}
	}
	template, err := revision.Template(found)
	return version{found.Name, template}, err
}

func (c *controller) writeStatus(ctx context.Context, set *appsv1.StatefulSet, status appsv1.StatefulSetStatus) error {
	if equality.Semantic.DeepEqual(set.Status, status) {
		return nil
	}
	now := set.DeepCopy()
	now.Status = status
	_, err := c.client.AppsV1().StatefulSets(set.Namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("status of stateful set %s/%s: %w", set.Namespace, set.Name, err)
}

// act does a step: claims first, since pods and their end depend on them.
func (c *controller) act(ctx context.Context, set *appsv1.StatefulSet, pods []*v1.Pod, s step) error {
	if s.recheck > 0 {
		c.loop.After(set.Namespace+"/"+set.Name, s.recheck)
	}
	if set.DeletionTimestamp != nil {
		return nil
	}
	if len(set.Spec.VolumeClaimTemplates) > 0 {
		for _, p := range pods {
			if err := c.ownClaims(ctx, set, p); err != nil {
				return err
			}
		}
		for _, p := range s.claims {
			if err := c.makeClaims(ctx, set, p); err != nil {
				return err
			}
		}
	}
	for _, p := range s.rename {
		if err := c.rename(ctx, set, p); err != nil {
			return err
		}
	}
	_, made := podcontrol.SlowStart(len(s.create), func(i int) error { return c.create(ctx, set, s.create[i]) })
	removed := podcontrol.AtOnce(s.remove, func(p *v1.Pod) error {
		done, err := c.control.End(ctx, set, p)
		if done || err != nil {
			c.event(ctx, set, "Delete", "Pod "+p.Name, err)
		}
		return err
	})
	return errors.Join(made, removed)
}

func (c *controller) create(ctx context.Context, set *appsv1.StatefulSet, p *v1.Pod) error {
	err := c.makeClaims(ctx, set, p)
	if err == nil {
		var made *v1.Pod
		if made, err = c.control.Make(ctx, set, p); made == nil && err == nil {
			return nil // the namespace is going
		}
	}
	if !apierrors.IsAlreadyExists(err) {
		c.event(ctx, set, "Create", "Pod "+p.Name, err)
	}
	return err
}

func (c *controller) rename(ctx context.Context, set *appsv1.StatefulSet, p *v1.Pod) error {
	now := p.DeepCopy()
	ordinal, _ := ordinalOf(set, p)
	identify(now, ordinal)
	_, err := c.client.CoreV1().Pods(p.Namespace).Update(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.event(ctx, set, "Update", "Pod "+p.Name, err)
	return err
}

// event about something done to a pod of a set.
func (c *controller) event(ctx context.Context, set *appsv1.StatefulSet, verb, what string, err error) {
	switch {
	case err == nil:
		c.recorder.Eventf(set, v1.EventTypeNormal, "Successful"+verb, "%s %s in StatefulSet %s successful", verb, what, set.Name)
	case ctx.Err() == nil:
		c.recorder.Eventf(set, v1.EventTypeWarning, "Failed"+verb, "%s %s in StatefulSet %s failed error: %s", verb, what, set.Name, err)
	}
}
