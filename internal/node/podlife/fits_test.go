package podlife

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestFits(t *testing.T) {
	node := &v1.Node{
		Spec: v1.NodeSpec{Taints: []v1.Taint{{Key: "gone", Effect: v1.TaintEffectNoExecute}}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi"), v1.ResourcePods: resource.MustParse("2"),
		}},
	}
	node.Labels = map[string]string{"disk": "ssd"}
	pod := func(change func(*v1.Pod)) *v1.Pod {
		p := &v1.Pod{Spec: v1.PodSpec{
			Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}},
			Containers:  []v1.Container{{Name: "c", Ports: []v1.ContainerPort{{ContainerPort: 80, HostPort: 8080}}}},
		}}
		change(p)
		return p
	}
	cpu := func(s string) func(*v1.Pod) {
		return func(p *v1.Pod) {
			p.Spec.Containers[0].Ports = nil
			p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(s)}
		}
	}
	same := func(*v1.Pod) {}
	for name, c := range map[string]struct {
		others  []*v1.Pod
		pod     *v1.Pod
		reason  string
		message string
	}{
		"fits": {pod: pod(same)},
		"cpu": {others: []*v1.Pod{pod(cpu("500m"))}, pod: pod(cpu("1600m")), reason: "OutOfcpu",
			message: "Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000"},
		"exactly":       {others: []*v1.Pod{pod(cpu("500m"))}, pod: pod(cpu("1500m"))},
		"pods":          {others: []*v1.Pod{pod(cpu("1m")), pod(cpu("1m"))}, pod: pod(same), reason: "OutOfpods"},
		"port":          {others: []*v1.Pod{pod(same)}, pod: pod(same), reason: "NodePorts"},
		"port, udp":     {others: []*v1.Pod{pod(same)}, pod: pod(func(p *v1.Pod) { p.Spec.Containers[0].Ports[0].Protocol = v1.ProtocolUDP })},
		"selector":      {pod: pod(func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "hdd"} }), reason: "NodeAffinity"},
		"taint":         {pod: pod(func(p *v1.Pod) { p.Spec.Tolerations = nil }), reason: "TaintToleration"},
		"static, taint": {pod: pod(func(p *v1.Pod) { p.Spec.Tolerations, p.Annotations = nil, map[string]string{AnnotationSource: "file"} })},
		"windows":       {pod: pod(func(p *v1.Pod) { p.Spec.OS = &v1.PodOS{Name: v1.Windows} }), reason: "PodOSNotSupported"},
	} {
		got := Fits(node, c.others, c.pod)
		if got.Admitted != (c.reason == "") || got.Reason != c.reason || c.message != "" && got.Message != c.message {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
