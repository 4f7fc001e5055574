// Package serviceaccount gives every namespace its "default" service account.
package serviceaccount

import (
	"context"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

const name = "default"

// New watches namespaces, and service accounts so that a deleted one comes back.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	namespaces, accounts := core.Namespaces().Lister(), core.ServiceAccounts().Lister()
	loop := reconcile.New("serviceaccount", 1, func(ctx context.Context, key string) error {
		ns, err := namespaces.Get(key)
		if apierrors.IsNotFound(err) || err == nil && ns.Status.Phase == v1.NamespaceTerminating {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := accounts.ServiceAccounts(key).Get(name); !apierrors.IsNotFound(err) {
			return err
		}
		account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err = client.CoreV1().ServiceAccounts(key).Create(ctx, account, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
			return nil
		}
		return err
	})
	if err := loop.Watch(core.Namespaces().Informer(), nil); err != nil {
		return nil, err
	}
	return loop, loop.Watch(core.ServiceAccounts().Informer(), func(o any) []string {
		if account := o.(*v1.ServiceAccount); account.Name == name {
			return []string{account.Namespace}
		}
		return nil
	})
}
