package volume

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
)

func TestConfigMapPayload(t *testing.T) {
	cm := &v1.ConfigMap{Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"bin": {0, 255}}}
	for name, tc := range map[string]struct {
		items    []v1.KeyToPath
		mode     *int32
		optional bool
		want     Payload
		err      string
	}{
		"all keys": {
			want: Payload{"a": {Data: []byte("1"), Mode: 0o644}, "b": {Data: []byte("2"), Mode: 0o644}, "bin": {Data: []byte{0, 255}, Mode: 0o644}},
		},
		"items with their modes": {
			items: []v1.KeyToPath{{Key: "a", Path: "x/./y"}, {Key: "b", Path: "z", Mode: ptr.To[int32](0o400)}}, mode: ptr.To[int32](0o440),
			want: Payload{"x/y": {Data: []byte("1"), Mode: 0o440}, "z": {Data: []byte("2"), Mode: 0o400}},
		},
		"missing key":          {items: []v1.KeyToPath{{Key: "no", Path: "p"}}, err: "configmap references non-existent config key: no"},
		"missing optional key": {items: []v1.KeyToPath{{Key: "no", Path: "p"}}, optional: true, want: Payload{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := configMapPayload(cm, tc.items, tc.mode, nil, tc.optional)
			if (err != nil || tc.err != "") && (err == nil || err.Error() != tc.err) {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDownwardPayload(t *testing.T) {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"b": "2", "a": "say \"hi\"\n"}, Annotations: map[string]string{"k": "v"}},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
			Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")}}}}},
	}
	items := []v1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		{Path: "one", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.annotations['k']"}},
		{Path: "memory", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}},
		{Path: "cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu"}},
	}
	got, err := downwardPayload(pod, items, nil, nil, v1.ResourceList{v1.ResourceCPU: resource.MustParse("1500m"), v1.ResourceMemory: resource.MustParse("1Gi")})
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for name, file := range got {
		text[name] = string(file.Data)
	}
	// Set limits win over the node's; unset ones are the node's, rounded up.
	want := map[string]string{"labels": "a=\"say \\\"hi\\\"\\n\"\nb=\"2\"", "one": "v", "memory": "64", "cpu": "2"}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff)
	}
}

func TestPayloadPaths(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "a/b": true, ".hidden": true, "a..b": true, "a/..b": true,
		"": false, "/a": false, "..": false, "../a": false, "..data": false, "a/../b": false, "a/..": false,
		strings.Repeat("x", 256): false, strings.Repeat("x/", 2100) + "x": false, "a\x00b": false,
	} {
		if err := (Payload{name: {}}).validate(); (err == nil) != ok {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	if err := (Payload{"a": {}, "a/b": {}}).validate(); err == nil {
		t.Error("a file that is also a folder was accepted")
	}
}

func TestCommonUser(t *testing.T) {
	user := func(id int64) *v1.SecurityContext { return &v1.SecurityContext{RunAsUser: &id} }
	for name, tc := range map[string]struct {
		spec v1.PodSpec
		want *int64
	}{
		"none":         {v1.PodSpec{Containers: []v1.Container{{}}}, nil},
		"pod's":        {v1.PodSpec{SecurityContext: &v1.PodSecurityContext{RunAsUser: ptr.To[int64](7)}, Containers: []v1.Container{{}, {}}}, ptr.To[int64](7)},
		"differ":       {v1.PodSpec{Containers: []v1.Container{{SecurityContext: user(1)}, {SecurityContext: user(2)}}}, nil},
		"init differs": {v1.PodSpec{InitContainers: []v1.Container{{SecurityContext: user(1)}}, Containers: []v1.Container{{SecurityContext: user(2)}}}, nil},
		"one unset":    {v1.PodSpec{Containers: []v1.Container{{SecurityContext: user(1)}, {}}}, nil},
	} {
		if got := commonUser(&v1.Pod{Spec: tc.spec}); !ptr.Equal(got, tc.want) {
			t.Errorf("%s: %v", name, ptr.Deref(got, -1))
		}
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"A": "1", "EMPTY": ""}
	for in, want := range map[string]string{"x-$(A)": "x-1", "$$(A)": "$(A)", "$A": "$A", "$(A": "$(A", "$": "$", "$$$(A)": "$1"} {
		if got, missing := expand(in, env); got != want || missing != nil {
			t.Errorf("%s: %q, missing %v", in, got, missing)
		}
	}
	_, err := expandSubPath(&v1.VolumeMount{Name: "v", SubPathExpr: "$(NO)/$(EMPTY)"}, "c", env)
	if err == nil || !strings.Contains(err.Error(), "missing value for EMPTY, NO") {
		t.Errorf("missing variables: %v", err)
	}
}

func TestTokenRotation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		issued := time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "issued"), 0)
		life := time.Duration(rapid.Int64Range(600, 1<<31).Draw(t, "seconds")) * time.Second
		due := token{issued: issued, expires: issued.Add(life)}.rotateAt()
		if due.Sub(issued) > maxTokenAge || due.Sub(issued) > life*4/5 {
			t.Fatalf("life %v: due after %v", life, due.Sub(issued))
		}
		if early := min(maxTokenAge, life*4/5) - due.Sub(issued); early > time.Second {
			t.Fatalf("life %v: due %v too early", life, early)
		}
	})
}

func TestMemorySize(t *testing.T) {
	limited := func(limit string) *v1.Pod {
		return &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse(limit)}}}}}}
	}
	for name, tc := range map[string]struct {
		pod   *v1.Pod
		limit *resource.Quantity
		node  int64
		want  int64
	}{
		"nothing known":       {&v1.Pod{}, nil, 0, 0},
		"the node's":          {&v1.Pod{}, nil, 9, 9},
		"the pod's":           {limited("5"), nil, 9, 5},
		"its own":             {limited("5"), resource.NewQuantity(3, resource.BinarySI), 9, 3},
		"not above the pod's": {limited("5"), resource.NewQuantity(7, resource.BinarySI), 9, 5},
	} {
		if got := memorySize(tc.pod, tc.limit, tc.node); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}
