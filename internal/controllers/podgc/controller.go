// Package podgc removes the pods that nobody else will: those of nodes that are
// gone, those deleted before they had a node, and the oldest of too many that
// have ended.
package podgc

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// every is how often the whole is looked through.
const every = 20 * time.Second

type collector struct {
	client  kubernetes.Interface
	pods    listers.PodLister
	nodes   listers.NodeLister
	clock   clock.PassiveClock
	missing map[string]time.Time // nodes that pods name and that are not there
}

// New watches nodes, so that it also looks when one goes.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, c clock.PassiveClock) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	gc := &collector{client: client, pods: core.Pods().Lister(), nodes: core.Nodes().Lister(), clock: c, missing: map[string]time.Time{}}
	core.Pods().Informer()
	var loop *reconcile.Loop
	loop = reconcile.New("podgc", 1, func(ctx context.Context, key string) error {
		loop.After(key, every)
		return gc.collect(ctx)
	})
	loop.Add("all")
	return loop, loop.Watch(core.Nodes().Informer(), func(o any) []string {
		if o.(*v1.Node).DeletionTimestamp != nil {
			return []string{"all"}
		}
		return nil
	})
}

func (gc *collector) collect(ctx context.Context) error {
	pods, err := gc.pods.List(labels.Everything())
	if err != nil {
		return err
	}
	if err := gc.look(ctx, pods); err != nil {
		return err
	}
	var failed []error
	for _, r := range plan(pods, gc.missing, gc.clock.Now()) {
		if err := gc.remove(ctx, r); err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// look notes which nodes are missing. The cache may lag behind, so the API
// server has the last word.
func (gc *collector) look(ctx context.Context, pods []*v1.Pod) error {
	seen := map[string]bool{}
	for _, p := range pods {
		seen[p.Spec.NodeName] = true
	}
	delete(seen, "")
	for name := range gc.missing {
		if !seen[name] {
			delete(gc.missing, name)
		}
	}
	for name := range seen {
		if _, err := gc.nodes.Get(name); err == nil {
			delete(gc.missing, name)
			continue
		}
		_, err := gc.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			if _, known := gc.missing[name]; !known {
				gc.missing[name] = gc.clock.Now()
			}
		case err != nil:
			return err
		}
	}
	return nil
}

func (gc *collector) remove(ctx context.Context, r removal) error {
	pods := gc.client.CoreV1().Pods(r.pod.Namespace)
	if r.fail {
		patch, err := failedPatch(r, gc.clock.Now())
		if err != nil {
			return err
		}
		if _, err := pods.Patch(ctx, r.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			return err
		}
	}
	now := int64(0)
	return pods.Delete(ctx, r.pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(r.pod.UID))})
}

func failedPatch(r removal, now time.Time) ([]byte, error) {
	condition := v1.PodCondition{
		Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "DeletionByPodGC",
		Message: r.message, LastTransitionTime: metav1.NewTime(now), ObservedGeneration: r.pod.Generation,
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": r.pod.UID},
		"status":   map[string]any{"phase": v1.PodFailed, "conditions": []v1.PodCondition{condition}},
	})
}
