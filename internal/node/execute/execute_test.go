package execute

import (
	"encoding/base64"
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
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
			got = append(got, a.auth.Username)
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
	if a := match(all, "registry.example/x"); len(a) != 1 || a[0].auth.Password != "pa:ss" {
		t.Errorf("password from auth: %v", a)
	}
	if got := parseSecret(&v1.Secret{Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: []byte("{")}}); got != nil {
		t.Errorf("broken secret: %v", got)
	}
}

func TestPullHint(t *testing.T) {
	for _, c := range []struct {
		try  pullTry
		err  string
		want string
	}{
		{pullTry{image: "r.example/a"}, "unexpected status: 401 Unauthorized",
			"r.example asks for a password: name a secret for it (kubectl create secret docker-registry) in the pod's imagePullSecrets"},
		{pullTry{image: "r.example/a", secrets: []credential{{secret: "regcred", registry: "other.example"}}}, "pull access denied",
			"r.example asks for a password: secret regcred is for other.example"},
		{pullTry{image: "r.example/a", missing: []string{"regcred"}}, "401", "r.example asks for a password, and secret regcred can't be read: create it in the pod's namespace"},
		{pullTry{image: "r.example/a", fit: []credential{{secret: "regcred"}}}, "403 Forbidden", "r.example refuses the password of secret regcred for this image"},
		{pullTry{image: "nginx:9"}, "docker.io/library/nginx:9: not found", "docker.io has no such image or tag: check the name"},
		{pullTry{image: "r.example:5000/a"}, "http: server gave HTTP response to HTTPS client", "r.example:5000 speaks HTTP: say so in registries.yaml"},
		{pullTry{image: "r.example/a"}, "the moon is full", ""},
	} {
		if got := c.try.hint(errors.New(c.err)); got != c.want {
			t.Errorf("%s: %q, want %q", c.err, got, c.want)
		}
	}
}
