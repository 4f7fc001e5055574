// Package disruption keeps the statuses of PodDisruptionBudgets, by which
// evictions are allowed or refused.
package disruption

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	policylisters "k8s.io/client-go/listers/policy/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "controllermanager"

// stale marks the keys of pods whose condition may have to be taken back.
const stale = "pod|"

type controller struct {
	client      kubernetes.Interface
	budgets     policylisters.PodDisruptionBudgetLister
	pods        corelisters.PodLister
	sets        appslisters.ReplicaSetLister
	deployments appslisters.DeploymentLister
	stateful    appslisters.StatefulSetLister
	rcs         corelisters.ReplicationControllerLister
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	loop        *reconcile.Loop
}

// New watches budgets and pods, and reads the pods' controllers.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	core, apps, policy := factory.Core().V1(), factory.Apps().V1(), factory.Policy().V1()
	c := &controller{
		client: client, recorder: recorder, clock: clock,
		budgets: policy.PodDisruptionBudgets().Lister(), pods: core.Pods().Lister(), sets: apps.ReplicaSets().Lister(),
		deployments: apps.Deployments().Lister(), stateful: apps.StatefulSets().Lister(), rcs: core.ReplicationControllers().Lister(),
	}
	c.loop = reconcile.New("disruption", 2, c.reconcile)
	for _, i := range []cache.SharedIndexInformer{apps.ReplicaSets().Informer(), apps.Deployments().Informer(), apps.StatefulSets().Informer(), core.ReplicationControllers().Informer()} {
		c.loop.Needs(i)
	}
	return c.loop, errors.Join(
		c.loop.Watch(policy.PodDisruptionBudgets().Informer(), nil),
		c.loop.WatchChanges(core.Pods().Informer(), c.podChanged),
	)
}

func (c *controller) podChanged(old, current any) (keys []string) {
	seen := map[string]bool{}
	for _, o := range []any{old, current} {
		p, ok := o.(*v1.Pod)
		if !ok {
			continue
		}
		budgets, err := c.budgets.PodDisruptionBudgets(p.Namespace).List(labels.Everything())
		if err != nil {
			return nil
		}
		for _, b := range budgets {
			key := b.Namespace + "/" + b.Name
			if !seen[key] && selectorOf(b).Matches(labels.Set(p.Labels)) {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	if p, ok := current.(*v1.Pod); ok {
		if _, has := staleIn(p, c.clock.Now()); has {
			keys = append(keys, stale+p.Namespace+"/"+p.Name)
		}
	}
	return keys
}

// selectorOf a budget; an empty one means all pods of the namespace.
func selectorOf(b *policyv1.PodDisruptionBudget) labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	if pod, isPod := strings.CutPrefix(key, stale); isPod {
		return c.takeBack(ctx, key, pod)
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	b, err := c.budgets.PodDisruptionBudgets(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := c.look(ctx, b)
	if err != nil {
		return errors.Join(c.write(ctx, b, failed(b, err)), err)
	}
	for _, p := range o.lost {
		c.recorder.Eventf(p, v1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", b.Namespace, b.Name)
	}
	if o.recheck > 0 {
		c.loop.After(key, o.recheck)
	}
	return c.write(ctx, b, o.status)
}

func (c *controller) look(ctx context.Context, b *policyv1.PodDisruptionBudget) (outcome, error) {
	pods, err := c.pods.Pods(b.Namespace).List(selectorOf(b))
	if err != nil {
		return outcome{}, err
	}
	if len(pods) == 0 {
		c.recorder.Event(b, v1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	wanted := 0
	if bySize(b) {
		var unmanaged bool
		if wanted, unmanaged, err = c.wanted(ctx, pods); err != nil {
			c.recorder.Eventf(b, v1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
			return outcome{}, err
		}
		if unmanaged {
			c.recorder.Eventf(b, v1.EventTypeWarning, "UnmanagedPods", "Pods selected by this PodDisruptionBudget (selector: %v) were found "+
				"to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. "+
				"To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.", b.Spec.Selector)
		}
	}
	return plan(b, pods, wanted, c.clock.Now())
}

// wanted sums up what the controllers of pods want.
func (c *controller) wanted(ctx context.Context, pods []*v1.Pod) (total int, unmanaged bool, err error) {
	seen := map[types.UID]bool{}
	for _, p := range pods {
		ref := metav1.GetControllerOfNoCopy(p)
		if ref == nil {
			unmanaged = true
			continue
		}
		if seen[ref.UID] {
			continue
		}
		seen[ref.UID] = true
		uid, n, err := c.scale(p.Namespace, ref)
		if err != nil {
			return 0, false, fmt.Errorf("found no controllers for pod %q: %w", p.Name, err)
		}
		if uid != ref.UID && seen[uid] {
			continue // another set of the same Deployment
		}
		seen[uid] = true
		total += int(n)
	}
	return total, unmanaged, nil
}

// scale of the controller that a reference means, or of the Deployment above it.
func (c *controller) scale(namespace string, ref *metav1.OwnerReference) (types.UID, int32, error) {
	switch group, _, _ := strings.Cut(ref.APIVersion, "/"); {
	case group == "apps" && ref.Kind == "ReplicaSet":
		rs, err := c.sets.ReplicaSets(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		if above := metav1.GetControllerOfNoCopy(rs); above != nil && above.Kind == "Deployment" {
			if d, err := c.deployments.Deployments(namespace).Get(above.Name); err == nil && d.UID == above.UID {
				return d.UID, orOne(d.Spec.Replicas), nil
			}
		}
		return rs.UID, orOne(rs.Spec.Replicas), nil
	case group == "apps" && ref.Kind == "StatefulSet":
		s, err := c.stateful.StatefulSets(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		return s.UID, orOne(s.Spec.Replicas), nil
	case ref.APIVersion == "v1" && ref.Kind == "ReplicationController":
		rc, err := c.rcs.ReplicationControllers(namespace).Get(ref.Name)
		if err != nil {
			return "", 0, err
		}
		return rc.UID, orOne(rc.Spec.Replicas), nil
	}
	return "", 0, fmt.Errorf("%s %s does not tell its scale", ref.APIVersion, ref.Kind)
}

func orOne(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func (c *controller) write(ctx context.Context, b *policyv1.PodDisruptionBudget, status policyv1.PodDisruptionBudgetStatus) error {
	if equality.Semantic.DeepEqual(b.Status, status) {
		return nil
	}
	now := b.DeepCopy()
	now.Status = status
	_, err := c.client.PolicyV1().PodDisruptionBudgets(b.Namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// takeBack says of a pod that it isn't disrupted after all.
func (c *controller) takeBack(ctx context.Context, key, pod string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(pod)
	if err != nil {
		return err
	}
	p, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	in, has := staleIn(p, c.clock.Now())
	if !has {
		return nil
	}
	if in > 0 {
		c.loop.After(key, in)
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []v1.PodCondition{{
			Type: v1.DisruptionTarget, Status: v1.ConditionFalse, LastTransitionTime: metav1.NewTime(c.clock.Now()), ObservedGeneration: p.Generation,
		}}},
	})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Pods(namespace).Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
