package autoscale

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	autoscalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component is who the events come from.
const Component = "horizontal-pod-autoscaler"

// Every autoscaler has its turn so often: metrics tell nobody that they change.
const period = 15 * time.Second

type controller struct {
	client      kubernetes.Interface
	autoscalers autoscalinglisters.HorizontalPodAutoscalerLister
	pods        corelisters.PodLister
	scales      scale.ScalesGetter
	mapper      meta.ResettableRESTMapper
	metrics     metrics
	recorder    record.EventRecorder
	clock       clock.PassiveClock
	loop        *reconcile.Loop

	mu        sync.Mutex
	histories map[string]History
	selectors map[string]labels.Selector // of all autoscalers, to find two that want the same pods
}

// New watches autoscalers. Discovery is asked only once there is one.
func New(client kubernetes.Interface, f informers.SharedInformerFactory, recorder record.EventRecorder, clk clock.PassiveClock) (*reconcile.Loop, error) {
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	rest := client.Discovery().RESTClient()
	autoscalers := f.Autoscaling().V2().HorizontalPodAutoscalers()
	c := &controller{
		client: client, autoscalers: autoscalers.Lister(), pods: f.Core().V1().Pods().Lister(), recorder: recorder, clock: clk,
		scales: scale.New(rest, mapper, dynamic.LegacyAPIPathResolverFunc, scale.NewDiscoveryScaleKindResolver(client.Discovery())),
		mapper: mapper, metrics: metrics{rest, mapper},
		histories: map[string]History{}, selectors: map[string]labels.Selector{},
	}
	c.loop = reconcile.New("horizontalpodautoscaling", 2, c.reconcile)
	return c.loop, c.loop.WatchChanges(autoscalers.Informer(), specChanged)
}

// specChanged: a status that was just written is no reason to look again.
func specChanged(old, current any) []string {
	now, ok := current.(*v2.HorizontalPodAutoscaler)
	if !ok {
		now = old.(*v2.HorizontalPodAutoscaler)
	} else if before, had := old.(*v2.HorizontalPodAutoscaler); had && before.Generation == now.Generation {
		return nil
	}
	return []string{now.Namespace + "/" + now.Name}
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	a, err := c.autoscalers.HorizontalPodAutoscalers(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		c.forget(key)
		return nil
	}
	if err != nil {
		return err
	}
	defer c.loop.After(key, period)
	out := c.turn(ctx, key, a)
	for _, e := range out.Events {
		c.recorder.Event(a, e.Type, e.Reason, e.Message)
	}
	c.mu.Lock()
	c.histories[key] = out.History
	c.mu.Unlock()
	return c.writeStatus(ctx, a, out.Status)
}

func (c *controller) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.histories, key)
	delete(c.selectors, key)
}

// turn reads all there is to know, decides, and sets the scale.
func (c *controller) turn(ctx context.Context, key string, a *v2.HorizontalPodAutoscaler) Output {
	c.mu.Lock()
	history := c.histories[key]
	c.mu.Unlock()
	current, target, err := c.scaleOf(ctx, a)
	if err != nil {
		out := Unscalable(a, err, c.clock.Now())
		out.History = history
		return out
	}
	in := Input{Autoscaler: a, Scale: current, History: history, Now: c.clock.Now()}
	if Needs(a, current.Spec.Replicas) {
		c.readMetrics(ctx, key, &in)
		in.Now = c.clock.Now()
	}
	out := Decide(in)
	if !out.Rescale {
		return out
	}
	if err := c.setScale(ctx, a, target, current, out.Replicas); err != nil {
		return NotRescaled(out, a, err, c.clock.Now())
	}
	return Rescaled(out, a, c.clock.Now())
}

func (c *controller) readMetrics(ctx context.Context, key string, in *Input) {
	selector, err := c.selected(key, in)
	if err != nil {
		in.Selected = err
		return
	}
	for i := range in.Autoscaler.Spec.Metrics {
		in.Readings = append(in.Readings, c.metrics.read(ctx, in.Autoscaler.Namespace, selector, &in.Autoscaler.Spec.Metrics[i]))
	}
}

// selected the pods of the scale, which must be no other autoscaler's.
func (c *controller) selected(key string, in *Input) (labels.Selector, error) {
	text := in.Scale.Status.Selector
	if text == "" {
		return nil, &Refusal{"SelectorRequired", "InvalidSelector", "selector is required", "the HPA target's scale is missing a selector"}
	}
	selector, err := labels.Parse(text)
	if err != nil {
		message := fmt.Sprintf("couldn't convert selector into a corresponding internal selector object: %v", err)
		return nil, &Refusal{"InvalidSelector", "InvalidSelector", message, message}
	}
	if in.Pods, err = c.pods.Pods(in.Autoscaler.Namespace).List(selector); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selectors[key] = selector
	if rivals := c.rivals(in.Autoscaler.Namespace, in.Pods); len(rivals) > 1 {
		message := fmt.Sprintf("pods by selector %v are controlled by more than one HPA (e.g. %v)", text, rivals)
		return nil, &Refusal{"AmbiguousSelector", "AmbiguousSelector", message, message}
	}
	return selector, nil
}

// rivals are the autoscalers that select any of the pods.
func (c *controller) rivals(namespace string, pods []*v1.Pod) (keys []string) {
	for key, selector := range c.selectors {
		if of, _, _ := cache.SplitMetaNamespaceKey(key); of != namespace {
			continue
		}
		for _, p := range pods {
			if selector.Matches(labels.Set(p.Labels)) {
				keys = append(keys, key)
				break
			}
		}
	}
	return keys
}

// scaleOf what the autoscaler names; of several resources of the kind the first
// that has one.
func (c *controller) scaleOf(ctx context.Context, a *v2.HorizontalPodAutoscaler) (*autoscalingv1.Scale, schema.GroupResource, error) {
	ref := a.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, schema.GroupResource{}, err
	}
	mappings, err := c.mapper.RESTMappings(schema.GroupKind{Group: gv.Group, Kind: ref.Kind})
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // the kind may have come since
	}
	if err != nil {
		return nil, schema.GroupResource{}, err
	}
	first := errors.New("unrecognized resource")
	for i, m := range mappings {
		gr := m.Resource.GroupResource()
		s, err := c.scales.Scales(a.Namespace).Get(ctx, gr, ref.Name, metav1.GetOptions{})
		if err == nil {
			return s, gr, nil
		}
		if i == 0 {
			first = err
		}
	}
	return nil, schema.GroupResource{}, first
}

func (c *controller) setScale(ctx context.Context, a *v2.HorizontalPodAutoscaler, target schema.GroupResource, s *autoscalingv1.Scale, replicas int32) error {
	scales := c.scales.Scales(a.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		s.Spec.Replicas = replicas
		_, err := scales.Update(ctx, target, s, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) {
			if latest, getErr := scales.Get(ctx, target, s.Name, metav1.GetOptions{}); getErr == nil {
				s = latest
			}
		}
		return err
	})
}

func (c *controller) writeStatus(ctx context.Context, a *v2.HorizontalPodAutoscaler, status v2.HorizontalPodAutoscalerStatus) error {
	if equality.Semantic.DeepEqual(a.Status, status) {
		return nil
	}
	now := a.DeepCopy()
	now.Status = status
	_, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(a.Namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or changed: it has its turn then
	}
	return err
}
