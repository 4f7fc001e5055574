package apparmor

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestRefuse(t *testing.T) {
	local := &v1.SecurityContext{AppArmorProfile: &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost}}
	ofPod := func(kind v1.AppArmorProfileType) func(*v1.Pod) {
		return func(p *v1.Pod) {
			p.Spec.SecurityContext = &v1.PodSecurityContext{AppArmorProfile: &v1.AppArmorProfile{Type: kind}}
		}
	}
	annotated := func(value string) func(*v1.Pod) {
		return func(p *v1.Pod) {
			p.Annotations = map[string]string{v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "c": value}
		}
	}
	for name, c := range map[string]struct {
		change  func(*v1.Pod)
		refused bool
	}{
		"nothing asked": {func(*v1.Pod) {}, false},
		"the pod":       {ofPod(v1.AppArmorProfileTypeRuntimeDefault), true},
		"unconfined":    {ofPod(v1.AppArmorProfileTypeUnconfined), false},
		"a container":   {func(p *v1.Pod) { p.Spec.Containers[0].SecurityContext = local }, true},
		"an init container": {func(p *v1.Pod) {
			p.Spec.InitContainers = []v1.Container{{Name: "i", SecurityContext: local}}
		}, true},
		"a debugger": {func(p *v1.Pod) {
			p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "d", SecurityContext: local}}}
		}, true},
		"by annotation":             {annotated("runtime/default"), true},
		"unconfined, by annotation": {annotated("unconfined"), false},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
		c.change(pod)
		if got := Refuse(false, pod); (got != "") != c.refused {
			t.Errorf("%s: %q", name, got)
		}
		if got := Refuse(true, pod); got != "" {
			t.Errorf("%s, on a host with AppArmor: %q", name, got)
		}
	}
}
