package endpointslicemirroring

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func endpoints() *v1.Endpoints {
	return &v1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "ns", UID: "u", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{v1.LastAppliedConfigAnnotation: "{}", "keep": "me"}},
		Subsets: []v1.EndpointSubset{{
			Addresses:         []v1.EndpointAddress{{IP: "10.0.0.1"}, {IP: "fd00::1"}, {IP: "not an address"}},
			NotReadyAddresses: []v1.EndpointAddress{{IP: "10.0.0.2", Hostname: "h"}},
			Ports:             []v1.EndpointPort{{Name: "web", Port: 80, Protocol: v1.ProtocolTCP}},
		}},
	}
}

func TestOneSliceAFamilyAndPorts(t *testing.T) {
	e := endpoints()
	want := wanted(e)
	if len(want) != 2 {
		t.Fatalf("%d slices", len(want))
	}
	for _, s := range want {
		if s.Labels["a"] != "b" || s.Labels[discoveryv1.LabelServiceName] != "e" || s.Labels[discoveryv1.LabelManagedBy] != name || len(s.Annotations) != 1 || *s.Ports[0].Port != 80 {
			t.Errorf("%+v", s)
		}
		switch s.AddressType {
		case discoveryv1.AddressTypeIPv4:
			if len(s.Endpoints) != 2 || !*s.Endpoints[0].Conditions.Ready || *s.Endpoints[1].Conditions.Ready || *s.Endpoints[1].Hostname != "h" {
				t.Errorf("%+v", s.Endpoints)
			}
		case discoveryv1.AddressTypeIPv6:
			if len(s.Endpoints) != 1 {
				t.Errorf("%+v", s.Endpoints)
			}
		}
	}
}

func TestPlanWritesWhatHasChangedOnly(t *testing.T) {
	e := endpoints()
	first := plan(wanted(e), nil)
	if len(first.create) != 2 || len(first.update)+len(first.remove) > 0 {
		t.Fatalf("%+v", first)
	}
	if again := plan(wanted(e), first.create); len(again.create)+len(again.update)+len(again.remove) > 0 {
		t.Errorf("written again: %+v", again)
	}
	e.Subsets[0].Addresses = e.Subsets[0].Addresses[:1]
	if less := plan(wanted(e), first.create); len(less.remove) != 1 || len(less.update)+len(less.create) > 0 {
		t.Errorf("%+v", less)
	}
	e.Subsets[0].Addresses[0].IP = "10.0.0.9"
	if other := plan(wanted(e), first.create); len(other.update) != 1 {
		t.Errorf("%+v", other)
	}
	if gone := plan(nil, first.create); len(gone.remove) != 2 {
		t.Errorf("%+v", gone)
	}
}
