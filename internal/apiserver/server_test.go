package apiserver_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func TestObjectsLive(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	maps := s.Client.CoreV1().ConfigMaps("default")

	w, err := maps.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	made, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "a-"}, Data: map[string]string{"k": "v"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ADDED" || e.Object.(*corev1.ConfigMap).Name != made.Name {
		t.Fatalf("watch saw %v %v, want ADDED %s", e.Type, e.Object, made.Name)
	}
	if len(made.ManagedFields) == 0 {
		t.Error("no managed fields")
	}

	tls, err := kubernetes.NewForConfig(s.TLSConfig(t, "admin", "system:masters"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := tls.CoreV1().ConfigMaps("default").Get(ctx, made.Name, metav1.GetOptions{})
	if err != nil || got.Data["k"] != "v" {
		t.Fatalf("over TLS: %v, %v", got, err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	s := apitest.Start(t)
	c := s.TLSConfig(t, "nobody")
	c.CertData, c.KeyData = nil, nil
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("without a certificate: %v, want unauthorized", err)
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/version"} {
		if body, err := client.RESTClient().Get().AbsPath(path).DoRaw(t.Context()); err != nil {
			t.Errorf("%s: %v %s", path, err, body)
		}
	}
	other, err := kubernetes.NewForConfig(rest.CopyConfig(s.TLSConfig(t, "somebody")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: %v, want forbidden", err)
	}
}
