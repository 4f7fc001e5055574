package scheduler

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func makeNode(name, cpu string, change ...func(*v1.Node)) *v1.Node {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}
	n.Status.Allocatable = v1.ResourceList{
		v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse("1Gi"), v1.ResourcePods: resource.MustParse("3"),
	}
	for _, f := range change {
		f(n)
	}
	return n
}

func makePod(name, cpu string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	p.Spec.Containers = []v1.Container{{Name: "c"}}
	p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	for _, f := range change {
		f(p)
	}
	return p
}

func on(node string) func(*v1.Pod) { return func(p *v1.Pod) { p.Spec.NodeName = node } }

func withPort(port int32) func(*v1.Pod) {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].Ports = []v1.ContainerPort{{HostPort: port, ContainerPort: 80, Protocol: v1.ProtocolTCP}}
	}
}

func tainted(key string, effect v1.TaintEffect) func(*v1.Node) {
	return func(n *v1.Node) { n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: key, Effect: effect}) }
}

func TestPlace(t *testing.T) {
	selects := func(host string) func(*v1.Pod) {
		return func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/hostname": host} }
	}
	for name, c := range map[string]struct {
		nodes []*v1.Node
		there []*v1.Pod
		pod   *v1.Pod
		want  string // a node, or the message
	}{
		"no nodes":        {pod: makePod("p", "1"), want: "no nodes available to schedule pods"},
		"the emptier one": {nodes: []*v1.Node{makeNode("a", "2"), makeNode("b", "2")}, there: []*v1.Pod{makePod("x", "1", on("a"))}, pod: makePod("p", "1"), want: "b"},
		"too large for any node": {
			nodes: []*v1.Node{makeNode("a", "2")}, pod: makePod("p", "3"),
			want: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
		},
		"full": {
			nodes: []*v1.Node{makeNode("a", "2")}, there: []*v1.Pod{makePod("x", "1500m", on("a"))}, pod: makePod("p", "1"),
			want: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		},
		"an ended pod takes nothing": {
			nodes: []*v1.Node{makeNode("a", "2")}, there: []*v1.Pod{makePod("x", "2", on("a"), func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded })},
			pod: makePod("p", "2"), want: "a",
		},
		"a reason each": {
			nodes: []*v1.Node{
				makeNode("a", "2", func(n *v1.Node) { n.Spec.Unschedulable = true }), makeNode("b", "1"),
				makeNode("c", "2", tainted("k", v1.TaintEffectNoSchedule)),
			},
			pod:  makePod("p", "2"),
			want: "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.",
		},
		"selector":              {nodes: []*v1.Node{makeNode("a", "2"), makeNode("b", "1")}, pod: makePod("p", "1", selects("b")), want: "b"},
		"avoids a soft taint":   {nodes: []*v1.Node{makeNode("a", "4", tainted("k", v1.TaintEffectPreferNoSchedule)), makeNode("b", "1")}, pod: makePod("p", "1"), want: "b"},
		"but takes it if alone": {nodes: []*v1.Node{makeNode("a", "4", tainted("k", v1.TaintEffectPreferNoSchedule))}, pod: makePod("p", "1"), want: "a"},
		"host port taken": {
			nodes: []*v1.Node{makeNode("a", "2")}, there: []*v1.Pod{makePod("x", "1", on("a"), withPort(80))}, pod: makePod("p", "1", withPort(80)),
			want: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		},
		"too many pods": {
			nodes: []*v1.Node{makeNode("a", "9")}, there: []*v1.Pod{makePod("x", "1", on("a")), makePod("y", "1", on("a")), makePod("z", "1", on("a"))}, pod: makePod("p", "1"),
			want: "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := NewCluster()
			for _, n := range c.nodes {
				cluster.SetNode(n)
			}
			for _, p := range c.there {
				cluster.SetPod(p)
			}
			got, why := cluster.Place(Wish{Pod: c.pod})
			if why != nil {
				if len(c.nodes) > 0 {
					why.Preempt(nil, 0)
				}
				got = why.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// Whatever comes and goes: no node is ever given more than it has, and when all
// pods are gone nothing is left in use.
func TestNoNodeIsOverfilled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cluster := NewCluster()
		for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
			cluster.SetNode(makeNode(fmt.Sprint("n", i), fmt.Sprint(rapid.IntRange(1, 4).Draw(t, "cpu"))))
		}
		var there []types.UID
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(there) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				cluster.RemovePod(there[0])
				there = there[1:]
				continue
			}
			pod := makePod(fmt.Sprint("p", i), fmt.Sprintf("%dm", rapid.IntRange(0, 3000).Draw(t, "request")))
			if rapid.Bool().Draw(t, "port") {
				withPort(8080)(pod)
			}
			name, why := cluster.Place(Wish{Pod: pod})
			if why != nil {
				continue
			}
			pod.Spec.NodeName = name
			cluster.SetPod(pod)
			cluster.SetPod(pod) // seen twice is counted once
			there = append(there, pod.UID)
			for name, n := range cluster.nodes {
				for resource, has := range n.allocatable {
					if left := has - n.used[resource]; resource != v1.ResourcePods && left < 0 {
						t.Fatalf("%s has %d of %s left", name, left, resource)
					}
				}
				if int64(len(n.pods)) > n.allocatable[v1.ResourcePods] {
					t.Fatalf("%s has %d pods", name, len(n.pods))
				}
			}
		}
		for _, uid := range there {
			cluster.RemovePod(uid)
		}
		for name, n := range cluster.nodes {
			for resource, used := range n.used {
				if used != 0 {
					t.Fatalf("%d of %s stay in use on empty %s", used, resource, name)
				}
			}
		}
	})
}
