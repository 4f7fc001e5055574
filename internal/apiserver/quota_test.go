package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

// makeQuota makes a quota whose status says what a controller would have summed up.
func makeQuota(t *testing.T, s *apitest.Server, q *corev1.ResourceQuota) {
	t.Helper()
	made, err := s.Client.CoreV1().ResourceQuotas("default").Create(t.Context(), q, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Hard, made.Status.Used = made.Spec.Hard, corev1.ResourceList{}
	for name := range made.Spec.Hard {
		made.Status.Used[name] = resource.MustParse("0")
	}
	if _, err := s.Client.CoreV1().ResourceQuotas("default").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestW9QuotaRefusesWhatIsTooMuch(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	makeDefaultAccount(t, s)
	makeQuota(t, s, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		"requests.cpu": resource.MustParse("1"), "configmaps": resource.MustParse("1"), "services.nodeports": resource.MustParse("0")}}})
	makeQuota(t, s, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "short"}, Spec: corev1.ResourceQuotaSpec{
		Hard:   corev1.ResourceList{"pods": resource.MustParse("0")},
		Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}}})

	_, err := s.Client.CoreV1().Pods("default").Create(ctx, simplePod("silent"), metav1.CreateOptions{})
	if want := `pods "silent" is forbidden: failed quota: q: must specify requests.cpu for: c`; err == nil || err.Error() != want {
		t.Errorf("a pod that asks for nothing: %v, want %s", err, want)
	}
	asks := func(name, cpu string) *corev1.Pod {
		p := simplePod(name)
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse(cpu)}
		return p
	}
	if _, err := s.Client.CoreV1().Pods("default").Create(ctx, asks("a", "600m"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = s.Client.CoreV1().Pods("default").Create(ctx, asks("b", "600m"), metav1.CreateOptions{})
	if want := `pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1`; err == nil || err.Error() != want {
		t.Errorf("too much CPU: %v, want %s", err, want)
	}
	deadline, ending := int64(5), asks("ends", "1m")
	ending.Spec.ActiveDeadlineSeconds = &deadline
	if _, err = s.Client.CoreV1().Pods("default").Create(ctx, ending, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "exceeded quota: short") {
		t.Errorf("a pod in the other quota's scope: %v", err)
	}

	data := func(name string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	if _, err := s.Client.CoreV1().ConfigMaps("default").Create(ctx, data("one"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Client.CoreV1().ConfigMaps("default").Create(ctx, data("two"), metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "exceeded quota: q, requested: configmaps=1") {
		t.Errorf("a second ConfigMap: %v", err)
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: []corev1.ServicePort{{Port: 80}}}}
	if _, err = s.Client.CoreV1().Services("default").Create(ctx, service, metav1.CreateOptions{}); err == nil || !strings.Contains(err.Error(), "services.nodeports=1") {
		t.Errorf("a node port: %v", err)
	}
}
