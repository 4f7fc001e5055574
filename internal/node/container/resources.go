package container

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"
)

// Values of the kernel's CPU controller.
const (
	cpuPeriod = 100_000 // microseconds
	minQuota  = 1_000
	MinShares = 2 // of a container that asks for no CPU
	maxShares = 262_144
)

// Scores of oom_score_adj, from 1000 (first to go) down.
const (
	oomGuaranteed = -997
	oomBestEffort = 1000
)

// systemCritical is the lowest priority of pods that the node itself needs.
const systemCritical = 2_000_001_000

// systemCriticalPods is that of pods that the cluster needs, and above.
const systemCriticalPods = 2_000_000_000

// Resources are a container's limits as its cgroup has them.
func Resources(pod *v1.Pod, c *v1.Container, node Node) *runtimeapi.LinuxContainerResources {
	limits := effectiveLimits(pod, c)
	r := &runtimeapi.LinuxContainerResources{
		CpuPeriod:          cpuPeriod,
		CpuShares:          shares(v1.ResourceRequirements{Requests: c.Resources.Requests, Limits: limits}),
		CpuQuota:           quota(limits.Cpu()),
		MemoryLimitInBytes: limits.Memory().Value(),
		OomScoreAdj:        OOMScore(pod, c, node.MemoryBytes),
		HugepageLimits:     hugepages(node.Allocatable, limits),
	}
	if node.CgroupV2 {
		r.Unified = map[string]string{}
	}
	if node.CgroupV2 && !node.Limits.OneProcessOOM {
		// One process out of memory ends the whole container: half of one helps nobody.
		r.Unified["memory.oom.group"] = "1"
	}
	limitSwap(r, node, swap(pod, c, node))
	return r
}

// effectiveLimits are the container's own; what it leaves open is bounded by the
// pod's.
func effectiveLimits(pod *v1.Pod, c *v1.Container) v1.ResourceList {
	if pod.Spec.Resources == nil {
		return c.Resources.Limits
	}
	limits := maps.Clone(pod.Spec.Resources.Limits)
	if limits == nil {
		limits = v1.ResourceList{}
	}
	for name, q := range c.Resources.Limits {
		if !q.IsZero() {
			limits[name] = q
		}
	}
	return limits
}

// limitSwap: with cgroup v1 the limit is one of memory and swap together, takes
// one of memory for granted, and none is given to anybody.
func limitSwap(r *runtimeapi.LinuxContainerResources, node Node, bytes int64) {
	switch {
	case !node.SwapControl:
	case node.CgroupV2:
		r.Unified["memory.swap.max"] = strconv.FormatInt(bytes, 10)
	default:
		r.MemorySwapLimitInBytes = r.MemoryLimitInBytes
	}
}

// swap that a container may use: none, or where the node's owner lets pods swap, a
// burstable container's share of it, by what it requests of the memory (KEP 2400).
func swap(pod *v1.Pod, c *v1.Container, node Node) int64 {
	request, limit := c.Resources.Requests.Memory(), c.Resources.Limits.Memory()
	critical := pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCriticalPods
	if !node.Limits.LimitedSwap || !node.CgroupV2 || critical || node.MemoryBytes <= 0 ||
		qos.GetPodQOS(pod) != v1.PodQOSBurstable || request.IsZero() || request.Cmp(*limit) == 0 {
		return 0
	}
	return int64(float64(request.Value()) / float64(node.MemoryBytes) * float64(node.SwapBytes))
}

// PodResources are the limits of the pod's own cgroup: the sum of its containers',
// where each has one.
func PodResources(pod *v1.Pod) *runtimeapi.LinuxContainerResources {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	limits := resourcehelper.PodLimits(pod, resourcehelper.PodResourcesOptions{})
	r := &runtimeapi.LinuxContainerResources{CpuPeriod: cpuPeriod, CpuShares: shares(v1.ResourceRequirements{Requests: requests, Limits: limits})}
	if everyContainerLimits(pod, v1.ResourceCPU) {
		r.CpuQuota = quota(limits.Cpu())
	}
	if everyContainerLimits(pod, v1.ResourceMemory) {
		r.MemoryLimitInBytes = limits.Memory().Value()
	}
	return r
}

func everyContainerLimits(pod *v1.Pod, name v1.ResourceName) bool {
	if pod.Spec.Resources != nil {
		if l, ok := pod.Spec.Resources.Limits[name]; ok && !l.IsZero() {
			return true
		}
	}
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			if l, ok := c.Resources.Limits[name]; !ok || l.IsZero() {
				return false
			}
		}
	}
	return true
}

// shares of CPU time: 1024 a core of what is requested; a container that only
// limits itself requests as much.
func shares(r v1.ResourceRequirements) int64 {
	cpu, ok := r.Requests[v1.ResourceCPU]
	if !ok {
		cpu = *r.Limits.Cpu()
	}
	return min(max(cpu.MilliValue()*1024/1000, MinShares), maxShares)
}

func quota(limit *resource.Quantity) int64 {
	if limit.IsZero() {
		return 0
	}
	return max(limit.MilliValue()*cpuPeriod/1000, minQuota)
}

// hugepages limits every size that the node has; none is to be had unasked.
func hugepages(node, limits v1.ResourceList) []*runtimeapi.HugepageLimit {
	var out []*runtimeapi.HugepageLimit
	for _, name := range slices.Sorted(maps.Keys(node)) {
		size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		page, err := resource.ParseQuantity(size)
		if err != nil {
			continue
		}
		amount := limits[name]
		out = append(out, &runtimeapi.HugepageLimit{PageSize: pageSize(page.Value()), Limit: uint64(amount.Value())})
	}
	return out
}

// pageSize in the form of the hugetlb controller's files: 2MB, 1GB.
func pageSize(bytes int64) string {
	units := []string{"B", "KB", "MB", "GB"}
	i := 0
	for bytes >= 1024 && i < len(units)-1 {
		bytes /= 1024
		i++
	}
	return resource.NewQuantity(bytes, resource.DecimalSI).String() + units[i]
}

// OOMScore says who goes first when the node runs out of memory: the more a
// container asked for, the later it goes.
func OOMScore(pod *v1.Pod, c *v1.Container, capacity int64) int64 {
	if pod.Spec.Priority != nil && *pod.Spec.Priority >= systemCritical {
		return oomGuaranteed
	}
	switch qos.GetPodQOS(pod) {
	case v1.PodQOSGuaranteed:
		return oomGuaranteed
	case v1.PodQOSBestEffort:
		return oomBestEffort
	}
	if capacity <= 0 {
		return oomBestEffort - 1
	}
	request := c.Resources.Requests.Memory().Value() + unclaimed(pod)
	if isSidecar(pod, c) { // a sidecar goes no earlier than those it serves
		least := int64(-1)
		for _, main := range pod.Spec.Containers {
			if r := main.Resources.Requests.Memory().Value() + unclaimed(pod); least < 0 || r < least {
				least = r
			}
		}
		request = max(request, least)
	}
	// Never as safe as a guaranteed pod, never as exposed as a best-effort one.
	return min(max(1000-1000*request/capacity, 1000+oomGuaranteed), oomBestEffort-1)
}

// unclaimed is each container's part of the memory that the pod requests beyond
// its containers' own requests.
func unclaimed(pod *v1.Pod) int64 {
	if pod.Spec.Resources == nil {
		return 0
	}
	own := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	rest := pod.Spec.Resources.Requests.Memory().Value() - own.Memory().Value()
	return max(rest, 0) / int64(len(pod.Spec.Containers)+len(pod.Spec.InitContainers))
}

func isSidecar(pod *v1.Pod, c *v1.Container) bool {
	if c.RestartPolicy == nil || *c.RestartPolicy != v1.ContainerRestartPolicyAlways {
		return false
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == c.Name {
			return true
		}
	}
	return false
}
