package podlife

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// Fits decides whether a node takes a pod that was bound to it: the last check,
// since whoever bound it may have known the node as it was before. Others are the
// pods that it took and that have not ended.
func Fits(node *v1.Node, others []*v1.Pod, pod *v1.Pod) Admission {
	for _, check := range []func(*v1.Node, []*v1.Pod, *v1.Pod) *Admission{fitsOS, fitsResources, fitsAffinity, fitsPorts, fitsTaints} {
		if no := check(node, others, pod); no != nil {
			return *no
		}
	}
	return Admission{Admitted: true}
}

func no(reason, format string, args ...any) *Admission {
	return &Admission{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func fitsOS(_ *v1.Node, _ []*v1.Pod, pod *v1.Pod) *Admission {
	if os := pod.Spec.OS; os != nil && os.Name != v1.Linux {
		return no("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
	}
	return nil
}

func fitsResources(node *v1.Node, others []*v1.Pod, pod *v1.Pod) *Admission {
	if most := node.Status.Allocatable.Pods().Value(); int64(len(others))+1 > most {
		return no("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: %d, capacity: %d", len(others), most)
	}
	wants := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
	used := map[v1.ResourceName]int64{}
	for _, o := range others {
		for name, q := range resourcehelper.PodRequests(o, resourcehelper.PodResourcesOptions{UseStatusResources: true}) {
			used[name] += amount(name, q)
		}
	}
	for _, name := range order(wants) {
		capacity, known := node.Status.Allocatable[name]
		if !known && name != v1.ResourceCPU && name != v1.ResourceMemory {
			continue // extended resources of the cluster, not of this node
		}
		want, have := amount(name, wants[name]), amount(name, capacity)
		if want > 0 && want > have-used[name] {
			return no("OutOf"+string(name), "Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", name, want, used[name], have)
		}
	}
	return nil
}

// ReasonNodeAffinity is why a pod is refused that selects another node.
const ReasonNodeAffinity = "NodeAffinity"

func fitsAffinity(node *v1.Node, _ []*v1.Pod, pod *v1.Pod) *Admission {
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err != nil || !ok {
		return no(ReasonNodeAffinity, "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
	}
	return nil
}

func fitsPorts(_ *v1.Node, others []*v1.Pod, pod *v1.Pod) *Admission {
	for _, o := range others {
		for _, a := range hostPorts(pod) {
			for _, b := range hostPorts(o) {
				if a.HostPort == b.HostPort && a.Protocol == b.Protocol && sameIP(a.HostIP, b.HostIP) {
					return no("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
				}
			}
		}
	}
	return nil
}

// fitsTaints: only those that evict too; a static pod runs whatever happens.
func fitsTaints(node *v1.Node, _ []*v1.Pod, pod *v1.Pod) *Admission {
	if IsStatic(pod) {
		return nil
	}
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if taint.Effect == v1.TaintEffectNoExecute && !tolerates(pod, taint) {
			return no("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)")
		}
	}
	return nil
}

// amount in the units that messages have: millicores, bytes, pieces.
func amount(name v1.ResourceName, q resource.Quantity) int64 {
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// order makes the first complaint the same every time: cpu, memory, the rest by name.
func order(list v1.ResourceList) []v1.ResourceName {
	names := slices.Sorted(maps.Keys(list))
	slices.SortStableFunc(names, func(a, b v1.ResourceName) int { return rank(a) - rank(b) })
	return names
}

func rank(name v1.ResourceName) int {
	switch name {
	case v1.ResourceCPU:
		return 0
	case v1.ResourceMemory:
		return 1
	}
	return 2
}

func tolerates(pod *v1.Pod, taint *v1.Taint) bool {
	// The logger is for tolerations that can't be parsed, which validation refuses.
	return schedulinghelper.TolerationsTolerateTaint(klog.Logger{}, pod.Spec.Tolerations, taint, true)
}

func hostPorts(pod *v1.Pod) []v1.ContainerPort {
	var out []v1.ContainerPort
	add := func(list []v1.Container, sidecarsOnly bool) {
		for i := range list {
			if sidecarsOnly && !IsSidecar(&list[i]) {
				continue
			}
			for _, p := range list[i].Ports {
				if p.HostPort == 0 && pod.Spec.HostNetwork {
					p.HostPort = p.ContainerPort
				}
				if p.Protocol == "" {
					p.Protocol = v1.ProtocolTCP
				}
				if p.HostPort != 0 {
					out = append(out, p)
				}
			}
		}
	}
	add(pod.Spec.InitContainers, true)
	add(pod.Spec.Containers, false)
	return out
}

func sameIP(a, b string) bool {
	any := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	return a == b || any(a) || any(b)
}

// Annotations that tell where a pod came from.
const (
	AnnotationSource = "kubernetes.io/config.source" // "api", "file", "http"
	AnnotationMirror = "kubernetes.io/config.mirror" // on a mirror pod: the static pod's UID
)

// IsStatic: the pod did not come from the API server.
func IsStatic(pod *v1.Pod) bool {
	source := pod.Annotations[AnnotationSource]
	return source != "" && source != "api"
}
