package networking

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// An Ingress routes HTTP requests from outside to services.
func ingresses() resource.Resource {
	return resource.Resource{
		GroupVersion: networkingv1.SchemeGroupVersion,
		Name:         "ingresses",
		Singular:     "ingress",
		Kind:         "Ingress",
		ShortNames:   []string{"ing"},
		Namespaced:   true,
		New:          func() runtime.Object { return &networkingv1.Ingress{} },
		NewList:      func() runtime.Object { return &networkingv1.IngressList{} },
		Generation:   true,
		Check:        meta.Check(checkIngressCreation),
		Warn:         meta.Warn(warnIngress),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkIngress),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkIngressStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Class", "The name of the IngressClass resource that should be used for additional configuration"),
			meta.String("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
			meta.String("Address", "Address is a list containing ingress points for the load-balancer"),
			meta.String("Ports", "Ports of TLS configurations that open"),
			meta.Created(),
		),
		Row: meta.Row(ingressRow),
	}
}

// classAnnotation named the class before spec.ingressClassName did.
const classAnnotation = "kubernetes.io/ingress.class"

func warnIngress(g *networkingv1.Ingress) []string {
	if _, set := g.Annotations[classAnnotation]; !set || g.Spec.IngressClassName != nil {
		return nil
	}
	return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", classAnnotation)}
}

func checkIngressCreation(g *networkingv1.Ingress) field.ErrorList {
	errs := checkIngress(g, nil)
	class, set := g.Annotations[classAnnotation]
	if set && g.Spec.IngressClassName != nil && class != *g.Spec.IngressClassName {
		errs = append(errs, field.Invalid(field.NewPath("annotations").Child(classAnnotation), class, "must match `ingressClassName` when both are specified"))
	}
	return errs
}

// checkIngress: old is nil at creation.
func checkIngress(g, old *networkingv1.Ingress) field.ErrorList {
	path, spec := field.NewPath("spec"), &g.Spec
	var errs field.ErrorList
	if len(spec.Rules) == 0 && spec.DefaultBackend == nil {
		errs = append(errs, field.Invalid(path, spec.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if spec.DefaultBackend != nil {
		errs = append(errs, checkBackend(path.Child("defaultBackend"), spec.DefaultBackend)...)
	}
	lenient := old != nil && slices.ContainsFunc(old.Spec.Rules, func(r networkingv1.IngressRule) bool {
		return strings.Contains(r.Host, "*") && len(checkHTTP(nil, r.HTTP)) > 0
	})
	for i, rule := range spec.Rules {
		at := path.Child("rules").Index(i)
		if rule.Host != "" {
			if netutils.ParseIPSloppy(rule.Host) != nil {
				errs = append(errs, field.Invalid(at.Child("host"), rule.Host, "must be a DNS name, not an IP address"))
			}
			errs = append(errs, checkHost(at.Child("host"), rule.Host)...)
		}
		if !lenient || !strings.Contains(rule.Host, "*") {
			errs = append(errs, checkHTTP(at.Child("http"), rule.HTTP)...)
		}
	}
	errs = append(errs, checkTLS(path.Child("tls"), g, old)...)
	if class := spec.IngressClassName; class != nil {
		errs = append(errs, meta.Invalid(path.Child("ingressClassName"), *class, apivalidation.NameIsDNSSubdomain(*class, false))...)
	}
	return errs
}

func checkHost(path *field.Path, host string) field.ErrorList {
	if strings.Contains(host, "*") {
		return meta.Invalid(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return meta.DNSSubdomain(path, host)
}

func checkTLS(path *field.Path, g, old *networkingv1.Ingress) field.ErrorList {
	var errs field.ErrorList
	wrongSecret := func(t networkingv1.IngressTLS) bool {
		return t.SecretName != "" && len(validation.IsDNS1123Subdomain(t.SecretName)) > 0
	}
	lenient := old != nil && slices.ContainsFunc(old.Spec.TLS, wrongSecret)
	for i, tls := range g.Spec.TLS {
		for j, host := range tls.Hosts {
			errs = append(errs, checkHost(path.Index(i).Child("hosts").Index(j), host)...)
		}
		if wrongSecret(tls) && !lenient {
			errs = append(errs, meta.DNSSubdomain(path.Index(i).Child("secretName"), tls.SecretName)...)
		}
	}
	return errs
}

func checkHTTP(path *field.Path, http *networkingv1.HTTPIngressRuleValue) field.ErrorList {
	if http == nil {
		return nil
	}
	path = path.Child("paths")
	if len(http.Paths) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for i := range http.Paths {
		errs = append(errs, checkHTTPPath(path.Index(i), &http.Paths[i])...)
	}
	return errs
}

func checkHTTPPath(path *field.Path, p *networkingv1.HTTPIngressPath) field.ErrorList {
	if p.PathType == nil {
		return field.ErrorList{field.Required(path.Child("pathType"), "pathType must be specified")}
	}
	var errs field.ErrorList
	at := path.Child("path")
	absolute := func() {
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(at, p.Path, "must be an absolute path"))
		}
	}
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		absolute()
		// What servers would normalize away, each in its own manner.
		for _, part := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, part) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("must not contain '%s'", part)))
			}
		}
		for _, end := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, end) {
				errs = append(errs, field.Invalid(at, p.Path, fmt.Sprintf("cannot end with '%s'", end)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" {
			absolute()
		}
	default:
		errs = append(errs, meta.Supported(path.Child("pathType"), *p.PathType,
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)...)
	}
	return append(errs, checkBackend(path.Child("backend"), &p.Backend)...)
}

func checkBackend(path *field.Path, b *networkingv1.IngressBackend) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(path, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return checkReference(path.Child("resource"), b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name)
	case b.Service != nil:
		return checkServiceBackend(path, b.Service)
	}
	return field.ErrorList{field.Invalid(path, "", "resource or service backend is required")}
}

func checkServiceBackend(path *field.Path, s *networkingv1.IngressServiceBackend) field.ErrorList {
	name, port := path.Child("service", "name"), path.Child("service", "port")
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(name, ""))
	} else {
		errs = append(errs, meta.Invalid(name, s.Name, apivalidation.NameIsDNSLabel(s.Name, false))...)
	}
	switch named, numbered := s.Port.Name != "", s.Port.Number != 0; {
	case named && numbered:
		return append(errs, field.Invalid(path, "", "cannot set both port name & port number"))
	case named:
		return append(errs, meta.Invalid(port.Child("name"), s.Port.Name, validation.IsValidPortName(s.Port.Name))...)
	case numbered:
		return append(errs, meta.Port(port.Child("number"), s.Port.Number)...)
	}
	return append(errs, field.Required(path, "port name or number is required"))
}

// checkReference checks a reference to an object of any kind.
func checkReference(path *field.Path, group *string, kind, name string) field.ErrorList {
	var errs field.ErrorList
	if group != nil {
		errs = meta.DNSSubdomain(path.Child("apiGroup"), *group)
	}
	return meta.Join(errs, meta.PathSegment(path.Child("kind"), kind, ""), meta.PathSegment(path.Child("name"), name, ""))
}

func checkIngressStatus(g, old *networkingv1.Ingress) field.ErrorList {
	var stored []string
	for _, point := range old.Status.LoadBalancer.Ingress {
		stored = append(stored, point.IP)
	}
	var errs field.ErrorList
	for i, point := range g.Status.LoadBalancer.Ingress {
		path := field.NewPath("status", "loadBalancer", "ingress").Index(i)
		if point.IP != "" {
			errs = append(errs, meta.IP(path.Child("ip"), point.IP, stored...)...)
		}
		if point.Hostname != "" {
			errs = append(errs, meta.DNSSubdomain(path.Child("hostname"), point.Hostname)...)
			if netutils.ParseIPSloppy(point.Hostname) != nil {
				errs = append(errs, field.Invalid(path.Child("hostname"), point.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

func ingressRow(g *networkingv1.Ingress, now metav1.Time) []any {
	ports := "80"
	if len(g.Spec.TLS) > 0 {
		ports = "80, 443"
	}
	points := sets.New[string]()
	for _, point := range g.Status.LoadBalancer.Ingress {
		if address := cmp.Or(point.IP, point.Hostname); address != "" {
			points.Insert(address)
		}
	}
	return []any{
		g.Name, meta.Deref(g.Spec.IngressClassName, meta.None), hostsCell(g.Spec.Rules), strings.Join(sets.List(points), ","),
		ports, meta.Age(g.CreationTimestamp, now),
	}
}

// hostsCell shows the hosts among the first rules, three at most; the rest is
// counted in rules.
func hostsCell(rules []networkingv1.IngressRule) string {
	const shown = 3
	var hosts []string
	more := false
	for _, rule := range rules {
		if len(hosts) == shown {
			more = true
			break
		}
		if rule.Host != "" {
			hosts = append(hosts, rule.Host)
		}
	}
	switch {
	case len(hosts) == 0:
		return "*"
	case more:
		return fmt.Sprintf("%s + %d more...", strings.Join(hosts, ","), len(rules)-shown)
	}
	return strings.Join(hosts, ",")
}
