package podspec

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func checkPorts(ports []v1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.Set[string]{}
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			if msgs := validation.IsValidPortName(p.Name); len(msgs) > 0 {
				errs = append(errs, meta.Invalid(at.Child("name"), p.Name, msgs)...)
			} else if names.Has(p.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, meta.Port(at.Child("containerPort"), p.ContainerPort)...)
		}
		if p.HostPort != 0 {
			errs = append(errs, meta.Port(at.Child("hostPort"), p.HostPort)...)
		}
		errs = append(errs, meta.OneOf(at.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)...)
	}
	return errs
}

// checkHostPortConflicts: a port of the host goes to one container.
func checkHostPortConflicts(containers []v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	taken := sets.Set[string]{}
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			port := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if taken.Has(port) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), port))
			}
			taken.Insert(port)
		}
	}
	return errs
}

// checkHostNetworkPorts: in the host's network a port is the host's. A template
// may leave hostPort to be defaulted in the pod.
func (s *scope) checkHostNetworkPorts() field.ErrorList {
	if !s.spec.HostNetwork {
		return nil
	}
	var errs field.ErrorList
	for i := range s.spec.Containers {
		ports := s.path.Child("containers").Index(i).Child("ports")
		for j, p := range s.spec.Containers[i].Ports {
			if p.HostPort != p.ContainerPort && (s.IsPod || p.HostPort != 0) {
				errs = append(errs, field.Invalid(ports.Index(j).Child("hostPort"), p.HostPort, "must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}
