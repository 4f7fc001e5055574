// Package sysctl decides which kernel settings a pod may have: those that the
// kernel keeps apart for each pod and that can't harm others, and those that the
// node's owner has allowed besides. PURE.
package sysctl

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Reason of a refusal, as clients know it.
const Reason = "SysctlForbidden"

// safe are allowed on every node: upstream's list, for kernels from 5.10 on.
var safe = []string{
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
	"net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat",
}

// namespaces that settings are kept apart in, by the beginnings of their names
// (sysctl(7), namespaces(7)).
var namespaces = []struct{ prefix, name string }{
	{"kernel.shm", "ipc"}, {"kernel.msg", "ipc"}, {"kernel.sem", "ipc"}, {"fs.mqueue.", "ipc"}, {"net.", "net"}, {"user.", "user"},
}

func namespace(name string) string {
	for _, n := range namespaces {
		if strings.HasPrefix(name, n.prefix) {
			return n.name
		}
	}
	return ""
}

// Allowed are names and beginnings of names (ending in *) that pods may set.
type Allowed []string

// New is the safe settings and what the node's owner allows.
func New(unsafe []string) (Allowed, field.ErrorList) {
	var errs field.ErrorList
	out := append(Allowed(nil), safe...)
	for i, pattern := range unsafe {
		name := normal(strings.TrimSuffix(pattern, "*"))
		if namespace(name) == "" {
			errs = append(errs, field.Invalid(field.NewPath("allowedUnsafeSysctls").Index(i), pattern,
				"is not known to be kept apart for each pod; there are kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*, net.* and user.*"))
			continue
		}
		if strings.HasSuffix(pattern, "*") {
			name += "*"
		}
		out = append(out, name)
	}
	return out, errs
}

// Refuse says why the pod may not have what it wants, or nothing.
func (a Allowed) Refuse(pod *v1.Pod) string {
	if pod.Spec.SecurityContext == nil {
		return ""
	}
	hosts := map[string]bool{
		"net": pod.Spec.HostNetwork, "ipc": pod.Spec.HostIPC, "user": pod.Spec.HostUsers == nil || *pod.Spec.HostUsers,
	}
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		name := normal(s.Name)
		if !a.has(name) {
			return fmt.Sprintf("forbidden sysctl: %q not allowlisted", name)
		}
		if ns := namespace(name); hosts[ns] {
			return fmt.Sprintf("forbidden sysctl: %q not allowed with host %s enabled", name, ns)
		}
	}
	return ""
}

func (a Allowed) has(name string) bool {
	for _, pattern := range a {
		if prefix, open := strings.CutSuffix(pattern, "*"); name == pattern || open && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// normal writes a name with dots: "net/ipv4/conf/eth0.100/x" is a name too, whose
// dots belong to the link's name.
func normal(name string) string {
	first := strings.IndexAny(name, "./")
	if first < 0 || name[first] == '.' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}
