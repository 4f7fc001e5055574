// Package daemonset keeps one pod of each DaemonSet on every node that it fits,
// and updates them node by node. Pods go to their node through the scheduler, by
// an affinity to its name.
package daemonset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
	"github.com/proa-project/proa/internal/controllers/revision"
)

// Kind of the owners.
var Kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// Component that events are from.
const Component = "daemonset-controller"

// generationLabel is how pods were told apart before there were revisions.
const generationLabel = "pod-template-generation"

// Back-off of pods that fail again and again on one node.
const (
	firstBackoff = time.Second
	lastBackoff  = 15 * time.Minute
)

type controller struct {
	client    kubernetes.Interface
	sets      appslisters.DaemonSetLister
	nodes     corelisters.NodeLister
	control   *podcontrol.Control
	revisions *revision.Store
	backoff   *flowcontrol.Backoff
	recorder  record.EventRecorder
	clock     clock.PassiveClock
	loop      *reconcile.Loop
}

// New watches DaemonSets, their pods and revisions, and nodes.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.Clock) (*reconcile.Loop, error) {
	apps, core := factory.Apps().V1(), factory.Core().V1()
	c := &controller{
		client: client, sets: apps.DaemonSets().Lister(), nodes: core.Nodes().Lister(), recorder: recorder, clock: clock,
		revisions: revision.NewStore(client, apps.ControllerRevisions(), Kind, appsv1.DefaultDaemonSetUniqueLabelKey, clock),
		backoff:   flowcontrol.NewBackOff(firstBackoff, lastBackoff),
	}
	c.backoff.Clock = clock
	var err error
	if c.control, err = podcontrol.New(client, core.Pods().Informer(), recorder, Kind, clock); err != nil {
		return nil, err
	}
	c.loop = reconcile.New("daemonset", 2, c.reconcile)
	return c.loop, errors.Join(
		c.loop.WatchChanges(apps.DaemonSets().Informer(), c.setChanged),
		c.loop.WatchChanges(apps.ControllerRevisions().Informer(), c.revisions.Keys),
		c.loop.WatchChanges(core.Pods().Informer(), podcontrol.Keys(Kind.GroupKind(), c.matching)),
		c.loop.WatchChanges(core.Nodes().Informer(), c.nodeChanged),
	)
}

func (c *controller) setChanged(old, current any) []string {
	o := current
	if o == nil {
		o = old
		c.control.Forget(old.(*appsv1.DaemonSet).UID)
		c.revisions.Forget(old.(*appsv1.DaemonSet).UID)
	}
	ds := o.(*appsv1.DaemonSet)
	return []string{ds.Namespace + "/" + ds.Name}
}

// nodeChanged asks for all sets when something has changed that decides on fits.
func (c *controller) nodeChanged(old, current any) (keys []string) {
	before, wasThere := old.(*v1.Node)
	now, isThere := current.(*v1.Node)
	if wasThere && isThere && labels.Equals(before.Labels, now.Labels) && equality.Semantic.DeepEqual(before.Spec.Taints, now.Spec.Taints) {
		return nil
	}
	sets, err := c.sets.List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, ds := range sets {
		keys = append(keys, ds.Namespace+"/"+ds.Name)
	}
	return keys
}

func (c *controller) matching(p *v1.Pod) (keys []string) {
	sets, err := c.sets.DaemonSets(p.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, ds := range sets {
		selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(p.Labels)) {
			keys = append(keys, ds.Namespace+"/"+ds.Name)
		}
	}
	return keys
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	ds, err := c.sets.DaemonSets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil || selector.Empty() {
		c.recorder.Event(ds, v1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return nil
	}
	if ds.DeletionTimestamp != nil {
		return nil
	}
	live := func(ctx context.Context) (metav1.Object, error) {
		return c.client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	}
	history, err := c.revisions.History(ctx, ds, selector, live)
	if err != nil {
		return err
	}
	collisions := int32(0)
	if ds.Status.CollisionCount != nil {
		collisions = *ds.Status.CollisionCount
	}
	current, others, err := c.revisions.Current(ctx, ds, &ds.Spec.Template, history, &collisions)
	if apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := c.control.Of(ds, true)
	if err != nil {
		return err
	}
	pods, err := c.control.Claim(ctx, ds, podcontrol.Matching[*v1.Pod](selector), all, live)
	if err != nil {
		return err
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	s := plan(snapshot{
		ds: ds, nodes: nodes, pods: pods, hash: current.Labels[appsv1.DefaultDaemonSetUniqueLabelKey], now: c.clock.Now(),
		held: func(node string) time.Duration { return c.held(ds, node) },
	})
	if collisions > 0 {
		s.status.CollisionCount = &collisions
	}
	return c.act(ctx, ds, s, current, revision.Surplus(others, ds.Spec.RevisionHistoryLimit, func(r *appsv1.ControllerRevision) bool {
		return slices.ContainsFunc(pods, func(p *v1.Pod) bool {
			hash := p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
			return hash != "" && hash == r.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
		})
	}))
}

func (c *controller) act(ctx context.Context, ds *appsv1.DaemonSet, s step, current *appsv1.ControllerRevision, surplus []*appsv1.ControllerRevision) error {
	for _, e := range s.events {
		c.recorder.Event(ds, e.kind, e.reason, e.message)
	}
	for _, node := range s.failed {
		c.backoff.Next(backoffKey(ds, node), c.clock.Now())
	}
	if s.recheck > 0 {
		c.loop.After(ds.Namespace+"/"+ds.Name, s.recheck)
	}
	hash := current.Labels[appsv1.DefaultDaemonSetUniqueLabelKey]
	_, made := podcontrol.SlowStart(len(s.create), func(i int) error { return c.control.Create(ctx, ds, newPod(ds, s.create[i], hash)) })
	removed := podcontrol.AtOnce(s.remove, func(p *v1.Pod) error { return c.control.Delete(ctx, ds, p) })
	failed := errors.Join(made, removed)
	if failed == nil {
		failed = c.revisions.Remove(ctx, ds, surplus)
	}
	if equality.Semantic.DeepEqual(ds.Status, s.status) {
		return failed
	}
	now := ds.DeepCopy()
	now.Status = s.status
	_, err := c.client.AppsV1().DaemonSets(ds.Namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		failed = errors.Join(failed, fmt.Errorf("status of daemon set %s/%s: %w", ds.Namespace, ds.Name, err))
	}
	return failed
}

func backoffKey(ds *appsv1.DaemonSet, node string) string {
	return fmt.Sprintf("%s/%d/%s", ds.UID, ds.Status.ObservedGeneration, node)
}

// held tells how long a failed pod is still to be left alone.
func (c *controller) held(ds *appsv1.DaemonSet, node string) time.Duration {
	key := backoffKey(ds, node)
	if !c.backoff.IsInBackOffSinceUpdate(key, c.clock.Now()) {
		return 0
	}
	return c.backoff.Get(key)
}

func newPod(ds *appsv1.DaemonSet, node, hash string) *v1.Pod {
	p := podcontrol.FromTemplate(&ds.Spec.Template, ds, Kind)
	p.Labels = maps.Clone(p.Labels)
	p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] = hash
	if generation := ds.Annotations[appsv1.DeprecatedTemplateGeneration]; generation != "" {
		p.Labels[generationLabel] = generation
	}
	p.Spec.Tolerations = tolerations(&p.Spec)
	p.Spec.Affinity = boundTo(p.Spec.Affinity, node)
	return p
}
