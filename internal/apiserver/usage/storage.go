package usage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/objects"
)

// AddToScheme registers the types alone, without the module's internal ones.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(metricsv1beta1.SchemeGroupVersion,
		&metricsv1beta1.NodeMetrics{}, &metricsv1beta1.NodeMetricsList{}, &metricsv1beta1.PodMetrics{}, &metricsv1beta1.PodMetricsList{})
	metav1.AddToGroupVersion(s, metricsv1beta1.SchemeGroupVersion)
	return nil
}

// Metrics knows what all nodes use.
type Metrics struct {
	Source      Source
	Nodes, Pods rest.Lister
	Log         *slog.Logger

	mu       sync.Mutex
	samplers map[string]*sampler
}

// So many nodes are asked at a time.
const askers = 16

// of the nodes given: what each uses. One that does not answer is left out.
func (m *Metrics) of(ctx context.Context, nodes map[string]bool) map[string]Used {
	var (
		g   errgroup.Group
		mu  sync.Mutex
		out = map[string]Used{}
	)
	g.SetLimit(askers)
	for name := range nodes {
		g.Go(func() error {
			u, err := m.sampler(name).used(ctx)
			if err != nil {
				m.Log.Warn("A node does not tell what it uses", "node", name, "err", err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = u
			return nil
		})
	}
	_ = g.Wait() // none fails
	return out
}

func (m *Metrics) sampler(node string) *sampler {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.samplers == nil {
		m.samplers = map[string]*sampler{}
	}
	s := m.samplers[node]
	if s == nil {
		s = &sampler{source: m.Source, node: node}
		m.samplers[node] = s
	}
	return s
}

// forget the nodes that are gone.
func (m *Metrics) forget(there []*corev1.Node) {
	known := map[string]bool{}
	for _, n := range there {
		known[n.Name] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.samplers {
		if !known[name] {
			delete(m.samplers, name)
		}
	}
}

// storage serves one kind, of which there are no stored objects.
type storage struct {
	resource   string
	namespaced bool
	object     func() runtime.Object
	list       func() runtime.Object
	find       func(ctx context.Context, matches func(metav1.Object) bool) ([]runtime.Object, error)
	usageOf    func(runtime.Object) (corev1.ResourceList, time.Duration)
}

var (
	_ rest.Lister               = storage{}
	_ rest.Getter               = storage{}
	_ rest.Scoper               = storage{}
	_ rest.SingularNameProvider = storage{}
)

func (s storage) New() runtime.Object     { return s.object() }
func (s storage) NewList() runtime.Object { return s.list() }
func (storage) Destroy()                  {}
func (s storage) NamespaceScoped() bool   { return s.namespaced }
func (storage) GetSingularName() string   { return "" }

func (s storage) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	found, err := s.find(ctx, func(o metav1.Object) bool { return o.GetName() == name })
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: metricsv1beta1.GroupName, Resource: s.resource}, name)
	}
	return found[0], nil
}

func (s storage) List(ctx context.Context, o *metainternalversion.ListOptions) (runtime.Object, error) {
	label, field := labels.Everything(), fields.Everything()
	if o != nil && o.LabelSelector != nil {
		label = o.LabelSelector
	}
	if o != nil && o.FieldSelector != nil {
		field = o.FieldSelector
	}
	found, err := s.find(ctx, func(o metav1.Object) bool {
		return label.Matches(labels.Set(o.GetLabels())) && field.Matches(fields.Set{"metadata.name": o.GetName(), "metadata.namespace": o.GetNamespace()})
	})
	if err != nil {
		return nil, err
	}
	list := s.list()
	return list, apimeta.SetList(list, found)
}

func (s storage) ConvertToTable(_ context.Context, obj, _ runtime.Object) (*metav1.Table, error) {
	table := &metav1.Table{ColumnDefinitions: meta.Table(meta.Name(), meta.String("Cpu", "CPU that is used, in cores"),
		meta.String("Memory", "Working set"), meta.String("Window", "Time that CPU is averaged over"))}
	add := func(o runtime.Object) error {
		m, err := apimeta.Accessor(o)
		if err != nil {
			return err
		}
		list, window := s.usageOf(o)
		table.Rows = append(table.Rows, metav1.TableRow{
			Cells: []any{m.GetName(), list.Cpu().String(), list.Memory().String(), window.String()}, Object: runtime.RawExtension{Object: o}})
		return nil
	}
	if apimeta.IsListType(obj) {
		return table, apimeta.EachListItem(obj, add)
	}
	return table, add(obj)
}

// NodeMetrics serves what nodes use.
func (m *Metrics) NodeMetrics() rest.Storage {
	return storage{
		resource: "nodes",
		object:   func() runtime.Object { return &metricsv1beta1.NodeMetrics{} },
		list:     func() runtime.Object { return &metricsv1beta1.NodeMetricsList{} },
		find: func(ctx context.Context, matches func(metav1.Object) bool) (out []runtime.Object, err error) {
			nodes, err := objects.List[*corev1.Node](ctx, m.Nodes, "")
			if err != nil {
				return nil, err
			}
			m.forget(nodes)
			asked := map[string]bool{}
			for _, n := range nodes {
				asked[n.Name] = matches(n)
			}
			used := m.of(ctx, only(asked))
			for _, n := range nodes {
				if u, ok := used[n.Name]; ok && u.Node != nil {
					out = append(out, &metricsv1beta1.NodeMetrics{
						ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: n.Labels, CreationTimestamp: metav1.NewTime(u.At)},
						Timestamp:  metav1.NewTime(u.At), Window: metav1.Duration{Duration: rounded(u.Window)}, Usage: u.Node,
					})
				}
			}
			return out, nil
		},
		usageOf: func(o runtime.Object) (corev1.ResourceList, time.Duration) {
			n := o.(*metricsv1beta1.NodeMetrics)
			return n.Usage, n.Window.Duration
		},
	}
}

// PodMetrics serves what pods use.
func (m *Metrics) PodMetrics() rest.Storage {
	return storage{
		resource: "pods", namespaced: true,
		object: func() runtime.Object { return &metricsv1beta1.PodMetrics{} },
		list:   func() runtime.Object { return &metricsv1beta1.PodMetricsList{} },
		find: func(ctx context.Context, matches func(metav1.Object) bool) (out []runtime.Object, err error) {
			pods, err := objects.List[*corev1.Pod](ctx, m.Pods, request.NamespaceValue(ctx))
			if err != nil {
				return nil, err
			}
			asked := map[string]bool{}
			for _, p := range pods {
				if p.Status.Phase == corev1.PodRunning && matches(p) {
					asked[p.Spec.NodeName] = true
				}
			}
			used := m.of(ctx, only(asked))
			for _, p := range pods {
				if p.Status.Phase != corev1.PodRunning || !matches(p) {
					continue
				}
				u, ok := used[p.Spec.NodeName]
				containers := u.Pods[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}]
				if ok && len(containers) > 0 {
					out = append(out, &metricsv1beta1.PodMetrics{
						ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, CreationTimestamp: metav1.NewTime(u.At)},
						Timestamp:  metav1.NewTime(u.At), Window: metav1.Duration{Duration: rounded(u.Window)}, Containers: containers,
					})
				}
			}
			return out, nil
		},
		usageOf: func(o runtime.Object) (corev1.ResourceList, time.Duration) {
			p := o.(*metricsv1beta1.PodMetrics)
			sum := corev1.ResourceList{}
			for _, c := range p.Containers {
				for name, q := range c.Usage {
					total := sum[name]
					total.Add(q)
					sum[name] = total
				}
			}
			return sum, p.Window.Duration
		},
	}
}

func only(asked map[string]bool) map[string]bool {
	for name, yes := range asked {
		if !yes {
			delete(asked, name)
		}
	}
	return asked
}

func rounded(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
