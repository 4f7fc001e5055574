package pods

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
)

func list(kv ...string) v1.ResourceList {
	l := v1.ResourceList{}
	for i := 0; i < len(kv); i += 2 {
		l[v1.ResourceName(kv[i])] = resource.MustParse(kv[i+1])
	}
	return l
}

func TestComputeQOSClass(t *testing.T) {
	full := v1.ResourceRequirements{Requests: list("cpu", "1", "memory", "1Gi"), Limits: list("cpu", "1", "memory", "1Gi")}
	container := func(rs ...v1.ResourceRequirements) (cs []v1.Container) {
		for _, r := range rs {
			cs = append(cs, v1.Container{Resources: r})
		}
		return cs
	}
	for _, c := range []struct {
		name string
		spec v1.PodSpec
		want v1.PodQOSClass
	}{
		{"nothing", v1.PodSpec{Containers: container(v1.ResourceRequirements{})}, v1.PodQOSBestEffort},
		{"no containers", v1.PodSpec{}, v1.PodQOSBestEffort},
		{"a device only", v1.PodSpec{Containers: container(v1.ResourceRequirements{Limits: list("example.com/gpu", "1")})}, v1.PodQOSBestEffort},
		{"zero", v1.PodSpec{Containers: container(v1.ResourceRequirements{Requests: list("cpu", "0")})}, v1.PodQOSBestEffort},
		{"all", v1.PodSpec{Containers: container(full, full), InitContainers: container(full)}, v1.PodQOSGuaranteed},
		{"cpu only", v1.PodSpec{Containers: container(v1.ResourceRequirements{Requests: list("cpu", "1"), Limits: list("cpu", "1")})}, v1.PodQOSBurstable},
		{"a request only", v1.PodSpec{Containers: container(v1.ResourceRequirements{Requests: list("cpu", "1")})}, v1.PodQOSBurstable},
		{"one of two", v1.PodSpec{Containers: container(full, v1.ResourceRequirements{})}, v1.PodQOSBurstable},
		{"all but init", v1.PodSpec{Containers: container(full), InitContainers: container(v1.ResourceRequirements{})}, v1.PodQOSBurstable},
		{"the pod's own", v1.PodSpec{Resources: &full, Containers: container(v1.ResourceRequirements{})}, v1.PodQOSGuaranteed},
		{"the pod's own, empty", v1.PodSpec{Resources: &v1.ResourceRequirements{}, Containers: container(full)}, v1.PodQOSGuaranteed},
	} {
		pod := &v1.Pod{Spec: c.spec}
		if got := ComputeQOSClass(pod); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		pod.Status.QOSClass = v1.PodQOSBurstable
		if got := QOSClass(pod); got != v1.PodQOSBurstable {
			t.Errorf("%s: %s, want what the API decided", c.name, got)
		}
	}
}

func TestShouldRestart(t *testing.T) {
	policy := func(p v1.ContainerRestartPolicy) *v1.ContainerRestartPolicy { return &p }
	rule := func(op v1.ContainerRestartRuleOnExitCodesOperator, codes ...int32) v1.ContainerRestartRule {
		return v1.ContainerRestartRule{Action: v1.ContainerRestartRuleActionRestart, ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: op, Values: codes}}
	}
	in, notIn := v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn
	for _, c := range []struct {
		name      string
		container v1.Container
		pod       v1.RestartPolicy
		code      int32
		want      bool
	}{
		{"always", v1.Container{}, v1.RestartPolicyAlways, 0, true},
		{"never", v1.Container{}, v1.RestartPolicyNever, 1, false},
		{"on failure, success", v1.Container{}, v1.RestartPolicyOnFailure, 0, false},
		{"on failure, failure", v1.Container{}, v1.RestartPolicyOnFailure, 1, true},
		{"sidecar", v1.Container{RestartPolicy: policy("Always")}, v1.RestartPolicyNever, 0, true},
		{"own never", v1.Container{RestartPolicy: policy("Never")}, v1.RestartPolicyAlways, 1, false},
		{"rule matches", v1.Container{RestartPolicy: policy("Never"), RestartPolicyRules: []v1.ContainerRestartRule{rule(in, 1, 42)}}, v1.RestartPolicyNever, 42, true},
		{"rule doesn't", v1.Container{RestartPolicy: policy("Never"), RestartPolicyRules: []v1.ContainerRestartRule{rule(in, 42)}}, v1.RestartPolicyAlways, 1, false},
		{"rule of others", v1.Container{RestartPolicy: policy("Never"), RestartPolicyRules: []v1.ContainerRestartRule{rule(notIn, 42)}}, v1.RestartPolicyNever, 1, true},
		{"rules need a policy", v1.Container{RestartPolicyRules: []v1.ContainerRestartRule{rule(in, 1)}}, v1.RestartPolicyNever, 1, false},
	} {
		if got := ShouldRestart(&c.container, c.pod, c.code); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestEffectiveLimits(t *testing.T) {
	node := list("cpu", "4", "memory", "8Gi")
	for _, c := range []struct {
		name           string
		own, pod, want v1.ResourceList
	}{
		{"nobody", nil, nil, node},
		{"the container", list("cpu", "1", "memory", "1Gi", "example.com/gpu", "1"), list("cpu", "2"), list("cpu", "1", "memory", "1Gi", "example.com/gpu", "1")},
		{"the pod", nil, list("cpu", "1250m", "memory", "64Mi"), list("cpu", "1250m", "memory", "64Mi")},
		{"each for one", list("cpu", "0"), list("cpu", "2"), list("cpu", "2", "memory", "8Gi")},
	} {
		pod := &v1.Pod{}
		if c.pod != nil {
			pod.Spec.Resources = &v1.ResourceRequirements{Limits: c.pod}
		}
		own := v1.Container{Resources: v1.ResourceRequirements{Limits: c.own}}
		if got := EffectiveLimits(pod, &own, node); !equality.Semantic.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
