package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// An IPAddress is named by an address that is taken, and says by whom.
func ipAddresses() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "ipaddresses",
		Singular:     "ipaddress",
		Kind:         "IPAddress",
		ShortNames:   []string{"ip"},
		New:          func() runtime.Object { return &networkingv1.IPAddress{} },
		NewList:      func() runtime.Object { return &networkingv1.IPAddressList{} },
		Check:        meta.Check(checkIPAddress),
		CheckName:    checkIPName,
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkIPAddressUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("ParentRef", networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"])),
		Row:     meta.Row(ipAddressRow),
	}
}

func checkIPName(name string, _ bool) []string {
	var messages []string
	for _, err := range validation.IsValidIP(&field.Path{}, name) {
		messages = append(messages, err.Detail)
	}
	return messages
}

func checkIPAddress(a *networkingv1.IPAddress) field.ErrorList {
	path, parent := field.NewPath("spec", "parentRef"), a.Spec.ParentRef
	if parent == nil {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if parent.Group != "" { // the core group has no name
		errs = append(errs, meta.DNSSubdomain(path.Child("group"), parent.Group)...)
	}
	errs = append(errs, meta.PathSegment(path.Child("resource"), parent.Resource, "")...)
	errs = append(errs, meta.PathSegment(path.Child("name"), parent.Name, "")...)
	if parent.Namespace != "" {
		errs = append(errs, meta.PathSegment(path.Child("namespace"), parent.Namespace, "")...)
	}
	return errs
}

func checkIPAddressUpdate(a, old *networkingv1.IPAddress) field.ErrorList {
	return append(checkIPAddress(a), meta.Unchanged(field.NewPath("spec", "parentRef"), a.Spec.ParentRef, old.Spec.ParentRef)...)
}

func ipAddressRow(a *networkingv1.IPAddress, _ metav1.Time) []any {
	cell := meta.None
	if p := a.Spec.ParentRef; p != nil {
		cell = strings.ToLower(schema.GroupResource{Group: p.Group, Resource: p.Resource}.String())
		if p.Namespace != "" {
			cell += "/" + p.Namespace
		}
		cell += "/" + p.Name
	}
	return []any{a.Name, cell}
}
