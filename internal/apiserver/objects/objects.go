// Package objects reads the server's own storage for the server's own needs
// (authentication, admission): from the watch cache, so at the cost of a map
// look-up, and from etcd what is not in it yet.
package objects

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Get reads one object; what it returns is shared and not to be changed.
func Get[T runtime.Object](ctx context.Context, from rest.Getter, namespace, name string) (T, error) {
	ctx = inside(ctx, namespace)
	obj, err := from.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		obj, err = from.Get(ctx, name, &metav1.GetOptions{})
	}
	if err != nil {
		var none T
		return none, err
	}
	return obj.(T), nil
}

// List reads all objects of a namespace ("": all), from the cache only.
func List[T runtime.Object](ctx context.Context, from rest.Lister, namespace string) (out []T, err error) {
	return Select[T](ctx, from, namespace, &metainternalversion.ListOptions{})
}

// Select is List of those that match selectors.
func Select[T runtime.Object](ctx context.Context, from rest.Lister, namespace string, o *metainternalversion.ListOptions) (out []T, err error) {
	o.ResourceVersion = "0"
	list, err := from.List(inside(ctx, namespace), o)
	if err != nil {
		return nil, err
	}
	err = meta.EachListItem(list, func(obj runtime.Object) error {
		out = append(out, obj.(T))
		return nil
	})
	return out, err
}

// inside: the request that is being answered is about something else.
func inside(ctx context.Context, namespace string) context.Context {
	return request.WithNamespace(request.WithRequestInfo(ctx, &request.RequestInfo{}), namespace)
}
