package endpoints

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

func pod(name, ip string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(name)},
		Spec:       v1.PodSpec{NodeName: "n", Containers: []v1.Container{{Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: v1.ProtocolTCP}}}}},
		Status: v1.PodStatus{Phase: v1.PodRunning, PodIP: ip, PodIPs: []v1.PodIP{{IP: ip}}, Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionTrue}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func notReady(p *v1.Pod)    { p.Status.Conditions[0].Status = v1.ConditionFalse }
func ended(p *v1.Pod)       { p.Status.Phase = v1.PodSucceeded }
func terminating(p *v1.Pod) { p.DeletionTimestamp = &metav1.Time{} }
func otherPort(p *v1.Pod)   { p.Spec.Containers[0].Ports[0].ContainerPort = 9090 }
func noPort(p *v1.Pod)      { p.Spec.Containers[0].Ports = nil }
func alsoV6(p *v1.Pod)      { p.Status.PodIPs = append(p.Status.PodIPs, v1.PodIP{IP: "fd00::1"}) }

func service(change ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "ns"}, Spec: v1.ServiceSpec{
		ClusterIP: "10.0.0.1", IPFamilies: []v1.IPFamily{v1.IPv4Protocol},
		Ports: []v1.ServicePort{{Port: 80, TargetPort: intstr.FromString("web"), Protocol: v1.ProtocolTCP}},
	}}
	for _, f := range change {
		f(s)
	}
	return s
}

// shown prints subsets as ports: ready | not ready.
func shown(subsets []v1.EndpointSubset) (lines []string) {
	for _, s := range subsets {
		line := ""
		for _, p := range s.Ports {
			line += fmt.Sprint(p.Port, " ")
		}
		line += ":"
		for _, a := range s.Addresses {
			line += " " + a.IP
		}
		line += " |"
		for _, a := range s.NotReadyAddresses {
			line += " " + a.IP
		}
		lines = append(lines, line)
	}
	return lines
}

func TestPlanGroupsAddressesByPorts(t *testing.T) {
	headless := func(s *v1.Service) { s.Spec.ClusterIP, s.Spec.Ports = v1.ClusterIPNone, nil }
	publish := func(s *v1.Service) { s.Spec.PublishNotReadyAddresses = true }
	v6 := func(s *v1.Service) { s.Spec.IPFamilies = []v1.IPFamily{v1.IPv6Protocol} }
	for name, c := range map[string]struct {
		service *v1.Service
		pods    []*v1.Pod
		want    []string
	}{
		"none":               {service(), nil, nil},
		"ready and not":      {service(), []*v1.Pod{pod("b", "10.1.0.2"), pod("a", "10.1.0.1"), pod("c", "10.1.0.3", notReady)}, []string{"8080 : 10.1.0.1 10.1.0.2 | 10.1.0.3"}},
		"two ports":          {service(), []*v1.Pod{pod("a", "10.1.0.1"), pod("b", "10.1.0.2", otherPort)}, []string{"8080 : 10.1.0.1 |", "9090 : 10.1.0.2 |"}},
		"no such port":       {service(), []*v1.Pod{pod("a", "10.1.0.1", noPort)}, nil},
		"headless, no ports": {service(headless), []*v1.Pod{pod("a", "10.1.0.1", noPort), pod("b", "10.1.0.2")}, []string{": 10.1.0.1 10.1.0.2 |"}},
		"ended, leaving":     {service(), []*v1.Pod{pod("a", "10.1.0.1", ended), pod("b", "10.1.0.2", terminating), pod("c", "")}, nil},
		"published":          {service(publish), []*v1.Pod{pod("a", "10.1.0.1", notReady), pod("b", "10.1.0.2", terminating)}, []string{"8080 : 10.1.0.1 10.1.0.2 |"}},
		"second family":      {service(v6), []*v1.Pod{pod("a", "10.1.0.1", alsoV6), pod("b", "10.1.0.2")}, []string{"8080 : fd00::1 |"}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, shown(plan(c.service, c.pods))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNothingIsWrittenTwice(t *testing.T) {
	s := service(func(s *v1.Service) { s.Labels = map[string]string{"a": "b"} })
	pods := []*v1.Pod{pod("a", "10.1.0.1"), pod("b", "10.1.0.2", notReady)}
	have := desired(s, &v1.Endpoints{}, plan(s, pods))
	if !same(have, desired(s, have, plan(s, pods))) {
		t.Error("the object that was just made is to be written again")
	}
	if same(have, desired(s, have, plan(s, pods[:1]))) {
		t.Error("a pod that went is not noticed")
	}
	if _, headless := have.Labels[v1.IsHeadlessService]; headless || have.Labels["a"] != "b" || have.Labels[managedBy] != name {
		t.Errorf("labels %v", have.Labels)
	}
}

func TestTruncateKeepsReadyFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 900), 1, 4)
		ready, notReady := sizes.Draw(t, "ready"), sizes.Draw(t, "not ready")
		n := min(len(ready), len(notReady))
		var subsets []v1.EndpointSubset
		allReady, all := 0, 0
		for i := range n {
			subsets = append(subsets, v1.EndpointSubset{Addresses: make([]v1.EndpointAddress, ready[i]), NotReadyAddresses: make([]v1.EndpointAddress, notReady[i])})
			allReady, all = allReady+ready[i], all+ready[i]+notReady[i]
		}
		kept, over := truncate(subsets)
		keptReady, keptAll := 0, 0
		for _, s := range kept {
			keptReady, keptAll = keptReady+len(s.Addresses), keptAll+len(s.Addresses)+len(s.NotReadyAddresses)
		}
		if over != (all > maxCapacity) || keptAll != min(all, maxCapacity) || keptReady != min(allReady, maxCapacity) {
			t.Fatalf("kept %d (%d ready) of %d (%d ready), over %v", keptAll, keptReady, all, allReady, over)
		}
	})
}
