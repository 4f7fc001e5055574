package podspec

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Default fills what is unset in a spec, wherever the spec stands. What is
// defaulted only in a Pod is DefaultPod's.
//
// A field is never added here once the API is released: templates that are
// stored would change by themselves, and with them the hash that a Deployment
// names its ReplicaSets by.
func Default(spec *v1.PodSpec) {
	defaultServiceAccount(spec)
	if spec.DNSPolicy == "" {
		spec.DNSPolicy = v1.DNSClusterFirst
	}
	if spec.RestartPolicy == "" {
		spec.RestartPolicy = v1.RestartPolicyAlways
	}
	if spec.SecurityContext == nil {
		spec.SecurityContext = &v1.PodSecurityContext{}
	}
	setDefault(&spec.TerminationGracePeriodSeconds, v1.DefaultTerminationGracePeriodSeconds)
	if spec.SchedulerName == "" {
		spec.SchedulerName = v1.DefaultSchedulerName
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
	for c := range All(spec) {
		defaultContainer(c)
	}
	roundUp(spec.Overhead)
	if spec.Resources != nil {
		roundUp(spec.Resources.Limits)
		roundUp(spec.Resources.Requests)
	}
}

// DefaultTemplate fills what is unset in a pod template.
func DefaultTemplate(template *v1.PodTemplateSpec) {
	Default(&template.Spec)
}

// DefaultPod fills what is unset in a pod. Some rules are the pod's alone, so
// that a template says no more than its author wrote.
func DefaultPod(pod *v1.Pod) {
	spec := &pod.Spec
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		spec.TerminationGracePeriodSeconds = ptr(int64(1))
	}
	for i := range spec.Containers {
		requestsFromLimits(&spec.Containers[i].Resources)
	}
	for i := range spec.InitContainers {
		requestsFromLimits(&spec.InitContainers[i].Resources)
	}
	setDefault(&spec.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	if spec.HostNetwork {
		hostPortsFromPorts(spec.Containers)
		hostPortsFromPorts(spec.InitContainers)
	}
	Default(spec)
	defaultStatus(&pod.Status)
}

// defaultServiceAccount keeps the old name of the field in step with the new one, which wins.
func defaultServiceAccount(spec *v1.PodSpec) {
	if spec.ServiceAccountName == "" {
		spec.ServiceAccountName = spec.DeprecatedServiceAccount
	}
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
}

// defaultStatus keeps podIP and podIPs in step; the single field wins when they differ.
func defaultStatus(status *v1.PodStatus) {
	switch ip, ips := status.PodIP, status.PodIPs; {
	case ip == "" && len(ips) > 0:
		status.PodIP = ips[0].IP
	case ip != "" && (len(ips) == 0 || ips[0].IP != ip):
		status.PodIPs = []v1.PodIP{{IP: ip}}
	}
	for _, list := range [][]v1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses} {
		for i := range list {
			roundUp(list[i].AllocatedResources)
			roundUpRequirements(list[i].Resources)
		}
	}
	roundUp(status.AllocatedResources)
	roundUpRequirements(status.Resources)
}

// requestsFromLimits asks for what is limited where nothing was asked for.
func requestsFromLimits(r *v1.ResourceRequirements) {
	if r.Limits == nil {
		return
	}
	if r.Requests == nil {
		r.Requests = v1.ResourceList{}
	}
	for name, limit := range r.Limits {
		if _, set := r.Requests[name]; !set {
			r.Requests[name] = limit.DeepCopy()
		}
	}
}

// hostPortsFromPorts: in the host's network a container's port is the host's.
func hostPortsFromPorts(containers []v1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			if p := &containers[i].Ports[j]; p.HostPort == 0 {
				p.HostPort = p.ContainerPort
			}
		}
	}
}

// roundUp brings quantities to whole thousandths, the finest the API keeps.
func roundUp(list v1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

func roundUpRequirements(r *v1.ResourceRequirements) {
	if r != nil {
		roundUp(r.Limits)
		roundUp(r.Requests)
	}
}

func ptr[T any](v T) *T { return &v }

// setDefault sets a field that has no value yet.
func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
