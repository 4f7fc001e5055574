package dns

import (
	"net/netip"
	"strings"
)

// kind of name below the cluster's domain.
type kind int

const (
	unknownName   kind = iota
	branchName         // exists, and has no records: the zone's own branches
	versionName        // dns-version
	serverName         // ns.dns
	namespaceName      // NS.svc, NS.pod
	serviceName        // SVC.NS.svc
	portName           // _PORT._PROTO.SVC.NS.svc
	endpointName       // HOST.SVC.NS.svc
	podName            // A-B-C-D.NS.pod
)

// name is what the labels of a question say.
type name struct {
	kind                                      kind
	namespace, service, endpoint, port, proto string
	addr                                      netip.Addr // of a pod's name
}

// parse reads the labels below the cluster's domain, lower case.
func parse(labels []string) name {
	n := len(labels)
	if n == 0 {
		return name{kind: branchName}
	}
	switch labels[n-1] {
	case "svc":
		return parseService(labels[:n-1])
	case "pod":
		return parsePod(labels[:n-1])
	case "dns-version":
		if n == 1 {
			return name{kind: versionName}
		}
	case "dns":
		if n == 1 {
			return name{kind: branchName}
		}
		if n == 2 && labels[0] == "ns" {
			return name{kind: serverName}
		}
	}
	return name{}
}

func parseService(labels []string) name {
	switch n := len(labels); n {
	case 0:
		return name{kind: branchName}
	case 1:
		return name{kind: namespaceName, namespace: labels[0]}
	case 2:
		return name{kind: serviceName, namespace: labels[1], service: labels[0]}
	case 3:
		if strings.HasPrefix(labels[0], "_") { // _tcp.SVC.NS.svc is on the way to a port's name
			return name{}
		}
		return name{kind: endpointName, namespace: labels[2], service: labels[1], endpoint: labels[0]}
	case 4:
		port, isPort := strings.CutPrefix(labels[0], "_")
		proto, isProto := strings.CutPrefix(labels[1], "_")
		if isPort && isProto {
			return name{kind: portName, namespace: labels[3], service: labels[2], port: port, proto: proto}
		}
	}
	return name{}
}

func parsePod(labels []string) name {
	switch len(labels) {
	case 0:
		return name{kind: branchName}
	case 1:
		return name{kind: namespaceName, namespace: labels[0]}
	case 2:
		if a, ok := dashed(labels[0]); ok {
			return name{kind: podName, namespace: labels[1], addr: a}
		}
	}
	return name{}
}

// dashed reads an address whose dots or colons are dashes.
func dashed(label string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ".")); err == nil {
		return a, true
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(label, "-", ":"))
	return a, err == nil
}

// dash is the label of an address.
func dash(a netip.Addr) string { return strings.NewReplacer(".", "-", ":", "-").Replace(a.String()) }

// reversed reads a full name below in-addr.arpa or ip6.arpa.
func reversed(labels []string) (netip.Addr, bool) {
	n := len(labels)
	if n < 2 || labels[n-1] != "arpa" {
		return netip.Addr{}, false
	}
	parts := labels[:n-2]
	var text strings.Builder
	switch {
	case labels[n-2] == "in-addr" && len(parts) == 4:
		for i := 3; i >= 0; i-- {
			text.WriteString(parts[i])
			if i > 0 {
				text.WriteByte('.')
			}
		}
	case labels[n-2] == "ip6" && len(parts) == 32:
		for i := 31; i >= 0; i-- {
			text.WriteString(parts[i])
			if i%4 == 0 && i > 0 {
				text.WriteByte(':')
			}
		}
	}
	a, err := netip.ParseAddr(text.String())
	return a, err == nil
}
