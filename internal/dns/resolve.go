package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	v1 "k8s.io/api/core/v1"
)

// specification is the version that dns-version tells of.
const specification = "1.1.0"

// maxAliases is how many ExternalNames may lead to one another.
const maxAliases = 8

// Zone answers for the names of a cluster.
type Zone struct {
	Domain  string         // of the cluster, without dots at its ends
	Servers []netip.Addr   // where pods reach the resolver
	Own     []netip.Prefix // of pods and services: addresses there have our names or none
	TTL     uint32         // seconds
	Catalog Catalog
}

// Answer to a question about a name of ours.
type Answer struct {
	Rcode   int
	Records []dns.RR
	Extra   []dns.RR
	// Outside is a name that the last record is an alias of, and that others
	// must be asked about; "" if there is none.
	Outside string
}

// Resolve answers q; it says false where the name is not ours.
func (z *Zone) Resolve(q dns.Question) (Answer, bool) {
	labels := dns.SplitDomainName(strings.ToLower(q.Name))
	if below, ok := z.below(labels); ok {
		return z.resolve(q, below, 0), true
	}
	if addr, ok := reversed(labels); ok {
		return z.reverse(q, addr)
	}
	return Answer{}, false
}

// below cuts the cluster's domain off.
func (z *Zone) below(labels []string) ([]string, bool) {
	domain := strings.Split(strings.ToLower(z.Domain), ".")
	n := len(labels) - len(domain)
	if n < 0 || !slices.Equal(labels[n:], domain) {
		return nil, false
	}
	return labels[:n], true
}

func (z *Zone) resolve(q dns.Question, labels []string, aliases int) Answer {
	n := parse(labels)
	switch n.kind {
	case branchName:
		if len(labels) == 0 {
			return z.apex(q)
		}
		return Answer{}
	case versionName:
		if q.Qtype == dns.TypeTXT {
			return Answer{Records: []dns.RR{&dns.TXT{Hdr: z.header(q.Name, dns.TypeTXT), Txt: []string{specification}}}}
		}
		return Answer{}
	case serverName:
		return z.addresses(q, z.Servers)
	case namespaceName:
		if z.Catalog.Namespace(n.namespace) {
			return Answer{}
		}
	case podName:
		if z.Catalog.Namespace(n.namespace) {
			return z.addresses(q, []netip.Addr{n.addr})
		}
	case serviceName, portName, endpointName:
		if s, ok := z.Catalog.Service(n.namespace, n.service); ok {
			return z.service(q, n, s, aliases)
		}
	}
	return Answer{Rcode: dns.RcodeNameError}
}

// apex is the domain itself.
func (z *Zone) apex(q dns.Question) Answer {
	switch q.Qtype {
	case dns.TypeSOA:
		return Answer{Records: []dns.RR{z.SOA()}}
	case dns.TypeNS:
		server := z.serverName()
		return Answer{
			Records: []dns.RR{&dns.NS{Hdr: z.header(q.Name, dns.TypeNS), Ns: server}},
			Extra:   z.hostRecords(server, z.Servers),
		}
	}
	return Answer{}
}

func (z *Zone) serverName() string { return "ns.dns." + z.Domain + "." }

// SOA goes with every answer that there is nothing. Its serial is constant:
// nobody transfers the zone.
func (z *Zone) SOA() dns.RR {
	return &dns.SOA{
		Hdr: z.header(z.Domain+".", dns.TypeSOA), Ns: z.serverName(), Mbox: "hostmaster." + z.Domain + ".",
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: z.TTL,
	}
}

func (z *Zone) service(q dns.Question, n name, s *v1.Service, aliases int) Answer {
	if s.Spec.Type == v1.ServiceTypeExternalName {
		if n.kind != serviceName {
			return Answer{Rcode: dns.RcodeNameError}
		}
		return z.alias(q, s.Spec.ExternalName, aliases)
	}
	hosts := z.hosts(n, s)
	if len(hosts) == 0 {
		return Answer{Rcode: dns.RcodeNameError} // also a headless service without ready endpoints, says the specification
	}
	if q.Qtype == dns.TypeSRV {
		return z.ports(q, hosts)
	}
	var addrs []netip.Addr
	for _, h := range hosts {
		addrs = append(addrs, h.addrs...)
	}
	return z.addresses(q, addrs)
}

// alias follows an ExternalName as far as it stays inside.
func (z *Zone) alias(q dns.Question, target string, aliases int) Answer {
	target = dns.Fqdn(target)
	if _, ok := dns.IsDomainName(target); !ok || aliases == maxAliases {
		return Answer{Rcode: dns.RcodeServerFailure}
	}
	cname := []dns.RR{&dns.CNAME{Hdr: z.header(q.Name, dns.TypeCNAME), Target: target}}
	if q.Qtype == dns.TypeCNAME {
		return Answer{Records: cname}
	}
	below, ok := z.below(dns.SplitDomainName(strings.ToLower(target)))
	if !ok {
		return Answer{Records: cname, Outside: target}
	}
	next := z.resolve(dns.Question{Name: target, Qtype: q.Qtype, Qclass: q.Qclass}, below, aliases+1)
	next.Records = append(cname, next.Records...)
	return next
}

// reverse: PTR records of services and endpoints.
func (z *Zone) reverse(q dns.Question, addr netip.Addr) (Answer, bool) {
	names := z.namesOf(addr)
	if len(names) == 0 {
		own := slices.ContainsFunc(z.Own, func(p netip.Prefix) bool { return p.Contains(addr) })
		return Answer{Rcode: dns.RcodeNameError}, own
	}
	if q.Qtype != dns.TypePTR {
		return Answer{}, true
	}
	var a Answer
	for _, n := range names {
		a.Records = append(a.Records, &dns.PTR{Hdr: z.header(q.Name, dns.TypePTR), Ptr: n})
	}
	return a, true
}

func (z *Zone) namesOf(addr netip.Addr) (names []string) {
	for _, s := range z.Catalog.ServicesAt(addr) {
		names = append(names, z.fqdn(s.Name, s.Namespace))
	}
	if len(names) > 0 {
		return names
	}
	for _, slice := range z.Catalog.SlicesAt(addr) {
		s, ok := z.Catalog.Service(slice.Namespace, serviceOf(slice))
		if !ok || s.Spec.ClusterIP != v1.ClusterIPNone {
			continue
		}
		for _, h := range z.endpointHosts(s, slice) {
			if slices.Contains(h.addrs, addr) && !slices.Contains(names, h.name) {
				names = append(names, h.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func (z *Zone) fqdn(service, namespace string) string {
	return service + "." + namespace + ".svc." + z.Domain + "."
}

func (z *Zone) header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: z.TTL}
}
