package networking

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A NetworkPolicy says who may talk with its pods.
func networkPolicies() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "networkpolicies",
		Singular:     "networkpolicy",
		Kind:         "NetworkPolicy",
		ShortNames:   []string{"netpol"},
		Namespaced:   true,
		New:          func() runtime.Object { return &networkingv1.NetworkPolicy{} },
		NewList:      func() runtime.Object { return &networkingv1.NetworkPolicyList{} },
		Generation:   true,
		Default:      meta.Default(defaultNetworkPolicy),
		Check:        meta.Check(func(p *networkingv1.NetworkPolicy) field.ErrorList { return checkNetworkPolicy(p, nil) }),
		Warn:         meta.Warn(warnNetworkPolicy),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkNetworkPolicy),
			WarnUpdate:    meta.WarnUpdate(func(p, _ *networkingv1.NetworkPolicy) []string { return warnNetworkPolicy(p) }),
			Unconditional: true,
		},
		Columns: meta.Table(meta.Name(), meta.String("Pod-Selector", networkingv1.NetworkPolicySpec{}.SwaggerDoc()["podSelector"]), meta.Created()),
		Row: meta.Row(func(p *networkingv1.NetworkPolicy, now metav1.Time) []any {
			return []any{p.Name, metav1.FormatLabelSelector(&p.Spec.PodSelector), meta.Age(p.CreationTimestamp, now)}
		}),
	}
}

// rule is an ingress or egress rule: ports, and the peers at the other end.
type rule struct {
	path  *field.Path
	ports []networkingv1.NetworkPolicyPort
	peers []networkingv1.NetworkPolicyPeer
	ends  *field.Path // of the peers: from or to
}

func rules(p *networkingv1.NetworkPolicy) []rule {
	var all []rule
	for i, r := range p.Spec.Ingress {
		path := field.NewPath("spec", "ingress").Index(i)
		all = append(all, rule{path, r.Ports, r.From, path.Child("from")})
	}
	for i, r := range p.Spec.Egress {
		path := field.NewPath("spec", "egress").Index(i)
		all = append(all, rule{path, r.Ports, r.To, path.Child("to")})
	}
	return all
}

func defaultNetworkPolicy(p *networkingv1.NetworkPolicy) {
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	for _, r := range rules(p) {
		for i := range r.ports {
			meta.SetDefault(&r.ports[i].Protocol, corev1.ProtocolTCP)
		}
	}
}

// checkNetworkPolicy: old is nil at creation.
func checkNetworkPolicy(p, old *networkingv1.NetworkPolicy) field.ErrorList {
	path := field.NewPath("spec")
	var stored []string // address ranges
	var selector *metav1.LabelSelector
	if old != nil {
		selector = &old.Spec.PodSelector
		for _, r := range rules(old) {
			for _, peer := range r.peers {
				if peer.IPBlock != nil {
					stored = append(append(stored, peer.IPBlock.CIDR), peer.IPBlock.Except...)
				}
			}
		}
	}
	errs := meta.SelectorUpdate(path.Child("podSelector"), &p.Spec.PodSelector, selector)
	for _, r := range rules(p) {
		for i := range r.ports {
			errs = append(errs, checkPolicyPort(r.path.Child("ports").Index(i), &r.ports[i])...)
		}
		for i := range r.peers {
			errs = append(errs, checkPeer(r.ends.Index(i), &r.peers[i], selector, stored)...)
		}
	}
	if len(p.Spec.PolicyTypes) > 2 {
		return append(errs, field.Invalid(path.Child("policyTypes"), &p.Spec.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range p.Spec.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			errs = append(errs, field.NotSupported(path.Child("policyTypes").Index(i), t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}))
		}
	}
	return errs
}

func checkPolicyPort(path *field.Path, p *networkingv1.NetworkPolicyPort) field.ErrorList {
	var errs field.ErrorList
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	if p.Protocol != nil && len(meta.Supported(nil, *p.Protocol, protocols...)) > 0 {
		errs = append(errs, field.NotSupported(path.Child("protocol"), *p.Protocol, protocols))
	}
	end := path.Child("endPort")
	switch {
	case p.Port == nil:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is not specified"))
		}
	case p.Port.Type == intstr.Int:
		errs = append(errs, meta.Port(path.Child("port"), p.Port.IntVal)...)
		if p.EndPort != nil {
			if *p.EndPort < p.Port.IntVal {
				errs = append(errs, field.Invalid(end, *p.EndPort, "must be greater than or equal to `port`"))
			}
			errs = append(errs, meta.Port(end, *p.EndPort)...)
		}
	default:
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(end, *p.EndPort, "may not be specified when `port` is non-numeric"))
		}
		errs = append(errs, meta.Invalid(path.Child("port"), p.Port.StrVal, validation.IsValidPortName(p.Port.StrVal))...)
	}
	return errs
}

func checkPeer(path *field.Path, p *networkingv1.NetworkPolicyPeer, selector *metav1.LabelSelector, stored []string) field.ErrorList {
	var errs field.ErrorList
	if p.PodSelector != nil {
		errs = append(errs, meta.SelectorUpdate(path.Child("podSelector"), p.PodSelector, selector)...)
	}
	if p.NamespaceSelector != nil {
		errs = append(errs, meta.SelectorUpdate(path.Child("namespaceSelector"), p.NamespaceSelector, selector)...)
	}
	if p.IPBlock != nil {
		errs = append(errs, checkIPBlock(path.Child("ipBlock"), p.IPBlock, stored)...)
	}
	switch pods := p.PodSelector != nil || p.NamespaceSelector != nil; {
	case !pods && p.IPBlock == nil:
		errs = append(errs, field.Required(path, "must specify a peer"))
	case pods && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func checkIPBlock(path *field.Path, b *networkingv1.IPBlock, stored []string) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := meta.CIDR(path.Child("cidr"), b.CIDR, stored...)
	_, whole, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return errs
	}
	for i, text := range b.Except {
		at := path.Child("except").Index(i)
		errs = append(errs, meta.CIDR(at, text, stored...)...)
		_, except, err := netutils.ParseCIDRSloppy(text)
		if err != nil {
			continue
		}
		wide, _ := whole.Mask.Size()
		narrow, _ := except.Mask.Size()
		if !whole.Contains(except.IP) || wide >= narrow {
			errs = append(errs, field.Invalid(at, text, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

// warnNetworkPolicy tells of ranges in an odd notation.
func warnNetworkPolicy(p *networkingv1.NetworkPolicy) []string {
	var warnings []string
	for _, r := range rules(p) {
		for i, peer := range r.peers {
			if peer.IPBlock == nil {
				continue
			}
			path := r.ends.Index(i).Child("ipBlock")
			warnings = append(warnings, validation.GetWarningsForCIDR(path.Child("cidr"), peer.IPBlock.CIDR)...)
			for j, except := range peer.IPBlock.Except {
				warnings = append(warnings, validation.GetWarningsForCIDR(path.Child("except").Index(j), except)...)
			}
		}
	}
	return warnings
}
