package podstatus

import (
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// Input is all that a status is made of.
type Input struct {
	Pod *v1.Pod // with the API's status, or that of the mirror pod
	// Previous is the status generated last, or the zero value: what it knows that
	// nothing else does (times of transition, addresses of a stopped pod) is kept.
	Previous v1.PodStatus
	Observed podlife.Observed
	Memory   podlife.Memory
	// HostIPs of the node, at most one a family, the primary one first.
	HostIPs []string
	// Runtime names the runtime in container IDs: "proa" makes proa://….
	Runtime string
	// RecursiveReadOnly: the runtime can make a mount read-only with all below it.
	RecursiveReadOnly bool
	Now               time.Time
}

// Generate makes the status.
func Generate(in Input) v1.PodStatus {
	s := *in.Pod.Status.DeepCopy()
	s.ObservedGeneration = in.Pod.Generation
	s.QOSClass = podlife.QoS(in.Pod)
	if !in.Memory.StartTime.IsZero() {
		start := asSent(in.Memory.StartTime)
		s.StartTime = &start
	}
	s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses = nil, nil, nil
	if !rejected(in.Memory) {
		s.InitContainerStatuses = initStatuses(in)
		s.ContainerStatuses = mainStatuses(in)
		s.EphemeralContainerStatuses = ephemeralStatuses(in)
	}
	setPhase(in, &s)
	closeRecords(in, &s)
	setResources(in, &s)
	setAddresses(in, &s)
	s.Conditions = conditions(in, &s)
	return s
}

// rejected pods never had containers: to show some as waiting would hide the reason.
func rejected(m podlife.Memory) bool {
	return m.Stop != nil && m.Stop.Kind == podlife.StopRejected
}

// setAddresses: a pod keeps the addresses that it had when its sandbox is gone.
func setAddresses(in Input, s *v1.PodStatus) {
	if len(in.HostIPs) > 0 {
		s.HostIP, s.HostIPs = in.HostIPs[0], nil
		for _, ip := range in.HostIPs {
			s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
		}
	}
	ips := PodIPs(in.Pod, in.Observed, in.HostIPs)
	if len(ips) == 0 {
		if len(in.Previous.PodIPs) > 0 {
			s.PodIP, s.PodIPs = in.Previous.PodIP, in.Previous.PodIPs
		}
		return
	}
	s.PodIP, s.PodIPs = ips[0], nil
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
	}
}

// PodIPs are the pod's addresses, the family of the node's primary one first.
func PodIPs(pod *v1.Pod, o podlife.Observed, hostIPs []string) []string {
	if pod.Spec.HostNetwork {
		if len(o.Sandboxes) == 0 && len(pod.Status.PodIPs) == 0 {
			return nil
		}
		return hostIPs
	}
	for _, sb := range o.Sandboxes {
		if sb.Ready {
			return byFamily(sb.IPs, hostIPs)
		}
	}
	return nil
}

// byFamily picks one address a family.
func byFamily(ips, hostIPs []string) []string {
	sixFirst := len(hostIPs) > 0 && is6(hostIPs[0])
	var four, six []string
	for _, ip := range ips {
		switch {
		case is6(ip) && len(six) == 0:
			six = append(six, ip)
		case !is6(ip) && len(four) == 0:
			four = append(four, ip)
		}
	}
	if sixFirst {
		return append(six, four...)
	}
	return append(four, six...)
}

func is6(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.Is6() && !a.Is4In6()
}
