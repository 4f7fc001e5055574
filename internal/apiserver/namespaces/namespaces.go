// Package namespaces stores namespaces, whose deletion is unlike others': the
// first DELETE only marks the namespace Terminating; when all in it is gone the
// controller takes "kubernetes" from spec.finalizers and the object goes too.
package namespaces

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storeerr "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"

	"github.com/proa-project/proa/internal/apiserver/registry"
)

var namespacesResource = schema.GroupResource{Resource: "namespaces"}

// REST is the store of namespaces with their own deletion.
type REST struct{ store *registry.Store }

var (
	_ rest.Getter                     = (*REST)(nil)
	_ rest.Lister                     = (*REST)(nil)
	_ rest.Watcher                    = (*REST)(nil)
	_ rest.CreaterUpdater             = (*REST)(nil)
	_ rest.GracefulDeleter            = (*REST)(nil)
	_ rest.MayReturnFullObjectDeleter = (*REST)(nil)
)

// New wraps the store of namespaces. It changes store, so its subresources
// are to be made after it.
func New(store *registry.Store) *REST {
	store.ReturnDeletedObject = true
	store.ShouldDeleteDuringUpdate = func(ctx context.Context, key string, obj, old runtime.Object) bool {
		return len(obj.(*corev1.Namespace).Spec.Finalizers) == 0 && genericregistry.ShouldDeleteDuringUpdate(ctx, key, obj, old)
	}
	return &REST{store}
}

// Delete marks the namespace, or deletes it if it was marked and emptied.
func (r *REST) Delete(ctx context.Context, name string, check rest.ValidateObjectFunc, o *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, err := r.store.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return nil, false, err
	}
	ns := obj.(*corev1.Namespace)
	if o == nil {
		o = metav1.NewDeleteOptions(0)
	}
	if err := pin(o, ns); err != nil {
		return nil, false, err
	}
	if !ns.DeletionTimestamp.IsZero() {
		if len(ns.Spec.Finalizers) != 0 {
			return ns, false, nil
		}
		return r.store.Delete(ctx, name, check, o)
	}
	out, err := r.mark(ctx, name, check, o)
	return out, false, err
}

func (r *REST) mark(ctx context.Context, name string, check rest.ValidateObjectFunc, o *metav1.DeleteOptions) (runtime.Object, error) {
	key, err := r.store.KeyFunc(ctx, name)
	if err != nil {
		return nil, err
	}
	out := &corev1.Namespace{}
	err = r.store.Storage.GuaranteedUpdate(ctx, key, out, false,
		&storage.Preconditions{UID: o.Preconditions.UID, ResourceVersion: o.Preconditions.ResourceVersion},
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			if err := check(ctx, obj); err != nil {
				return nil, err
			}
			terminate(obj.(*corev1.Namespace), o, metav1.Now())
			return obj, nil
		}), dryrun.IsDryRun(o.DryRun), nil)
	if err == nil {
		return out, nil
	}
	err = storeerr.InterpretUpdateError(storeerr.InterpretGetError(err, namespacesResource, name), namespacesResource, name)
	if status := (*apierrors.StatusError)(nil); !errors.As(err, &status) {
		err = apierrors.NewInternalError(err)
	}
	return nil, err
}

// terminate is what the first DELETE does to the object.
func terminate(ns *corev1.Namespace, o *metav1.DeleteOptions, now metav1.Time) {
	if ns.DeletionTimestamp.IsZero() {
		ns.DeletionTimestamp = &now
	}
	ns.Status.Phase = corev1.NamespaceTerminating
	setFinalizer(ns, metav1.FinalizerOrphanDependents, wants(o, metav1.DeletePropagationOrphan, true))
	setFinalizer(ns, metav1.FinalizerDeleteDependents, wants(o, metav1.DeletePropagationForeground, false))
}

// wants tells whether the options ask for a policy's finalizer; nil: they don't say.
func wants(o *metav1.DeleteOptions, policy metav1.DeletionPropagation, orphan bool) *bool {
	//nolint:staticcheck // OrphanDependents is deprecated, not gone
	if o.OrphanDependents != nil {
		yes := *o.OrphanDependents == orphan
		return &yes
	}
	if o.PropagationPolicy != nil {
		yes := *o.PropagationPolicy == policy
		return &yes
	}
	return nil
}

func setFinalizer(ns *corev1.Namespace, name string, want *bool) {
	if want == nil {
		return
	}
	var kept []string
	for _, f := range ns.Finalizers {
		if f != name {
			kept = append(kept, f)
		}
	}
	if *want {
		kept = append(kept, name)
	}
	ns.Finalizers = kept
}

// pin makes sure that the namespace that was read is the one that is deleted.
func pin(o *metav1.DeleteOptions, ns *corev1.Namespace) error {
	if o.Preconditions == nil {
		o.Preconditions = &metav1.Preconditions{}
	}
	p := o.Preconditions
	if p.UID == nil {
		p.UID = &ns.UID
	}
	if *p.UID != ns.UID {
		return apierrors.NewConflict(namespacesResource, ns.Name,
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, ns.UID)) //nolint:staticcheck // the API's wording
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != ns.ResourceVersion {
		return apierrors.NewConflict(namespacesResource, ns.Name,
			fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, ns.ResourceVersion)) //nolint:staticcheck // the API's wording
	}
	return nil
}
