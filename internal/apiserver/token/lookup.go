package token

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/proa-project/proa/internal/apiserver/objects"
)

// Stores looks objects up in the server's own storage: in the watch cache, and
// in etcd what is not there (yet).
type Stores struct{ Accounts, Pods, Secrets, Nodes rest.Getter }

var _ Lookup = Stores{}

func (s Stores) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return objects.Get[*corev1.ServiceAccount](ctx, s.Accounts, namespace, name)
}

func (s Stores) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return objects.Get[*corev1.Pod](ctx, s.Pods, namespace, name)
}

func (s Stores) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return objects.Get[*corev1.Secret](ctx, s.Secrets, namespace, name)
}

func (s Stores) Node(ctx context.Context, name string) (*corev1.Node, error) {
	return objects.Get[*corev1.Node](ctx, s.Nodes, "", name)
}
