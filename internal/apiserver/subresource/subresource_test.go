package subresource

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func pod(containers ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}}
	for _, c := range containers {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: c})
	}
	return p
}

func TestWhichContainer(t *testing.T) {
	p := pod("a", "b")
	p.Spec.InitContainers = []corev1.Container{{Name: "i"}}
	for _, c := range []struct {
		pod               *corev1.Pod
		asked, want, fail string
	}{
		{pod("a"), "", "a", ""},
		{p, "i", "i", ""},
		{p, "", "", "a container name must be specified for pod p, choose one of: [i a b]"},
		{p, "x", "", "container x is not valid for pod p"},
		{pod(), "", "", "a container name must be specified for pod p"},
	} {
		got, err := container(c.pod, c.asked)
		if got != c.want || (err == nil) != (c.fail == "") || err != nil && err.Error() != c.fail {
			t.Errorf("%q: %q, %v", c.asked, got, err)
		}
	}
}

// From the query of a client to the URL at the node.
func TestLocations(t *testing.T) {
	s := runtime.NewScheme()
	if err := Options(s); err != nil {
		t.Fatal(err)
	}
	decode := func(query string, into runtime.Object) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Convert(&q, into, nil); err != nil {
			t.Fatal(err)
		}
	}
	var log corev1.PodLogOptions
	decode("follow=true&tailLines=5&previous=false&sinceSeconds=x", &log)
	var exec corev1.PodExecOptions
	decode("stdin=true&stdout=1&tty=0&command=sh&command=-c&command=a%20b", &exec)
	var forward corev1.PodPortForwardOptions
	decode("ports=80&ports=443", &forward)
	one, two := must(logPath(pod("c"), &log)), must(execPath(pod("c"), &exec))
	for _, c := range []struct{ got, want string }{
		{one.String(), "/containerLogs/ns/p/c?follow=true&tailLines=5"},
		{two.String(), "/exec/ns/p/c?command=sh&command=-c&command=a+b&input=1&output=1"},
		{portForwardPath(pod("c"), &forward).String(), "/portForward/ns/p?port=80%2C443"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func must(u *url.URL, err error) *url.URL {
	if err != nil {
		panic(err)
	}
	return u
}

func TestBudget(t *testing.T) {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "b", Generation: 2}}
	if _, err := decrement(b, "p", metav1.Now()); !apierrors.IsTooManyRequests(err) {
		t.Errorf("a budget nobody looked at yet: %v", err)
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 2, CurrentHealthy: 2, DesiredHealthy: 2}
	_, err := decrement(b, "p", metav1.Now())
	if !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		t.Errorf("a used up budget: %v", err)
	}
	b.Status.DisruptionsAllowed = 1
	next, err := decrement(b, "p", metav1.Now())
	if err != nil || next.Status.DisruptionsAllowed != 0 || len(next.Status.DisruptedPods) != 1 || b.Status.DisruptionsAllowed != 1 {
		t.Errorf("%+v, %v", next, err)
	}
}

func TestBind(t *testing.T) {
	to := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}}, Target: corev1.ObjectReference{Name: "n"}}
	p := pod("c")
	if err := bind(p, to, metav1.Now()); err != nil || p.Spec.NodeName != "n" || p.Annotations["a"] != "b" || p.Status.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("%+v, %v", p, err)
	}
	gated := pod("c")
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}}
	now := metav1.Now()
	ending := pod("c")
	ending.DeletionTimestamp = &now
	for want, p := range map[string]*corev1.Pod{
		`pod p is already assigned to node "n"`:                p,
		"pod p has non-empty .spec.schedulingGates":            gated,
		"pod p is being deleted, cannot be assigned to a host": ending,
	} {
		if p != nil {
			p.Name = "p"
		}
		if err := bind(p, to, now); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestOnlyReadyPodsAreEndpoints(t *testing.T) {
	name, number, no := "http", int32(80), false
	slice := discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Namespace: "ns", Name: "a"}},
			{Addresses: []string{"10.0.0.2"}, TargetRef: &corev1.ObjectReference{Namespace: "ns", Name: "b"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
			{Addresses: []string{"10.0.0.3"}, TargetRef: &corev1.ObjectReference{Namespace: "other", Name: "c"}},
			{Addresses: []string{"10.0.0.4"}},
		},
	}
	got := endpoints([]discoveryv1.EndpointSlice{slice}, "http", "ns")
	if len(got) != 1 || got[0].host != "10.0.0.1:80" || got[0].pod != "a" {
		t.Errorf("%+v", got)
	}
	if got := endpoints([]discoveryv1.EndpointSlice{slice}, "other", "ns"); len(got) != 0 {
		t.Errorf("another port: %+v", got)
	}
	for ip, ok := range map[string]bool{"10.0.0.1": true, "127.0.0.1": false, "169.254.0.1": false, "": false} {
		if (proxyable(ip) == nil) != ok {
			t.Errorf("proxyable(%q) = %v", ip, proxyable(ip))
		}
	}
}

// A page at the root refers to others by relative paths, which only a trailing
// slash makes right: who asks without one is sent there.
func TestProxyKeepsPaths(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "at "+r.URL.String()) }))
	defer backend.Close()
	const at = "/api/v1/namespaces/ns/pods/p/proxy"
	for path, want := range map[string]string{"": "301 " + at + "/?a=b", "/": "200 at /?a=b", "/x/y": "200 at /x/y?a=b", "/x/": "200 at /x/?a=b"} {
		p := Proxy{
			object: func() runtime.Object { return &corev1.PodProxyOptions{} },
			path:   func(runtime.Object) string { return path },
			locate: func(context.Context, string) (*url.URL, http.RoundTripper, error) {
				u, err := url.Parse(backend.URL)
				return u, http.DefaultTransport, err
			},
		}
		h, err := p.Connect(t.Context(), "p", &corev1.PodProxyOptions{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, at+path+"?a=b", nil))
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("Location")+w.Body.String()); got != want {
			t.Errorf("proxy%s: got %q, want %q", path, got, want)
		}
	}
}
