package scheduler

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// quantities of resources: CPU in thousandths, everything else in its unit.
type quantities map[v1.ResourceName]int64

func quantitiesOf(list v1.ResourceList) quantities {
	q := make(quantities, len(list))
	for name, amount := range list {
		if name == v1.ResourceCPU {
			q[name] = amount.MilliValue()
		} else {
			q[name] = amount.Value()
		}
	}
	return q
}

func (q quantities) add(other quantities) {
	for name, amount := range other {
		q[name] += amount
	}
}

func (q quantities) subtract(other quantities) {
	for name, amount := range other {
		q[name] -= amount
	}
}

// What a container that asks for nothing is taken to use when nodes are compared,
// so that such pods spread too. The figures are the field's.
var presumed = v1.ResourceList{
	v1.ResourceCPU:    resource.MustParse("100m"),
	v1.ResourceMemory: resource.MustParse("200Mi"),
}

// requestsOf a pod: what its node must have free for it.
func requestsOf(pod *v1.Pod) quantities {
	return quantitiesOf(resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{
		UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true,
	}))
}

// presumedOf a pod: the CPU and memory that it is taken to use.
func presumedOf(pod *v1.Pod) quantities {
	q := quantitiesOf(resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{
		UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true, NonMissingContainerRequests: presumed,
	}))
	return quantities{v1.ResourceCPU: q[v1.ResourceCPU], v1.ResourceMemory: q[v1.ResourceMemory]}
}

// hostPort is a port of a node that a pod takes; "" of ip is every address.
type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

func (p hostPort) conflicts(q hostPort) bool {
	return p.port == q.port && p.protocol == q.protocol && (p.ip == q.ip || p.ip == "" || q.ip == "")
}

func hostPortsOf(pod *v1.Pod) (ports []hostPort) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			for _, p := range containers[i].Ports {
				if p.HostPort != 0 {
					ports = append(ports, hostPort{anyAddress(p.HostIP), p.Protocol, p.HostPort})
				}
			}
		}
	}
	return ports
}

func anyAddress(ip string) string {
	if ip == "0.0.0.0" || ip == "::" {
		return ""
	}
	return ip
}
