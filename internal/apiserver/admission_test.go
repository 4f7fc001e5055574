package apiserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"encoding/pem"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/apiserver/apitest"
)

func simplePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func makeDefaultAccount(t *testing.T, s *apitest.Server) {
	t.Helper()
	_, err := s.Client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls for what a watch brings a moment later.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestWhatAdmissionSetsOnAPod(t *testing.T) {
	s := apitest.Start(t)
	ctx := t.Context()
	makeDefaultAccount(t, s)
	_, err := s.Client.SchedulingV1().PriorityClasses().Create(ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 7}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Client.CoreV1().LimitRanges("default").Create(ctx, &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "l"}, Spec: corev1.LimitRangeSpec{
		Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer,
			DefaultRequest: corev1.ResourceList{"cpu": resource.MustParse("10m")},
			Max:            corev1.ResourceList{"memory": resource.MustParse("1Gi")},
			Default:        corev1.ResourceList{"memory": resource.MustParse("64Mi")}}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var pod *corev1.Pod
	eventually(t, "the priority class and limits are known", func() bool {
		p := simplePod("")
		p.GenerateName, p.Spec.PriorityClassName = "p-", "high"
		pod, err = s.Client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		return err == nil && !pod.Spec.Containers[0].Resources.Requests.Cpu().IsZero()
	})
	if *pod.Spec.Priority != 7 || pod.Spec.ServiceAccountName != "default" || len(pod.Spec.Tolerations) != 2 {
		t.Errorf("priority %d, account %q, tolerations %v", *pod.Spec.Priority, pod.Spec.ServiceAccountName, pod.Spec.Tolerations)
	}
	big := simplePod("big")
	big.Spec.Containers[0].Resources.Limits = corev1.ResourceList{"memory": resource.MustParse("2Gi")}
	_, err = s.Client.CoreV1().Pods("default").Create(ctx, big, metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "maximum memory usage per Container is 1Gi, but limit is 2Gi") {
		t.Errorf("too big: %v", err)
	}
}

func TestPodSecurity(t *testing.T) {
	s := apitest.Start(t)
	makeDefaultAccount(t, s)
	k := newKubectl(t, s)
	k.run("label", "namespace", "default", "pod-security.kubernetes.io/enforce=baseline")
	pod := simplePod("p")
	pod.Spec.HostNetwork = true
	eventually(t, "the label is known", func() bool {
		_, err := s.Client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{"All"}})
		return err != nil && strings.Contains(err.Error(), `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`)
	})
}

const policyYAML = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "object.data.size() < 2", message: too much data}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: small}
spec: {policyName: small, validationActions: [Deny]}
`

func TestAdmissionPolicy(t *testing.T) {
	s := apitest.Start(t)
	newKubectl(t, s).stdin(policyYAML, "create", "-f", "-")
	eventually(t, "the policy denies", func() bool {
		_, err := s.Client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"}, Data: map[string]string{"a": "", "b": ""}}, metav1.CreateOptions{})
		return err != nil && strings.Contains(err.Error(), "too much data")
	})
}

func TestAdmissionWebhook(t *testing.T) {
	s := apitest.Start(t)
	hook := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		patchType := admissionv1.PatchTypeJSONPatch
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true, PatchType: &patchType,
			Patch: []byte(`[{"op":"add","path":"/data","value":{"from":"hook"}}]`)}
		_ = json.NewEncoder(w).Encode(review)
	}))
	defer hook.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	none, fail := admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail
	_, err := s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "h"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "h.example.com", SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &hook.URL, CABundle: ca},
			Rules: []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{"CREATE"},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hook is called", func() bool {
		c, err := s.Client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"}}, metav1.CreateOptions{})
		return err == nil && c.Data["from"] == "hook"
	})
}
