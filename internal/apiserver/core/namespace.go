package core

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Namespaces describes the namespace. Its life: Active until it is deleted, then
// Terminating while the namespace controller empties it; spec.finalizers holds it
// until the controller takes "kubernetes" off through the finalize subresource.
func Namespaces() resource.Resource {
	return resource.Resource{
		GroupVersion: v1.SchemeGroupVersion,
		Name:         "namespaces",
		Singular:     "namespace",
		Kind:         "Namespace",
		ShortNames:   []string{"ns"},
		New:          func() runtime.Object { return &v1.Namespace{} },
		NewList:      func() runtime.Object { return &v1.NamespaceList{} },
		Default:      meta.Default(defaultNamespace),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(ns, old *v1.Namespace) {
				ns.Spec.Finalizers = old.Spec.Finalizers
				ns.Status = old.Status
			}),
			CheckUpdate:   meta.CheckUpdate(func(ns, _ *v1.Namespace) field.ErrorList { return checkNamespace(ns) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Prepare:   meta.Prepare(prepareNamespace),
		Check:     meta.Check(checkNamespace),
		CheckName: apivalidation.ValidateNamespaceName,
		Subresources: map[string]resource.Update{
			"status": {
				PrepareUpdate: meta.PrepareUpdate(func(ns, old *v1.Namespace) { ns.Spec = old.Spec }),
				CheckUpdate:   meta.CheckUpdate(func(ns, _ *v1.Namespace) field.ErrorList { return checkNamespacePhase(ns) }),
				Reset:         [][]string{{"spec"}},
				Unconditional: true,
			},
			"finalize": {
				PrepareUpdate: meta.PrepareUpdate(func(ns, old *v1.Namespace) { ns.Status = old.Status }),
				CheckUpdate: meta.CheckUpdate(func(ns, _ *v1.Namespace) field.ErrorList {
					at := field.NewPath("spec", "finalizers")
					return checkFinalizers(ns.Spec.Finalizers, func(i int) *field.Path { return at.Index(i) })
				}),
				Reset:         [][]string{{"status"}},
				Unconditional: true,
			},
		},
		Fields: meta.Fields(func(ns *v1.Namespace) fields.Set {
			return fields.Set{"status.phase": string(ns.Status.Phase), "name": ns.Name} // "name" is older than metadata.name
		}),
		Columns: meta.Table(meta.Name(), meta.String("Status", "The status of the namespace"), meta.Created()),
		Row: meta.Row(func(ns *v1.Namespace, now metav1.Time) []any {
			return []any{ns.Name, string(ns.Status.Phase), meta.Age(ns.CreationTimestamp, now)}
		}),
	}
}

// defaultNamespace gives every namespace its name as a label, for selectors.
func defaultNamespace(ns *v1.Namespace) {
	if ns.Name != "" { // it has none yet when it is to be generated
		metav1.SetMetaDataLabel(&ns.ObjectMeta, v1.LabelMetadataName, ns.Name)
	}
	if ns.Status.Phase == "" {
		ns.Status.Phase = v1.NamespaceActive
	}
}

func prepareNamespace(ns *v1.Namespace) {
	ns.Status = v1.NamespaceStatus{Phase: v1.NamespaceActive}
	if !slices.Contains(ns.Spec.Finalizers, v1.FinalizerKubernetes) {
		ns.Spec.Finalizers = append(ns.Spec.Finalizers, v1.FinalizerKubernetes)
	}
	defaultNamespace(ns) // by now a generated name is there
}

func checkNamespace(ns *v1.Namespace) field.ErrorList {
	at := field.NewPath("spec", "finalizers")
	return checkFinalizers(ns.Spec.Finalizers, func(int) *field.Path { return at })
}

func checkFinalizers(finalizers []v1.FinalizerName, at func(int) *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, name := range finalizers {
		errs = append(errs, apivalidation.ValidateFinalizerName(string(name), at(i))...)
		errs = append(errs, meta.Finalizer(at(i), string(name))...)
	}
	return errs
}

// checkNamespacePhase: the phase follows from whether it has been deleted.
func checkNamespacePhase(ns *v1.Namespace) field.ErrorList {
	at, phase := field.NewPath("status", "Phase"), ns.Status.Phase
	switch {
	case ns.DeletionTimestamp.IsZero() && phase != v1.NamespaceActive:
		return field.ErrorList{field.Invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty")}
	case !ns.DeletionTimestamp.IsZero() && phase != v1.NamespaceTerminating:
		return field.ErrorList{field.Invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}
