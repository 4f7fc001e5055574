package podspec

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestPullPolicyFollowsTheTag(t *testing.T) {
	const digest = "@sha256:0123456789012345678901234567890123456789012345678901234567890123"
	for image, want := range map[string]v1.PullPolicy{
		"nginx":                       v1.PullAlways,
		"nginx:latest":                v1.PullAlways,
		"localhost:5000/nginx":        v1.PullAlways,
		"localhost:5000/nginx:latest": v1.PullAlways,
		"nginx:latest" + digest:       v1.PullAlways,
		"nginx:1.27":                  v1.PullIfNotPresent,
		"nginx" + digest:              v1.PullIfNotPresent,
		"nginx:1" + digest:            v1.PullIfNotPresent,
		"NOT an image":                v1.PullIfNotPresent,
		"":                            v1.PullIfNotPresent,
	} {
		if got := pullPolicyFor(image); got != want {
			t.Errorf("%q: %s, want %s", image, got, want)
		}
	}
}

func TestAllSeesEveryContainerInPlace(t *testing.T) {
	spec := &v1.PodSpec{
		InitContainers:      []v1.Container{{Name: "i"}},
		Containers:          []v1.Container{{Name: "a"}, {Name: "b"}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "e"}}},
	}
	var paths []string
	for c, at := range AllAt(spec, field.NewPath("spec")) {
		c.Image = "seen"
		paths = append(paths, at.String()+"="+c.Name)
	}
	want := []string{"spec.initContainers[0]=i", "spec.containers[0]=a", "spec.containers[1]=b", "spec.ephemeralContainers[0]=e"}
	for i := range want {
		if paths[i] != want[i] {
			t.Errorf("%d: %s, want %s", i, paths[i], want[i])
		}
	}
	for c := range All(spec) {
		if c.Image != "seen" {
			t.Errorf("%s is a copy", c.Name)
		}
	}
	for c := range All(spec) {
		if c.Name == "a" {
			break // an early end must be possible
		}
	}
}

// TestTolerating: what a stored object breaks already is let pass in it, and only that.
func TestTolerating(t *testing.T) {
	no := false
	old := &v1.PodSpec{
		HostNetwork:     true,
		HostUsers:       &no,
		SecurityContext: &v1.PodSecurityContext{Sysctls: []v1.Sysctl{{Name: "net.ipv4.x"}}},
		Containers:      []v1.Container{{VolumeDevices: []v1.VolumeDevice{{Name: "v"}}}},
		Volumes:         []v1.Volume{{VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{}}}},
	}
	want := Options{AllowHostNamespaceSysctls: true, AllowBlockWithUserNamespace: true, AllowEmptyImageVolume: true, AllowInvalidDeletionCost: true}
	if got := Tolerating(old, map[string]string{v1.PodDeletionCost: "+1"}); got != want {
		t.Errorf("%+v", got)
	}
	if got := Tolerating(&v1.PodSpec{}, nil); got != (Options{}) {
		t.Errorf("nothing is wrong, yet %+v", got)
	}
	if got := ToleratingTemplate(nil); got != (Options{}) {
		t.Errorf("nothing is stored, yet %+v", got)
	}
}
