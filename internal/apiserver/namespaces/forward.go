package namespaces

import (
	"context"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// What follows is the store's. It is listed, not embedded, since namespaces
// have no DELETE on the collection, and a method's presence would offer it.

func (r *REST) New() runtime.Object                    { return r.store.New() }
func (r *REST) NewList() runtime.Object                { return r.store.NewList() }
func (r *REST) Destroy()                               { r.store.Destroy() }
func (r *REST) NamespaceScoped() bool                  { return false }
func (r *REST) GetSingularName() string                { return r.store.GetSingularName() }
func (r *REST) ShortNames() []string                   { return r.store.ShortNames() }
func (r *REST) StorageVersion() runtime.GroupVersioner { return r.store.StorageVersion() }
func (r *REST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.store.GetResetFields()
}
func (r *REST) DeleteReturnsDeletedObject() bool { return true }

func (r *REST) Get(ctx context.Context, name string, o *metav1.GetOptions) (runtime.Object, error) {
	return r.store.Get(ctx, name, o)
}

func (r *REST) List(ctx context.Context, o *metainternalversion.ListOptions) (runtime.Object, error) {
	return r.store.List(ctx, o)
}

func (r *REST) Watch(ctx context.Context, o *metainternalversion.ListOptions) (watch.Interface, error) {
	return r.store.Watch(ctx, o)
}

func (r *REST) ConvertToTable(ctx context.Context, obj, o runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, obj, o)
}

func (r *REST) Create(ctx context.Context, obj runtime.Object, check rest.ValidateObjectFunc, o *metav1.CreateOptions) (runtime.Object, error) {
	return r.store.Create(ctx, obj, check, o)
}

func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, force bool, o *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return r.store.Update(ctx, name, info, create, update, force, o)
}
