package podspec

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// checkEphemeralContainers: a container for debugging may look on, but nothing of
// the pod may come to depend on it: no ports, probes, hooks or resources.
func (s *scope) checkEphemeralContainers() field.ErrorList {
	const refusal = "cannot be set for an Ephemeral Container"
	var errs field.ErrorList
	others, names := sets.Set[string]{}, sets.Set[string]{}
	for _, list := range [][]v1.Container{s.spec.Containers, s.spec.InitContainers} {
		for i := range list {
			others.Insert(list[i].Name)
			names.Insert(list[i].Name)
		}
	}
	for i := range s.spec.EphemeralContainers {
		e, at := &s.spec.EphemeralContainers[i], s.path.Child("ephemeralContainers").Index(i)
		errs = append(errs, s.checkContainer((*v1.Container)(&e.EphemeralContainerCommon), at)...)
		errs = append(errs, checkImage(e.Image, at.Child("image"))...)
		if names.Has(e.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), e.Name))
		}
		names.Insert(e.Name)
		if e.TargetContainerName != "" && !others.Has(e.TargetContainerName) {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), e.TargetContainerName))
		}
		errs = append(errs, onlyFields(e.EphemeralContainerCommon, at, refusal,
			"Name", "Image", "Command", "Args", "WorkingDir", "EnvFrom", "Env", "VolumeMounts", "VolumeDevices",
			"TerminationMessagePath", "TerminationMessagePolicy", "ImagePullPolicy", "SecurityContext", "Stdin", "StdinOnce", "TTY")...)
		for j, m := range e.VolumeMounts { // a subpath's bind mount would stay until the pod ends
			if m.SubPath != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPath"), refusal))
			}
			if m.SubPathExpr != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPathExpr"), refusal))
			}
		}
	}
	return errs
}
