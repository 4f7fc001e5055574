// Package tainteviction deletes pods from nodes with NoExecute taints that they
// don't tolerate, or not for that long.
package tainteviction

import (
	"context"
	"encoding/json"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "taint-eviction-controller"

type controller struct {
	client   kubernetes.Interface
	pods     listers.PodLister
	nodes    listers.NodeLister
	recorder record.EventRecorder
	clock    clock.PassiveClock
	loop     *reconcile.Loop
}

// New watches nodes and pods.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	c := &controller{client: client, pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), recorder: recorder, clock: clock}
	c.loop = reconcile.New("tainteviction", 2, c.reconcile)
	return c.loop, errors.Join(
		c.loop.WatchChanges(core.Nodes().Informer(), c.nodeChanged),
		c.loop.WatchChanges(core.Pods().Informer(), c.podChanged),
	)
}

// nodeChanged asks for all pods of a node that came to have other such taints.
func (c *controller) nodeChanged(old, current any) (keys []string) {
	now, ok := current.(*v1.Node)
	if !ok {
		return nil
	}
	taints := banishing(now)
	if before, had := old.(*v1.Node); len(taints) == 0 || had && equality.Semantic.DeepEqual(banishing(before), taints) {
		return nil
	}
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, p := range pods {
		if p.Spec.NodeName == now.Name {
			keys = append(keys, p.Namespace+"/"+p.Name)
		}
	}
	return keys
}

// podChanged asks for pods that have got a node with such taints.
func (c *controller) podChanged(_, current any) []string {
	p, ok := current.(*v1.Pod)
	if !ok || p.Spec.NodeName == "" || p.DeletionTimestamp != nil {
		return nil
	}
	if node, err := c.nodes.Get(p.Spec.NodeName); err == nil && len(banishing(node)) == 0 {
		return nil
	}
	return []string{p.Namespace + "/" + p.Name}
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	p, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && p.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return err
	}
	node, err := c.nodes.Get(p.Spec.NodeName)
	if apierrors.IsNotFound(err) {
		return nil // the pod collector's
	}
	if err != nil {
		return err
	}
	in, stay := evictIn(p, banishing(node), c.clock.Now())
	if stay {
		return nil // and nobody comes for it later: every look starts anew
	}
	if in > 0 {
		c.loop.After(key, in)
		return nil
	}
	return c.evict(ctx, p)
}

func (c *controller) evict(ctx context.Context, p *v1.Pod) error {
	c.recorder.Eventf(p, v1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s/%s", p.Namespace, p.Name)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"conditions": []v1.PodCondition{{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "DeletionByTaintManager", Message: "Taint manager: deleting due to NoExecute taint",
			LastTransitionTime: metav1.NewTime(c.clock.Now()), ObservedGeneration: p.Generation,
		}}},
	})
	if err != nil {
		return err
	}
	pods := c.client.CoreV1().Pods(p.Namespace)
	_, err = pods.Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err == nil {
		err = pods.Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // another one has its name
	}
	return err
}
