package container

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SandboxInput is what a sandbox takes besides the pod.
type SandboxInput struct {
	Attempt      uint32
	CgroupParent string                    // of the pod, below each controller's root
	Userns       *runtimeapi.UserNamespace // of a pod with hostUsers: false
}

// Sandbox is the config of the pod's sandbox.
func Sandbox(pod *v1.Pod, node Node, in SandboxInput) (*runtimeapi.PodSandboxConfig, error) {
	c := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: in.Attempt},
		LogDirectory: PodLogDir(node.LogDir, pod),
		DnsConfig:    dnsConfig(pod, node),
		PortMappings: portMappings(pod),
		Labels:       podLabels(pod),
		Annotations:  clone(pod.Annotations),
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    in.CgroupParent,
			SecurityContext: sandboxSecurity(pod, in.Userns),
			Sysctls:         sysctls(pod),
			Resources:       PodResources(pod),
		},
	}
	if pod.Spec.HostNetwork {
		return c, nil
	}
	var err error
	c.Hostname, err = Hostname(pod, node)
	return c, err
}

func podLabels(pod *v1.Pod) map[string]string {
	labels := clone(pod.Labels)
	labels[LabelPodName], labels[LabelPodNamespace], labels[LabelPodUID] = pod.Name, pod.Namespace, string(pod.UID)
	return labels
}

func sandboxSecurity(pod *v1.Pod, userns *runtimeapi.UserNamespace) *runtimeapi.LinuxSandboxSecurityContext {
	s := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions:         namespaces(pod, userns),
		Privileged:               anyPrivileged(pod),
		Seccomp:                  &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
		SupplementalGroups:       groups(pod),
		SupplementalGroupsPolicy: groupsPolicy(pod),
	}
	if p := pod.Spec.SecurityContext; p != nil {
		if p.RunAsUser != nil {
			s.RunAsUser = &runtimeapi.Int64Value{Value: *p.RunAsUser}
		}
		if p.RunAsGroup != nil && p.RunAsUser != nil {
			s.RunAsGroup = &runtimeapi.Int64Value{Value: *p.RunAsGroup}
		}
		s.SelinuxOptions = selinux(p.SELinuxOptions)
	}
	return s
}

func anyPrivileged(pod *v1.Pod) bool {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			if c.SecurityContext != nil && isTrue(c.SecurityContext.Privileged) {
				return true
			}
		}
	}
	return false
}

// portMappings are those that the node has to forward. A port that is named
// twice, or by a plain init container, is forwarded once.
func portMappings(pod *v1.Pod) []*runtimeapi.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []*runtimeapi.PortMapping
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			for _, p := range c.Ports {
				if p.HostPort != 0 {
					out = append(out, &runtimeapi.PortMapping{
						Protocol:      protocol(p.Protocol),
						ContainerPort: p.ContainerPort,
						HostPort:      p.HostPort,
						HostIp:        p.HostIP,
					})
				}
			}
		}
	}
	return out
}

func protocol(p v1.Protocol) runtimeapi.Protocol {
	switch p {
	case v1.ProtocolUDP:
		return runtimeapi.Protocol_UDP
	case v1.ProtocolSCTP:
		return runtimeapi.Protocol_SCTP
	}
	return runtimeapi.Protocol_TCP
}
