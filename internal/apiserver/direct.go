package apiserver

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/proa-project/proa/internal/apiserver/objects"
)

// direct writes the server's own objects to its stores: their rules apply, the
// handler chain does not. It is for what must be there before anybody calls,
// and would otherwise wait for admission and managed fields to be set up.
type direct struct{ s *Server }

// inside is a request about one namespace that came from nobody.
func inside(ctx context.Context, namespace string) context.Context {
	return request.WithNamespace(request.WithRequestInfo(ctx, &request.RequestInfo{}), namespace)
}

func (d direct) create(ctx context.Context, resource string, obj runtime.Object, o *metav1.CreateOptions) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	d.s.scheme.Default(obj)
	return d.s.stores[resource].Create(inside(ctx, m.GetNamespace()), obj, rest.ValidateAllObjectFunc, o)
}

func (d direct) delete(ctx context.Context, resource, namespace, name string) error {
	_, _, err := d.s.stores[resource].Delete(inside(ctx, namespace), name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{})
	return err
}

// ensure makes obj unless there is one of its name. What is there is changed
// by mend (nil: never), which tells whether it did.
func ensure[T runtime.Object](ctx context.Context, d direct, resource string, obj T, mend func(have T) bool) error {
	return ensureVia(ctx, d, resource, d.s.stores[resource], obj, mend)
}

// ensureVia is ensure with the change made through another endpoint (status).
func ensureVia[T runtime.Object](ctx context.Context, d direct, resource string, via rest.Updater, obj T, mend func(have T) bool) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	err = mendVia(ctx, d, resource, via, m.GetNamespace(), m.GetName(), mend)
	if !apierrors.IsNotFound(err) {
		return err
	}
	if _, err = d.create(ctx, resource, obj, &metav1.CreateOptions{}); err == nil || apierrors.IsAlreadyExists(err) {
		return nil // or another server was quicker
	}
	return fmt.Errorf("%s %s: %w", resource, m.GetName(), err)
}

// mendVia changes an object that is there, if mend (nil: never) changes it.
func mendVia[T runtime.Object](ctx context.Context, d direct, resource string, via rest.Updater, namespace, name string, mend func(have T) bool) error {
	have, err := objects.Get[T](ctx, d.s.stores[resource], namespace, name)
	if err != nil || mend == nil || !mend(have.DeepCopyObject().(T)) {
		return err
	}
	change := rest.DefaultUpdatedObjectInfo(nil, func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
		now := old.DeepCopyObject().(T)
		mend(now)
		return now, nil
	})
	_, _, err = via.Update(inside(ctx, namespace), name, change, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{})
	if err == nil || apierrors.IsConflict(err) {
		return nil // another server was quicker
	}
	return fmt.Errorf("%s %s: %w", resource, name, err)
}
