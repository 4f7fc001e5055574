package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Kind of the owners.
var Kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Component that events are from.
const Component = "deployment-controller"

type controller struct {
	client      kubernetes.Interface
	deployments listers.DeploymentLister
	sets        listers.ReplicaSetLister
	pods        *podcontrol.Control
	recent      *reconcile.Recent[*appsv1.ReplicaSet]
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	loop        *reconcile.Loop
}

// New watches Deployments and ReplicaSets; pods are only read.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	deployments, sets, pods := factory.Apps().V1().Deployments(), factory.Apps().V1().ReplicaSets(), factory.Core().V1().Pods().Informer()
	c := &controller{client: client, deployments: deployments.Lister(), sets: sets.Lister(), recorder: recorder, clock: clock}
	var err error
	if c.pods, err = podcontrol.New(client, pods, recorder, Kind, clock); err != nil {
		return nil, err
	}
	c.recent = reconcile.NewRecent(sets.Informer().GetIndexer().LastStoreSyncResourceVersion, func(rs *appsv1.ReplicaSet) *appsv1.ReplicaSet {
		leaving := *rs
		leaving.DeletionTimestamp = &metav1.Time{Time: clock.Now()}
		return &leaving
	})
	c.loop = reconcile.New("deployment", 4, c.reconcile)
	c.loop.Needs(pods)
	if err := c.loop.Watch(deployments.Informer(), nil); err != nil {
		return nil, err
	}
	return c.loop, c.loop.WatchChanges(sets.Informer(), c.setChanged)
}

// setChanged gives the owners of a set before and after, and for an orphan the
// Deployments that match it.
func (c *controller) setChanged(old, current any) (keys []string) {
	for _, o := range []any{old, current} {
		if rs, ok := o.(*appsv1.ReplicaSet); ok {
			if key, ours := podcontrol.ControllerKey(rs, Kind.GroupKind()); ours && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	rs, ok := current.(*appsv1.ReplicaSet)
	if !ok || metav1.GetControllerOfNoCopy(rs) != nil {
		return keys
	}
	all, err := c.deployments.Deployments(rs.Namespace).List(labels.Everything())
	if err != nil {
		return keys
	}
	for _, d := range all {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(rs.Labels)) {
			keys = append(keys, d.Namespace+"/"+d.Name)
		}
	}
	return keys
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	d, err := c.deployments.Deployments(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil || selector.Empty() {
		c.recorder.Event(d, v1.EventTypeWarning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		return nil
	}
	sets, err := c.claim(ctx, d, selector)
	if err != nil {
		return err
	}
	step := plan(d, sets, func(current *appsv1.ReplicaSet) bool { return c.oldPods(sets, current) }, c.clock.Now())
	return c.act(ctx, d, step)
}

// claim lists the sets of a Deployment, having adopted and released some.
func (c *controller) claim(ctx context.Context, d *appsv1.Deployment, selector labels.Selector) ([]*appsv1.ReplicaSet, error) {
	all, err := c.recent.List(d.UID, func() ([]*appsv1.ReplicaSet, error) { return c.sets.ReplicaSets(d.Namespace).List(labels.Everything()) })
	if err != nil {
		return nil, err
	}
	claims := podcontrol.Sort(d, podcontrol.Matching[*appsv1.ReplicaSet](selector), all)
	patch := func(rs *appsv1.ReplicaSet, body []byte) error {
		_, err := c.client.AppsV1().ReplicaSets(rs.Namespace).Patch(ctx, rs.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsInvalid(err) {
			return nil
		}
		return err
	}
	for _, rs := range claims.Release {
		if err := patch(rs, podcontrol.ReleasePatch(rs, d.UID)); err != nil {
			return nil, err
		}
	}
	if len(claims.Adopt) == 0 {
		return claims.Mine, nil
	}
	err = podcontrol.CanAdopt(ctx, d, func(ctx context.Context) (metav1.Object, error) {
		return c.client.AppsV1().Deployments(d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
	})
	for _, rs := range claims.Adopt {
		if err == nil {
			err = patch(rs, podcontrol.AdoptPatch(rs, d, Kind))
		}
	}
	// An adopted set is counted when its event arrives, with the version that it has then.
	return claims.Mine, err
}

// oldPods says whether pods of other sets than the current one are still there.
func (c *controller) oldPods(sets []*appsv1.ReplicaSet, current *appsv1.ReplicaSet) bool {
	for _, rs := range sets {
		if current != nil && rs.UID == current.UID {
			continue
		}
		pods, err := c.pods.Of(rs, false)
		if err != nil || slices.ContainsFunc(pods, func(p *v1.Pod) bool { return !podcontrol.Ended(p) }) {
			return true
		}
	}
	return false
}

func (c *controller) act(ctx context.Context, d *appsv1.Deployment, s step) error {
	for _, e := range s.events {
		c.recorder.Event(d, e.kind, e.reason, e.message)
	}
	if s.template != nil {
		_, err := c.client.AppsV1().Deployments(d.Namespace).Update(ctx, s.template, metav1.UpdateOptions{})
		return err
	}
	if s.create != nil {
		if done, err := c.create(ctx, d, s.create); !done {
			return err
		}
	}
	for _, change := range s.change {
		if err := c.write(ctx, d, change); err != nil {
			return err
		}
	}
	for _, rs := range s.remove {
		err := c.client.AppsV1().ReplicaSets(rs.Namespace).Delete(ctx, rs.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(rs.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		c.recent.Deleted(d.UID, rs.UID)
	}
	if s.recheck > 0 {
		c.loop.After(d.Namespace+"/"+d.Name, s.recheck)
	}
	return c.writeStatus(ctx, d, s.status, s.revision)
}

func (c *controller) writeStatus(ctx context.Context, d *appsv1.Deployment, status appsv1.DeploymentStatus, revision string) error {
	if equality.Semantic.DeepEqual(d.Status, status) && (revision == "" || d.Annotations[revisionKey] == revision) {
		return nil
	}
	now := d.DeepCopy()
	now.Status = status
	if revision != "" {
		if now.Annotations == nil {
			now.Annotations = map[string]string{}
		}
		now.Annotations[revisionKey] = revision // the status of this kind takes annotations too
	}
	_, err := c.client.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (c *controller) write(ctx context.Context, d *appsv1.Deployment, change change) error {
	rs, err := c.client.AppsV1().ReplicaSets(d.Namespace).Update(ctx, change.set, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("replica set %s: %w", change.set.Name, err)
	}
	switch to := size(rs); {
	case to > change.from:
		c.recorder.Eventf(d, v1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from %d to %d", rs.Name, change.from, to)
	case to < change.from:
		c.recorder.Eventf(d, v1.EventTypeNormal, "ScalingReplicaSet", "Scaled down replica set %s from %d to %d", rs.Name, change.from, to)
	}
	return nil
}

// create makes the set of the Deployment's template; done means that the rest of
// the step may follow.
func (c *controller) create(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) (done bool, err error) {
	made, err := c.client.AppsV1().ReplicaSets(d.Namespace).Create(ctx, rs, metav1.CreateOptions{})
	switch {
	case err == nil:
		c.recent.Made(d.UID, made)
		if n := size(made); n > 0 {
			c.recorder.Eventf(d, v1.EventTypeNormal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", made.Name, n)
		}
		return true, nil
	case apierrors.IsAlreadyExists(err):
		return false, c.collided(ctx, d, rs)
	case apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) || ctx.Err() != nil:
		return false, nil
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	c.recorder.Event(d, v1.EventTypeWarning, notMade, message)
	if hasDeadline(d) {
		status := *d.Status.DeepCopy()
		setCondition(&status, appsv1.DeploymentProgressing, v1.ConditionFalse, notMade, message, c.clock.Now())
		err = errors.Join(err, c.writeStatus(ctx, d, status, ""))
	}
	return false, err
}

// collided looks at what has the name of the new set: the set itself, of which
// the cache doesn't know yet, or one of another template with the same hash.
func (c *controller) collided(ctx context.Context, d *appsv1.Deployment, rs *appsv1.ReplicaSet) error {
	other, err := c.client.AppsV1().ReplicaSets(d.Namespace).Get(ctx, rs.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if metav1.IsControlledBy(other, d) && sameTemplate(&other.Spec.Template, &d.Spec.Template) {
		c.recent.Made(d.UID, other)
		c.loop.Add(d.Namespace + "/" + d.Name)
		return nil
	}
	status := *d.Status.DeepCopy()
	collisions := int32(1)
	if status.CollisionCount != nil {
		collisions += *status.CollisionCount
	}
	status.CollisionCount = &collisions
	return c.writeStatus(ctx, d, status, "")
}
