package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ServiceCIDR is a range that services get addresses of.
func serviceCIDRs() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "servicecidrs",
		Singular:     "servicecidr",
		Kind:         "ServiceCIDR",
		New:          func() runtime.Object { return &networkingv1.ServiceCIDR{} },
		NewList:      func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
		Check:        meta.Check(checkServiceCIDR),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkServiceCIDRUpdate),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			Reset:         [][]string{{"metadata"}, {"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(meta.Name(), meta.String("CIDRs", networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"]), meta.Created()),
		Row: meta.Row(func(c *networkingv1.ServiceCIDR, now metav1.Time) []any {
			return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func checkServiceCIDR(c *networkingv1.ServiceCIDR) field.ErrorList {
	path, cidrs := field.NewPath("spec", "cidrs"), c.Spec.CIDRs
	switch {
	case len(cidrs) == 0:
		return field.ErrorList{field.Required(path, "at least one CIDR required")}
	case len(cidrs) > 2:
		return field.ErrorList{field.Invalid(path, c.Spec, "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, cidr := range cidrs {
		errs = append(errs, validation.IsValidCIDR(path.Index(i), cidr)...)
	}
	if len(cidrs) == 2 {
		a, b := netutils.IPFamilyOfCIDRString(cidrs[0]), netutils.IPFamilyOfCIDRString(cidrs[1])
		if a == b && a != netutils.IPFamilyUnknown {
			errs = append(errs, field.Invalid(path, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}

// checkServiceCIDRUpdate: a range stays, for addresses of it are in use; one of
// the other family may be added.
func checkServiceCIDRUpdate(c, old *networkingv1.ServiceCIDR) field.ErrorList {
	path, cidrs, before := field.NewPath("spec", "cidrs"), c.Spec.CIDRs, old.Spec.CIDRs
	added := len(before) == 1 && len(cidrs) == 2
	if len(cidrs) != len(before) && !added {
		return field.ErrorList{field.Invalid(path, cidrs, meta.Immutable)}
	}
	var errs field.ErrorList
	for i := range before {
		if cidrs[i] != before[i] {
			errs = append(errs, field.Invalid(path.Index(i), cidrs[i], meta.Immutable))
		}
	}
	if added {
		errs = append(errs, checkServiceCIDR(c)...)
	}
	return errs
}
