package httpget

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestRequest(t *testing.T) {
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for want, get := range map[string]*v1.HTTPGetAction{
		"http://[fd00::1]:8080/a?b=c": {Path: "a?b=c", Port: intstr.FromString("web")},
		"https://host:1/":             {Path: "/", Host: "host", Scheme: v1.URISchemeHTTPS, Port: intstr.FromInt32(1)},
	} {
		got, err := Request(t.Context(), get, c, "fd00::1", "lifecycle")
		if err != nil || got.URL.String() != want || got.UserAgent() != "kube-lifecycle/1.37" || got.Header.Get("Accept") != "*/*" {
			t.Errorf("got %v %v, want %q", got, err, want)
		}
	}
	got, err := Request(t.Context(), &v1.HTTPGetAction{Port: intstr.FromInt32(80), HTTPHeaders: []v1.HTTPHeader{
		{Name: "Host", Value: "example"}, {Name: "accept", Value: ""}, {Name: "User-Agent", Value: "me"}, {Name: "X", Value: "1"}, {Name: "X", Value: "2"},
	}}, c, "10.0.0.1", "probe")
	if err != nil {
		t.Fatal(err)
	}
	if _, accepts := got.Header["Accept"]; accepts || got.Host != "example" || got.UserAgent() != "me" || len(got.Header["X"]) != 2 {
		t.Errorf("headers %v, host %s", got.Header, got.Host)
	}
}

func TestPort(t *testing.T) {
	c := &v1.Container{Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 8080}}}
	for _, tc := range []struct {
		port intstr.IntOrString
		want int
		err  string
	}{
		{port: intstr.FromInt32(80), want: 80},
		{port: intstr.FromString("web"), want: 8080},
		{port: intstr.FromString("81"), want: 81},
		{port: intstr.FromString("none"), err: `couldn't find port: none for container "c"`},
		{port: intstr.FromInt32(70000), err: "invalid port number: 70000"},
	} {
		got, err := Port(tc.port, c)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
			t.Errorf("%v: got %d %v, want %d %q", tc.port, got, err, tc.want, tc.err)
		}
	}
}
