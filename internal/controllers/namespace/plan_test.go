package namespace

import (
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestDeletableLeavesOutWhatCannotBe(t *testing.T) {
	got := deletable([]*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{
		{Name: "pods", Namespaced: true, Verbs: metav1.Verbs{"create", "delete", "list"}},
		{Name: "pods/status", Namespaced: true, Verbs: metav1.Verbs{"get", "list", "delete"}},
		{Name: "nodes", Verbs: metav1.Verbs{"delete", "list"}},
		{Name: "bindings", Namespaced: true, Verbs: metav1.Verbs{"create"}},
		{Name: "odd", Namespaced: true, Verbs: metav1.Verbs{"deletecollection", "list"}},
	}}})
	if len(got) != 1 || got[0] != (schema.GroupVersionResource{Version: "v1", Resource: "pods"}) {
		t.Errorf("got %v, want pods alone", got)
	}
}

func TestConditionsSayWhatIsLeft(t *testing.T) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	got := conditions([]remaining{{resource: pods, count: 2, finalizers: map[string]int{"example.com/hold": 1}}}, nil)
	want := map[v1.NamespaceConditionType]string{
		v1.NamespaceDeletionContentFailure: "False All content successfully deleted, may be waiting on finalization",
		v1.NamespaceContentRemaining:       "True Some resources are remaining: pods. has 2 resource instances",
		v1.NamespaceFinalizersRemaining:    "True Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
	}
	for _, c := range got {
		if line := string(c.Status) + " " + c.Message; line != want[c.Type] {
			t.Errorf("%s: got %q, want %q", c.Type, line, want[c.Type])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d conditions, want %d", len(got), len(want))
	}
}

func TestPodsGoFirst(t *testing.T) {
	maps, pods := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	ours := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "pods"}
	got := stages([]schema.GroupVersionResource{maps, pods, ours})
	want := [][]schema.GroupVersionResource{{pods}, {maps, ours}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
