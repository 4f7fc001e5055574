package node

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"

	"github.com/proa-project/proa/internal/node/execute"
)

// objects asks the API for what pods refer to, at the moment of use: a container
// is started with what is true then, and no Secret of others is ever held here.
type objects struct {
	client   kubernetes.Interface
	services listers.ServiceLister
	synced   func() bool // services
}

var _ execute.Objects = (*objects)(nil)

// The text of these errors is shown to users as it stands: `configmap "x" not found`.

func (o *objects) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return o.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (o *objects) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return o.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (o *objects) Services(context.Context) ([]*v1.Service, error) {
	if !o.synced() {
		return nil, errors.New("the list of services is not there yet")
	}
	return o.services.List(labels.Everything())
}

func (o *objects) RuntimeHandler(ctx context.Context, class string) (string, error) {
	rc, err := o.client.NodeV1().RuntimeClasses().Get(ctx, class, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to get RuntimeClass %s: %w", class, err)
	}
	return rc.Handler, nil
}
