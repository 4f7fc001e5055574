package evict

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// systemCritical is the least priority that the system's own classes have.
const systemCritical = 2_000_000_000

// Pod is a running pod and what it uses.
type Pod struct {
	*v1.Pod
	Usage Usage
}

// Usage is in bytes and pieces. Disk is local ephemeral storage: layers, logs, volumes on the node's disk.
type Usage struct {
	Memory, Disk, Inodes, Processes int64
	Containers                      map[string]ContainerUsage
	// Volumes are the bytes of volumes that have them counted.
	Volumes map[string]int64
}

// ContainerUsage is one container's part.
type ContainerUsage struct {
	Memory, Disk int64
}

// critical pods are never evicted: static ones, which nothing brings elsewhere, and the system's.
func critical(pod *v1.Pod) bool {
	if pod.Annotations["kubernetes.io/config.mirror"] != "" {
		return true
	}
	if source := pod.Annotations["kubernetes.io/config.source"]; source != "" && source != "api" {
		return true
	}
	return pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical
}

// rank sorts pods for a signal, who goes first: those that use more than they asked for, then the least important, then those
// that use most beyond what they asked for. (QoS follows from that: Guaranteed pods never use more than they asked for.)
func rank(pods []Pod, signal Signal) []Pod {
	out := slices.Clone(pods)
	slices.SortStableFunc(out, func(a, b Pod) int {
		over := func(p *Pod) int64 { return excess(p, signal) }
		exceeds := 0
		if requestable(signal) {
			exceeds = -cmp.Compare(sign(over(&a)), sign(over(&b)))
		}
		return cmp.Or(exceeds, cmp.Compare(priority(a.Pod), priority(b.Pod)), -cmp.Compare(over(&a), over(&b)), cmp.Compare(a.UID, b.UID))
	})
	return out
}

func sign(n int64) int {
	if n > 0 {
		return 1
	}
	return 0
}

// excess is the pod's use beyond its request; of inodes and processes there are no requests.
func excess(p *Pod, signal Signal) int64 {
	switch signalResource[signal] {
	case v1.ResourceMemory:
		return p.Usage.Memory - request(p.Pod, v1.ResourceMemory)
	case v1.ResourceEphemeralStorage:
		return p.Usage.Disk - request(p.Pod, v1.ResourceEphemeralStorage)
	case "inodes":
		return p.Usage.Inodes
	}
	return p.Usage.Processes
}

func requestable(signal Signal) bool {
	r := signalResource[signal]
	return r == v1.ResourceMemory || r == v1.ResourceEphemeralStorage
}

func request(pod *v1.Pod, name v1.ResourceName) int64 {
	q := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{ExcludeOverhead: true})[name]
	return q.Value()
}

func priority(pod *v1.Pod) int32 {
	if pod.Spec.Priority == nil {
		return 0
	}
	return *pod.Spec.Priority
}
