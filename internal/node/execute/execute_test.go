package execute

import (
	"encoding/base64"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestWithTag(t *testing.T) {
	for image, want := range map[string]string{
		"busybox": "busybox:latest", "busybox:1": "busybox:1", "r.example:5000/a/b": "r.example:5000/a/b:latest",
		"busybox@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "busybox@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	} {
		if got, err := withTag(image); err != nil || got != want {
			t.Errorf("%s: got %q %v, want %q", image, got, err, want)
		}
	}
	for _, bad := range []string{"Upper/Case", "a b", "", "http://x/y"} {
		if got, err := withTag(bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestCredentials(t *testing.T) {
	secret := &v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(`{"auths":{
		"https://index.docker.io/v1/": {"username":"hub","password":"p"},
		"registry.example": {"auth":"` + base64.StdEncoding.EncodeToString([]byte("all:pa:ss")) + `"},
		"registry.example/team": {"username":"team"},
		"*.wild.example": {"username":"wild"}}}`)}}
	all := parseSecret(secret)
	for image, want := range map[string][]string{
		"busybox":                       {"hub"},
		"docker.io/library/busybox:1":   {"hub"},
		"registry.example/team/app":     {"team", "all"},
		"registry.example/teammate/app": {"all"},
		"a.wild.example/x":              {"wild"},
		"a.b.wild.example/x":            nil,
		"other.example/x":               nil,
	} {
		var got []string
		for _, a := range match(all, image) {
			got = append(got, a.Username)
		}
		if len(got) != len(want) {
			t.Errorf("%s: got %v, want %v", image, got, want)
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: got %v, want %v", image, got, want)
			}
		}
	}
	if a := match(all, "registry.example/x"); len(a) != 1 || a[0].Password != "pa:ss" {
		t.Errorf("password from auth: %v", a)
	}
	if got := parseSecret(&v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte("{")}}); got != nil {
		t.Errorf("broken secret: %v", got)
	}
}

func TestHookURL(t *testing.T) {
	pod := &v1.Pod{Status: v1.PodStatus{PodIP: "fd00::1"}}
	c := &v1.Container{Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for want, a := range map[string]*v1.HTTPGetAction{
		"http://[fd00::1]:8080/a?b=c": {Path: "a?b=c", Port: intstr.FromString("web")},
		"https://host:1/":             {Host: "host", Scheme: v1.URISchemeHTTPS, Port: intstr.FromInt(1)},
	} {
		if got, err := hookURL(pod, c, a); err != nil || got != want {
			t.Errorf("got %q %v, want %q", got, err, want)
		}
	}
	if _, err := hookURL(pod, c, &v1.HTTPGetAction{Port: intstr.FromString("none")}); err == nil {
		t.Error("a port that the container does not have was found")
	}
}
