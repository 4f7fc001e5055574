package apiserver

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/proa-project/proa/internal/apiserver/admit"
	"github.com/proa-project/proa/internal/apiserver/objects"
)

// admission is the chain that every write passes, in upstream's order: what
// mutates first, then what counts, last what others decide.
func (s *Server) admission(a authorizer.Authorizer) (admission.Interface, error) {
	namespaces, err := s.namespaceLifecycle()
	if err != nil {
		return nil, err
	}
	limits := func(ctx context.Context, namespace string) ([]*corev1.LimitRange, error) {
		return list[*corev1.LimitRange](ctx, s, "limitranges", namespace)
	}
	priorities := func(ctx context.Context) ([]*schedulingv1.PriorityClass, error) {
		return list[*schedulingv1.PriorityClass](ctx, s, "priorityclasses.scheduling.k8s.io", "")
	}
	security, err := admit.NewPodSecurity(getter[*corev1.Namespace](s, "namespaces"),
		func(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
			return list[*corev1.Pod](ctx, s, "pods", namespace)
		})
	if err != nil {
		return nil, err
	}
	policies, err := s.policies(a)
	if err != nil {
		return nil, err
	}
	quotas, err := s.quotas()
	if err != nil {
		return nil, err
	}
	return admission.NewChainHandler(append(append([]admission.Interface{
		namespaces,
		admit.PodLimits(limits),
		admit.ClaimLimits(limits),
		admit.ServiceAccounts(func(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
			return s.lookup.ServiceAccount(ctx, namespace, name)
		}),
		admit.RestrictNodes(s.nodeObjects(a)),
		admit.TaintNewNodes(),
		security,
		admit.PodPriority(getter[*schedulingv1.PriorityClass](s, "priorityclasses.scheduling.k8s.io"), priorities),
		admit.OneDefaultPriority(priorities),
		admit.DefaultTolerations(),
		admit.ClaimResize(getter[*storagev1.StorageClass](s, "storageclasses.storage.k8s.io")),
		admit.ProtectClaims(),
		admit.ProtectVolumes(),
		admit.PodResize(getter[*corev1.Node](s, "nodes")),
		admit.LabelTopology(getter[*corev1.Node](s, "nodes")),
		admit.RuntimeClasses(getter[*nodev1.RuntimeClass](s, "runtimeclasses.node.k8s.io")),
		admit.Approvals(a),
		admit.Signatures(a),
		admit.Attestations(a),
		admit.Subjects(),
		admit.DefaultIngressClass(lister[*networkingv1.IngressClass](s, "ingressclasses.networking.k8s.io")),
		admit.DefaultStorageClass(lister[*storagev1.StorageClass](s, "storageclasses.storage.k8s.io")),
	}, policies...), quotas)...), nil
}

// quotas come last: what another plugin refuses must not be counted.
func (s *Server) quotas() (admission.Interface, error) {
	plugin, counts, err := admit.Quotas(time.Now)
	if err != nil {
		return nil, err
	}
	initializer.New(s.client, nil, s.informers, nil, nil, nil, s.stopped, nil).Initialize(plugin)
	plugin.SetQuotaConfiguration(counts)
	return plugin, plugin.ValidateInitialization()
}

// namespaceLifecycle refuses new objects where there is no namespace or it is ending.
func (s *Server) namespaceLifecycle() (admission.Interface, error) {
	l, err := lifecycle.NewLifecycle(sets.New(metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic))
	if err != nil {
		return nil, err
	}
	initializer.New(s.client, nil, s.informers, nil, nil, nil, nil, nil).Initialize(l)
	return l, l.ValidateInitialization()
}

// The helpers below read the server's own stores, which are made after the chain.

func list[T runtime.Object](ctx context.Context, s *Server, resource, namespace string) ([]T, error) {
	return objects.List[T](ctx, s.stores[resource], namespace)
}

func lister[T runtime.Object](s *Server, resource string) func(context.Context) ([]T, error) {
	return func(ctx context.Context) ([]T, error) { return list[T](ctx, s, resource, "") }
}

func getter[T runtime.Object](s *Server, resource string) func(context.Context, string) (T, error) {
	return func(ctx context.Context, name string) (T, error) {
		return objects.Get[T](ctx, s.stores[resource], "", name)
	}
}

func namespaced[T runtime.Object](s *Server, resource string) func(context.Context, string, string) (T, error) {
	return func(ctx context.Context, namespace, name string) (T, error) {
		return objects.Get[T](ctx, s.stores[resource], namespace, name)
	}
}
