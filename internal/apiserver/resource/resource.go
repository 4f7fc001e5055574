// Package resource describes a served API resource as a value. An API group's
// folder (core, apps, batch …) returns its resources as a list of these; the
// server turns each into storage, routes and discovery. Every function in a
// Resource is pure: it may change only the object it is handed and reads no
// clock, client or global.
package resource

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Resource is one kind as the API serves it. The external type of
// k8s.io/api is at once the wire type, the stored type and the hub.
type Resource struct {
	GroupVersion schema.GroupVersion
	Name         string // plural, lower case: "pods"
	Singular     string // "pod"
	Kind         string // "Pod"
	ShortNames   []string
	Categories   []string // "all"
	Namespaced   bool

	New     func() runtime.Object
	NewList func() runtime.Object

	// Default fills fields that are unset. It runs on every object that is
	// decoded, from a client or from the store, so it must be idempotent.
	Default func(obj runtime.Object)

	// Generation: metadata.generation is set to 1 at creation and raised by
	// the server whenever the spec (see SpecOf) changed. A nil SpecOf means
	// everything but metadata and status.
	Generation bool
	SpecOf     func(obj runtime.Object) any

	Update                                                                  // of the resource itself; its Create hooks are below
	Prepare   func(ctx context.Context, obj runtime.Object)                 // before creation: clear status, set what the server owns
	Check     func(ctx context.Context, obj runtime.Object) field.ErrorList // at creation; all errors at once
	Warn      func(ctx context.Context, obj runtime.Object) []string        // at creation; nil = none
	CheckName func(name string, prefix bool) []string                       // metadata.name rule; nil = DNS subdomain

	// StatusAtCreation: the author may set status together with the object, as
	// a node's agent does; else it is cleared.
	StatusAtCreation bool

	// Delete reports the grace in seconds a deletion gets (nil hook, or
	// ok false: deleted at once). It sees the grace that was asked for, nil when unset.
	Delete func(obj runtime.Object, asked *int64) (grace int64, ok bool)

	// Subresources that are another way to update the same object, by name:
	// "status", "ephemeralcontainers", "resize", "approval", "finalize" …
	Subresources map[string]Update

	// Fields returns what a field selector may name beside metadata.name and
	// metadata.namespace; the keys present are exactly the selectable ones
	// (a key must be present also when its value is empty).
	Fields func(obj runtime.Object) fields.Set
	// StoredField is what the kind that stores the object calls a field of Fields,
	// where one kind is served in two shapes; nil = the same.
	StoredField func(name string) string
	// IndexField, if set, names the field of Fields that watches are most often
	// narrowed by ("spec.nodeName" of pods).
	IndexField string

	// Table output as kubectl get shows it. Nil Row = name and age only.
	Columns []metav1.TableColumnDefinition
	Row     func(obj runtime.Object, now metav1.Time) []any
	// Conditions marks a row (pods: "Completed"); nil = none.
	RowConditions func(obj runtime.Object) []metav1.TableRowCondition
}

// Update is one way to change an existing object.
type Update struct {
	PrepareUpdate func(ctx context.Context, obj, old runtime.Object)
	CheckUpdate   func(ctx context.Context, obj, old runtime.Object) field.ErrorList
	WarnUpdate    func(ctx context.Context, obj, old runtime.Object) []string
	// Reset lists the field paths that this way of updating never writes
	// ("status" for the resource itself, "spec" and "metadata" for status), for
	// managed fields.
	Reset [][]string
	// Unconditional allows an update without resourceVersion.
	Unconditional bool
	// CreateOnUpdate allows PUT to create the object.
	CreateOnUpdate bool
}
