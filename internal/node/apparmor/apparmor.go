// Package apparmor decides whether a node can confine a pod as it asks to be.
package apparmor

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// Reason of a pod that is not admitted.
const Reason = "AppArmor"

// Refuse says why a host can't run the pod; "" means that it can. A profile that
// is not loaded is found out when the container is made.
func Refuse(enabled bool, pod *v1.Pod) string {
	if enabled || !asked(pod) {
		return ""
	}
	return "Cannot enforce AppArmor: AppArmor is not enabled on the host"
}

// asked: any profile but Unconfined needs the kernel's help, also by the
// annotations that came before the fields.
func asked(pod *v1.Pod) bool {
	confined := func(p *v1.AppArmorProfile) bool { return p != nil && p.Type != v1.AppArmorProfileTypeUnconfined }
	if sc := pod.Spec.SecurityContext; sc != nil && confined(sc.AppArmorProfile) {
		return true
	}
	asks := func(c v1.Container) bool {
		return c.SecurityContext != nil && confined(c.SecurityContext.AppArmorProfile)
	}
	if slices.ContainsFunc(pod.Spec.InitContainers, asks) || slices.ContainsFunc(pod.Spec.Containers, asks) {
		return true
	}
	for i := range pod.Spec.EphemeralContainers {
		if asks(*podlife.EphemeralContainer(&pod.Spec.EphemeralContainers[i])) {
			return true
		}
	}
	for key, value := range pod.Annotations {
		if strings.HasPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) {
			return value != v1.DeprecatedAppArmorBetaProfileNameUnconfined
		}
	}
	return false
}
