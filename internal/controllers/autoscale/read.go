package autoscale

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// metrics reads the three metrics APIs, as JSON: two of them are other servers'.
type metrics struct {
	client rest.Interface
	mapper meta.RESTMapper
}

// The metrics APIs as far as they are read.
type (
	podMetricsList struct {
		Items []struct {
			Metadata   metav1.ObjectMeta `json:"metadata"`
			Timestamp  metav1.Time       `json:"timestamp"`
			Window     metav1.Duration   `json:"window"`
			Containers []struct {
				Name  string          `json:"name"`
				Usage v1.ResourceList `json:"usage"`
			} `json:"containers"`
		} `json:"items"`
	}
	customMetricsList struct {
		Items []struct {
			DescribedObject v1.ObjectReference `json:"describedObject"`
			Timestamp       metav1.Time        `json:"timestamp"`
			WindowSeconds   *int64             `json:"windowSeconds"`
			Window          *int64             `json:"window"`
			Value           resource.Quantity  `json:"value"`
		} `json:"items"`
	}
	externalMetricsList struct {
		Items []struct {
			Value resource.Quantity `json:"value"`
		} `json:"items"`
	}
)

// A custom metric that doesn't say over which time it was taken.
const usualWindow = time.Minute

// read one metric; what goes wrong is part of the reading.
func (m metrics) read(ctx context.Context, namespace string, selector labels.Selector, spec *v2.MetricSpec) Reading {
	var r Reading
	switch spec.Type {
	case v2.ResourceMetricSourceType:
		r.Pods, r.Err = m.resource(ctx, namespace, selector, spec.Resource.Name, "")
	case v2.ContainerResourceMetricSourceType:
		r.Pods, r.Err = m.resource(ctx, namespace, selector, spec.ContainerResource.Name, spec.ContainerResource.Container)
	case v2.PodsMetricSourceType:
		r.Pods, r.Err = m.ofPods(ctx, namespace, selector, spec.Pods.Metric)
	case v2.ObjectMetricSourceType:
		r.Value, r.Err = m.ofObject(ctx, namespace, spec.Object)
	case v2.ExternalMetricSourceType:
		r.External, r.Err = m.external(ctx, namespace, spec.External.Metric)
	}
	return r
}

func (m metrics) get(ctx context.Context, into any, path string, parameters map[string]string) error {
	request := m.client.Get().AbsPath(path).SetHeader("Accept", "application/json")
	for key, value := range parameters {
		if value != "" {
			request = request.Param(key, value)
		}
	}
	body, err := request.DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (m metrics) resource(ctx context.Context, namespace string, selector labels.Selector, name v1.ResourceName, container string) (map[string]sample, error) {
	var list podMetricsList
	err := m.get(ctx, &list, "/apis/metrics.k8s.io/v1beta1/namespaces/"+namespace+"/pods", map[string]string{"labelSelector": selector.String()})
	if err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from resource metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("no metrics returned from resource metrics API")
	}
	out := map[string]sample{}
	for _, p := range list.Items {
		sum, known := int64(0), false
		for _, c := range p.Containers {
			if container != "" && c.Name != container {
				continue
			}
			q, ok := c.Usage[name]
			if known = ok; !ok {
				break
			}
			sum += q.MilliValue()
		}
		if known {
			out[p.Metadata.Name] = sample{sum, p.Timestamp.Time, p.Window.Duration}
		}
	}
	return out, nil
}

// customMetrics is the API's newest version that anybody serves.
const customMetrics = "/apis/custom.metrics.k8s.io/v1beta2"

func (m metrics) custom(ctx context.Context, path string, pods labels.Selector, metric v2.MetricIdentifier) (customMetricsList, error) {
	var list customMetricsList
	parameters := map[string]string{}
	if pods != nil {
		parameters["labelSelector"] = pods.String()
	}
	selector, err := selectorOf(metric)
	if err == nil {
		parameters["metricLabelSelector"] = selector
		err = m.get(ctx, &list, path, parameters)
	}
	if err != nil {
		return list, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return list, errors.New("no metrics returned from custom metrics API")
	}
	return list, nil
}

func selectorOf(metric v2.MetricIdentifier) (string, error) {
	if metric.Selector == nil {
		return "", nil
	}
	s, err := metav1.LabelSelectorAsSelector(metric.Selector)
	if err != nil {
		return "", err
	}
	return s.String(), nil
}

func (m metrics) ofPods(ctx context.Context, namespace string, selector labels.Selector, metric v2.MetricIdentifier) (map[string]sample, error) {
	list, err := m.custom(ctx, path.Join(customMetrics, "namespaces", namespace, "pods/*", metric.Name), selector, metric)
	if err != nil {
		return nil, err
	}
	out := map[string]sample{}
	for _, i := range list.Items {
		window := usualWindow
		if i.WindowSeconds != nil {
			window = time.Duration(*i.WindowSeconds) * time.Second
		}
		out[i.DescribedObject.Name] = sample{i.Value.MilliValue(), i.Timestamp.Time, window}
	}
	return out, nil
}

func (m metrics) ofObject(ctx context.Context, namespace string, o *v2.ObjectMetricSource) (int64, error) {
	where, err := m.objectPath(namespace, o.DescribedObject)
	if err != nil {
		return 0, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
	}
	list, err := m.custom(ctx, path.Join(where, o.Metric.Name), nil, o.Metric)
	if err != nil {
		return 0, err
	}
	return list.Items[0].Value.MilliValue(), nil
}

// objectPath: a namespace's own metrics lie apart, and are those of our namespace
// whatever the name: nobody sees out of it.
func (m metrics) objectPath(namespace string, ref v2.CrossVersionObjectReference) (string, error) {
	gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	if gvk.Kind == "Namespace" && gvk.Group == "" {
		return path.Join(customMetrics, "namespaces", namespace, "metrics"), nil
	}
	mapping, err := m.mapper.RESTMapping(gvk.GroupKind())
	if err != nil {
		return "", err
	}
	return path.Join(customMetrics, "namespaces", namespace, mapping.Resource.GroupResource().String(), ref.Name), nil
}

func (m metrics) external(ctx context.Context, namespace string, metric v2.MetricIdentifier) ([]int64, error) {
	var list externalMetricsList
	selector, err := selectorOf(metric)
	if err != nil {
		return nil, err
	}
	err = m.get(ctx, &list, path.Join("/apis/external.metrics.k8s.io/v1beta1/namespaces", namespace, metric.Name), map[string]string{"labelSelector": selector})
	if err != nil {
		return nil, fmt.Errorf("unable to fetch metrics from external metrics API: %w", err)
	}
	if len(list.Items) == 0 {
		return nil, errors.New("no metrics returned from external metrics API")
	}
	out := make([]int64, len(list.Items))
	for i := range list.Items {
		out[i] = list.Items[i].Value.MilliValue()
	}
	return out, nil
}
