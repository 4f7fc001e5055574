package admit

import (
	"context"
	"errors"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/warning"
	podsecurity "k8s.io/pod-security-admission/admission"
	podsecurityconfig "k8s.io/pod-security-admission/admission/api"
	podsecurityapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"
)

// PodSecurity holds pods to the Pod Security Standard that their namespace is
// labelled with.
type PodSecurity struct{ delegate *podsecurity.Admission }

var _ admission.ValidationInterface = PodSecurity{}

// Namespaces and their pods, as PodSecurity looks them up.
type (
	NamespaceGetter func(ctx context.Context, name string) (*corev1.Namespace, error)
	PodLister       func(ctx context.Context, namespace string) ([]*corev1.Pod, error)
)

func (f NamespaceGetter) GetNamespace(ctx context.Context, name string) (*corev1.Namespace, error) {
	return f(ctx, name)
}

func (f PodLister) ListPods(ctx context.Context, namespace string) ([]*corev1.Pod, error) {
	return f(ctx, namespace)
}

// NewPodSecurity uses the standard's latest version; namespaces without a label
// are privileged.
func NewPodSecurity(namespaces NamespaceGetter, pods PodLister) (PodSecurity, error) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return PodSecurity{}, err
	}
	privileged, latest := string(podsecurityapi.LevelPrivileged), podsecurityapi.VersionLatest
	d := &podsecurity.Admission{
		Configuration: &podsecurityconfig.PodSecurityConfiguration{Defaults: podsecurityconfig.PodSecurityDefaults{
			Enforce: privileged, EnforceVersion: latest, Audit: privileged, AuditVersion: latest, Warn: privileged, WarnVersion: latest,
		}},
		Evaluator:        evaluator,
		Metrics:          metrics.NewPrometheusRecorder(podsecurityapi.GetAPIVersion()),
		PodSpecExtractor: podsecurity.DefaultPodSpecExtractor{},
		NamespaceGetter:  namespaces,
		PodLister:        pods,
	}
	if err := d.CompleteConfiguration(); err != nil {
		return PodSecurity{}, err
	}
	return PodSecurity{d}, d.ValidateConfiguration()
}

func (PodSecurity) Handles(o admission.Operation) bool {
	return o == admission.Create || o == admission.Update
}

func (p PodSecurity) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	gr := a.GetResource().GroupResource()
	if gr != pods && gr != (schema.GroupResource{Resource: "namespaces"}) && !p.delegate.PodSpecExtractor.HasPodSpec(gr) {
		return nil
	}
	response := p.delegate.Validate(ctx, securityAttributes{a})
	for _, w := range response.Warnings {
		warning.AddWarning(ctx, "", w)
	}
	for k, v := range response.AuditAnnotations {
		audit.AddAuditAnnotation(ctx, podsecurityapi.AuditAnnotationPrefix+k, v)
	}
	if response.Allowed {
		return nil
	}
	return refusal(a, response)
}

func refusal(a admission.Attributes, r *admissionv1.AdmissionResponse) error {
	err := admission.NewForbidden(a, errors.New("Not allowed by PodSecurity")) //nolint:staticcheck // the API's wording
	status := (*apierrors.StatusError)(nil)
	if !errors.As(err, &status) || r.Result == nil {
		return err
	}
	if r.Result.Message != "" {
		status.ErrStatus.Message = r.Result.Message
	}
	if r.Result.Reason != "" {
		status.ErrStatus.Reason = r.Result.Reason
	}
	if r.Result.Details != nil {
		status.ErrStatus.Details = r.Result.Details
	}
	if r.Result.Code != 0 {
		status.ErrStatus.Code = r.Result.Code
	}
	return status
}

// securityAttributes: objects are of the v1 types already.
type securityAttributes struct{ admission.Attributes }

func (s securityAttributes) GetObject() (runtime.Object, error) { return s.Attributes.GetObject(), nil }
func (s securityAttributes) GetOldObject() (runtime.Object, error) {
	return s.Attributes.GetOldObject(), nil
}
func (s securityAttributes) GetOperation() admissionv1.Operation {
	return admissionv1.Operation(s.Attributes.GetOperation())
}
func (s securityAttributes) GetUserName() string { return s.GetUserInfo().GetName() }
