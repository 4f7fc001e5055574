package revision

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func template(image string) *v1.PodTemplateSpec {
	return &v1.PodTemplateSpec{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: image}}}}
}

func TestDataBringsATemplateBack(t *testing.T) {
	data, err := Data(template("v1"))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"spec":{"template":{"$patch":"replace","metadata":{},"spec":{"containers":[{"image":"v1","name":"c","resources":{}}]}}}}`; string(data) != want {
		t.Errorf("got %s", data)
	}
	got, err := Template(&appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: data}})
	if d := cmp.Diff(template("v1"), got); d != "" || err != nil {
		t.Error(err, d)
	}
}

func history(t *testing.T, images ...string) (list []*appsv1.ControllerRevision) {
	for i, image := range images {
		data, err := Data(template(image))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: image}, Data: runtime.RawExtension{Raw: data}, Revision: int64(i + 1)})
	}
	return list
}

func TestFindAndSurplus(t *testing.T) {
	list := history(t, "v1", "v2", "v3")
	data, _ := Data(template("v2"))
	same, others := Find([]*appsv1.ControllerRevision{list[2], list[0], list[1]}, data)
	if same != list[1] || len(others) != 2 || others[0] != list[0] || Next(others) != 4 {
		t.Errorf("same %v, others %v, next %d", same, others, Next(others))
	}
	if missing, _ := Data(template("v9")); missing != nil {
		if same, others := Find(list, missing); same != nil || len(others) != 3 {
			t.Errorf("found %v", same)
		}
	}
	one := int32(1)
	nobody := func(*appsv1.ControllerRevision) bool { return false }
	if s := Surplus(others, &one, nobody); len(s) != 1 || s[0] != list[0] {
		t.Errorf("surplus %v", s)
	}
	if s := Surplus(others, &one, func(r *appsv1.ControllerRevision) bool { return r == list[0] }); len(s) != 0 {
		t.Errorf("a revision that pods live by is surplus: %v", s)
	}
}

func TestBuildTellsCollisionsApart(t *testing.T) {
	owner := &metav1.ObjectMeta{Name: strings.Repeat("o", 250), Namespace: "ns", UID: "u"}
	kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}
	one := int32(1)
	a := build(owner, kind, "hash", nil, []byte("x"), 3, nil)
	b := build(owner, kind, "hash", nil, []byte("x"), 3, &one)
	if a.Name == b.Name || len(a.Name) > 253 || !strings.HasSuffix(a.Name, a.Labels["hash"]) {
		t.Errorf("names %s and %s", a.Name, b.Name)
	}
}
