package admit

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
)

// Plugin is an admission plugin over one kind. Mutate and Validate may be nil.
type Plugin[T runtime.Object] struct {
	Name         string
	Resource     schema.GroupResource
	Subresources []string // that it looks at too; the resource itself always
	Operations   []admission.Operation
	Mutate       func(ctx context.Context, r Request[T]) error
	Check        func(ctx context.Context, r Request[T]) error
}

// Request is one object on its way in.
type Request[T runtime.Object] struct {
	admission.Attributes
	Object T
	Old    T // zero unless it is an update
}

var (
	_ admission.MutationInterface   = Plugin[runtime.Object]{}
	_ admission.ValidationInterface = Plugin[runtime.Object]{}
)

func (p Plugin[T]) Handles(o admission.Operation) bool { return slices.Contains(p.Operations, o) }

func (p Plugin[T]) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return p.call(ctx, a, p.Mutate)
}

func (p Plugin[T]) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	return p.call(ctx, a, p.Check)
}

func (p Plugin[T]) call(ctx context.Context, a admission.Attributes, f func(context.Context, Request[T]) error) error {
	if f == nil || a.GetResource().GroupResource() != p.Resource ||
		a.GetSubresource() != "" && !slices.Contains(p.Subresources, a.GetSubresource()) {
		return nil
	}
	r := Request[T]{Attributes: a}
	r.Object, _ = a.GetObject().(T)
	r.Old, _ = a.GetOldObject().(T)
	return f(ctx, r)
}

var (
	pods   = schema.GroupResource{Resource: "pods"}
	nodes  = schema.GroupResource{Resource: "nodes"}
	claims = schema.GroupResource{Resource: "persistentvolumeclaims"}

	onCreate = []admission.Operation{admission.Create}
	onWrite  = []admission.Operation{admission.Create, admission.Update}
)
