// Package rootca puts the cluster's certificate authority into every namespace,
// as the ConfigMap that service-account volumes take ca.crt from.
package rootca

import (
	"context"
	"maps"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/proa-project/proa/internal/controllers/reconcile"
)

const name = "kube-root-ca.crt"

// description is the annotation that tells a reader what the ConfigMap is for.
const description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."

// New publishes the PEM bundle ca. A ConfigMap that was changed or deleted is put right.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, ca []byte) (*reconcile.Loop, error) {
	core := factory.Core().V1()
	want := map[string]string{"ca.crt": string(ca)}
	namespaces := core.Namespaces().Lister()
	configMaps := client.CoreV1().ConfigMaps
	loop := reconcile.New("rootca", 1, func(ctx context.Context, key string) error {
		ns, err := namespaces.Get(key)
		if apierrors.IsNotFound(err) || err == nil && ns.Status.Phase == v1.NamespaceTerminating {
			return nil
		}
		if err != nil {
			return err
		}
		have, err := configMaps(key).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			made := &v1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"kubernetes.io/description": description}},
				Data:       want,
			}
			_, err = configMaps(key).Create(ctx, made, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) || apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause) {
				return nil
			}
			return err
		case err != nil || maps.Equal(have.Data, want):
			return err
		}
		have = have.DeepCopy()
		have.Data = want
		_, err = configMaps(key).Update(ctx, have, metav1.UpdateOptions{})
		return err
	})
	if err := loop.Watch(core.Namespaces().Informer(), nil); err != nil {
		return nil, err
	}
	return loop, loop.Watch(core.ConfigMaps().Informer(), func(o any) []string {
		if m := o.(*v1.ConfigMap); m.Name == name {
			return []string{m.Namespace}
		}
		return nil
	})
}
