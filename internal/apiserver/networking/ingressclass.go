package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// An IngressClass says which controller serves an Ingress.
func ingressClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "ingressclasses",
		Singular:     "ingressclass",
		Kind:         "IngressClass",
		New:          func() runtime.Object { return &networkingv1.IngressClass{} },
		NewList:      func() runtime.Object { return &networkingv1.IngressClassList{} },
		Generation:   true,
		Default:      meta.Default(defaultIngressClass),
		Check:        meta.Check(checkIngressClass),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkIngressClassUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Controller", "Controller that is responsible for handling this class"),
			meta.String("Parameters", "A reference to a resource with additional parameters"),
			meta.Created(),
		),
		Row: meta.Row(ingressClassRow),
	}
}

const longestController = 250

func defaultIngressClass(c *networkingv1.IngressClass) {
	if c.Spec.Parameters != nil {
		meta.SetDefault(&c.Spec.Parameters.Scope, networkingv1.IngressClassParametersReferenceScopeCluster)
	}
}

func checkIngressClass(c *networkingv1.IngressClass) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if len(c.Spec.Controller) > longestController {
		errs = append(errs, field.TooLong(path.Child("controller"), "", longestController))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(path.Child("controller"), c.Spec.Controller)...)
	if c.Spec.Parameters != nil {
		errs = append(errs, checkParameters(path.Child("parameters"), c.Spec.Parameters)...)
	}
	return errs
}

func checkParameters(path *field.Path, p *networkingv1.IngressClassParametersReference) field.ErrorList {
	errs := checkReference(path, p.APIGroup, p.Kind, p.Name)
	if p.Scope == nil {
		return append(errs, field.Required(path.Child("scope"), ""))
	}
	switch *p.Scope {
	case networkingv1.IngressClassParametersReferenceScopeNamespace:
		if p.Namespace == nil {
			return append(errs, field.Required(path.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
		}
		return append(errs, meta.DNSLabel(path.Child("namespace"), *p.Namespace)...)
	case networkingv1.IngressClassParametersReferenceScopeCluster:
		if p.Namespace != nil {
			errs = append(errs, field.Forbidden(path.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
		}
		return errs
	}
	return append(errs, field.NotSupported(path.Child("scope"), *p.Scope, []string{
		networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace,
	}))
}

func checkIngressClassUpdate(c, old *networkingv1.IngressClass) field.ErrorList {
	return append(meta.Unchanged(field.NewPath("spec", "controller"), c.Spec.Controller, old.Spec.Controller), checkIngressClass(c)...)
}

func ingressClassRow(c *networkingv1.IngressClass, now metav1.Time) []any {
	name, parameters := c.Name, meta.None
	if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
		name += " (default)"
	}
	if p := c.Spec.Parameters; p != nil {
		parameters = p.Kind
		if p.APIGroup != nil {
			parameters += "." + *p.APIGroup
		}
		parameters += "/" + p.Name
	}
	return []any{name, c.Spec.Controller, parameters, meta.Age(c.CreationTimestamp, now)}
}
