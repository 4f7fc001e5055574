package container

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Limits of resolv.conf, as upstream keeps them.
const (
	maxNameservers  = 3
	maxSearches     = 32
	maxSearchLength = 2048
)

// Resolver is the contents of a resolv.conf.
type Resolver struct {
	Servers, Searches, Options []string
}

// ParseResolver reads a resolv.conf.
func ParseResolver(data string) Resolver {
	var r Resolver
	for line := range strings.Lines(data) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			r.Servers = append(r.Servers, f[1])
		case "search":
			r.Searches = nil
			for _, s := range f[1:] {
				if s = strings.TrimSuffix(s, "."); s != "" {
					r.Searches = append(r.Searches, s)
				}
			}
		case "options":
			r.Options = append(r.Options, f[1:]...)
		}
	}
	return r
}

// resolverOf is what the pod gets, and what it wanted and does not get for the limits.
func resolverOf(pod *v1.Pod, node Node) (got Resolver, left []string) {
	return wantedResolver(pod, node).fit()
}

// wantedResolver of a pod, by its dnsPolicy and dnsConfig.
func wantedResolver(pod *v1.Pod, node Node) Resolver {
	r := policyResolver(pod, node)
	if c := pod.Spec.DNSConfig; c != nil {
		r.Servers = union(r.Servers, c.Nameservers)
		r.Searches = union(r.Searches, c.Searches)
		r.Options = mergeOptions(r.Options, c.Options)
	}
	return r
}

// fit keeps to the limits. What is left out is told in upstream's words.
func (r Resolver) fit() (fitting Resolver, left []string) {
	servers, searches := len(r.Servers), len(r.Searches)
	r.Servers = r.Servers[:min(servers, maxNameservers)]
	r.Searches = r.Searches[:min(searches, maxSearches)]
	for len(strings.Join(r.Searches, " ")) > maxSearchLength {
		r.Searches = r.Searches[:len(r.Searches)-1]
	}
	if len(r.Servers) < servers {
		left = append(left, "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "+strings.Join(r.Servers, " "))
	}
	if len(r.Searches) < searches {
		left = append(left, "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "+strings.Join(r.Searches, " "))
	}
	return r, left
}

// OmittedDNS says what of its name resolution a pod does not get, for the limits
// that resolvers have.
func OmittedDNS(pod *v1.Pod, node Node) []string {
	_, left := resolverOf(pod, node)
	return left
}

func policyResolver(pod *v1.Pod, node Node) Resolver {
	switch pod.Spec.DNSPolicy {
	case v1.DNSNone:
		return Resolver{}
	case v1.DNSDefault:
		return node.Resolver
	case v1.DNSClusterFirst:
		if pod.Spec.HostNetwork {
			return node.Resolver
		}
	}
	if len(node.ClusterDNS) == 0 {
		return node.Resolver
	}
	d := node.ClusterDomain
	return Resolver{
		Servers:  node.ClusterDNS,
		Searches: union([]string{pod.Namespace + ".svc." + d, "svc." + d, d}, node.Resolver.Searches),
		Options:  []string{"ndots:5"},
	}
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// mergeOptions lets an option of the pod replace one of the same name.
func mergeOptions(have []string, own []v1.PodDNSConfigOption) []string {
	var out []string
	for _, o := range have {
		name, _, _ := strings.Cut(o, ":")
		if !slices.ContainsFunc(own, func(p v1.PodDNSConfigOption) bool { return p.Name == name }) {
			out = append(out, o)
		}
	}
	for _, o := range own {
		if o.Value != nil {
			out = append(out, o.Name+":"+*o.Value)
		} else {
			out = append(out, o.Name)
		}
	}
	return out
}

func dnsConfig(pod *v1.Pod, node Node) *runtimeapi.DNSConfig {
	r, _ := resolverOf(pod, node)
	return &runtimeapi.DNSConfig{Servers: r.Servers, Searches: r.Searches, Options: r.Options}
}
