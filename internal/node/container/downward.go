package container

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/fieldpath"
	resourcehelper "k8s.io/kubectl/pkg/util/resource"

	"github.com/proa-project/proa/internal/kit/pods"
)

// Node is what a pod may learn of its node, and what the node gives every pod.
type Node struct {
	Name          string
	IPs           []string // the primary one first
	ClusterDomain string   // "cluster.local"
	ClusterDNS    []string // addresses of the cluster's resolvers; none = pods use the node's
	Resolver      Resolver // the node's own
	HostsFile     string   // contents of the node's own /etc/hosts, for pods with hostNetwork
	Allocatable   v1.ResourceList
	MemoryBytes   int64 // capacity, for oom_score_adj
	CgroupV2      bool
	SwapControl   bool  // the memory controller limits swap too
	SwapBytes     int64 // capacity
	Limits        LimitPolicy

	LogDir     string // D/log/pods
	SeccompDir string // where Localhost profiles are
	// Thermal are files of the CPUs' heat, by which one can tell what others
	// compute; hidden like maskedPaths.
	Thermal []string
}

// LimitPolicy is how the node's owner wants containers held back; the zero value
// is the stock one, but for seccomp.
type LimitPolicy struct {
	// LimitedSwap lets burstable containers swap, in proportion to their requests.
	LimitedSwap bool
	// OneProcessOOM kills only the process that ran out of memory, with cgroup v2 too.
	OneProcessOOM bool
	// NoSeccompDefault leaves containers that name no seccomp profile without one.
	NoSeccompDefault bool
}

// fieldValue resolves a fieldRef of the environment.
func fieldValue(pod *v1.Pod, path string, node Node) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(node.IPs), nil
	case "status.hostIPs":
		return strings.Join(node.IPs, ","), nil
	case "status.podIP":
		return first(podIPs(pod)), nil
	case "status.podIPs":
		return strings.Join(podIPs(pod), ","), nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

func podIPs(pod *v1.Pod) []string {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if ips == nil && pod.Status.PodIP != "" {
		ips = []string{pod.Status.PodIP}
	}
	return ips
}

// resourceValue resolves a resourceFieldRef.
func resourceValue(pod *v1.Pod, own *v1.Container, ref *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
	c := own
	if ref.ContainerName != "" && ref.ContainerName != own.Name {
		if c = find(pod, ref.ContainerName); c == nil {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
	}
	c = c.DeepCopy()
	c.Resources.Limits = pods.EffectiveLimits(pod, c, allocatable)
	return resourcehelper.ExtractContainerResourceValue(ref, c)
}

func find(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
