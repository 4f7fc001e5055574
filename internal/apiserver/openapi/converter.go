package openapi

import (
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/proa-project/proa/internal/apiserver/openapi/definitions"
)

// Converter is the type converter of every kind in a scheme. Making it takes
// some 50 ms, so that happens at the first use or in the background (Warm).
type Converter struct {
	scheme *runtime.Scheme
	once   sync.Once
	c      managedfields.TypeConverter
	err    error
}

var _ managedfields.TypeConverter = (*Converter)(nil)

func NewConverter(s *runtime.Scheme) *Converter { return &Converter{scheme: s} }

// Warm makes the converter unless that is done or going on, and waits for it.
func (c *Converter) Warm() error {
	c.once.Do(func() { c.c, c.err = managedfields.NewTypeConverter(schemas(c.scheme), false) })
	return c.err
}

func (c *Converter) ObjectToTyped(obj runtime.Object, o ...typed.ValidationOptions) (*typed.TypedValue, error) {
	if err := c.Warm(); err != nil {
		return nil, err
	}
	return c.c.ObjectToTyped(obj, o...)
}

func (c *Converter) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	if err := c.Warm(); err != nil {
		return nil, err
	}
	return c.c.TypedToObject(v)
}

// schemas are the definitions, each kind's marked with what it is called.
func schemas(s *runtime.Scheme) map[string]*spec.Schema {
	defs := definitions.GetOpenAPIDefinitions(func(name string) spec.Ref {
		return spec.MustCreateRef("#/components/schemas/" + common.EscapeJsonPointer(name))
	})
	out := make(map[string]*spec.Schema, len(defs))
	for name, def := range defs {
		out[name] = &def.Schema
	}
	for gvk, t := range s.AllKnownTypes() {
		m, ok := reflect.New(t).Interface().(interface{ OpenAPIModelName() string })
		if !ok || gvk.Version == runtime.APIVersionInternal {
			continue
		}
		if schema := out[m.OpenAPIModelName()]; schema != nil {
			addKind(schema, map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind})
		}
	}
	return out
}

const kindExtension = "x-kubernetes-group-version-kind"

func addKind(schema *spec.Schema, kind map[string]any) {
	if schema.Extensions == nil {
		schema.Extensions = spec.Extensions{}
	}
	kinds, _ := schema.Extensions[kindExtension].([]any)
	schema.Extensions[kindExtension] = append(kinds, kind)
}
