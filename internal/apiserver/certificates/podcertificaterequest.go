package certificates

import (
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PodCertificateRequest is a node asking a signer for a certificate for a pod.
// That a change of status comes from somebody who may sign is the server's to check.
func podCertificateRequests() resource.Resource {
	spec := certificatesv1.PodCertificateRequestSpec{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "podcertificaterequests",
		Singular:     "podcertificaterequest",
		Kind:         "PodCertificateRequest",
		Namespaced:   true,
		New:          func() runtime.Object { return &certificatesv1.PodCertificateRequest{} },
		NewList:      func() runtime.Object { return &certificatesv1.PodCertificateRequestList{} },
		Default: meta.Default(func(r *certificatesv1.PodCertificateRequest) {
			meta.SetDefault(&r.Spec.MaxExpirationSeconds, 24*60*60)
		}),
		Check: meta.Check(checkPodCertificateRequest),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(r, old *certificatesv1.PodCertificateRequest) field.ErrorList {
				return meta.Unchanged(field.NewPath("spec"), r.Spec, old.Spec)
			}),
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate: checkPodCertificateRequestStatus,
			Reset:       [][]string{{"metadata"}, {"spec"}},
		}},
		Fields: meta.Fields(func(r *certificatesv1.PodCertificateRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName, "spec.podName": r.Spec.PodName, "spec.nodeName": string(r.Spec.NodeName)}
		}),
		Columns: meta.Table(
			meta.Name(),
			meta.String("PodName", spec["podName"]),
			meta.String("ServiceAccountName", spec["serviceAccountName"]),
			meta.String("NodeName", spec["nodeName"]),
			meta.String("SignerName", spec["signerName"]),
			meta.String("State", "Is the request Pending, Issued, Denied, or Failed?"),
			meta.String("UnverifiedUserAnnotations", spec["unverifiedUserAnnotations"]),
		),
		Row: meta.Row(podCertificateRequestRow),
	}
}

func podCertificateRequestRow(r *certificatesv1.PodCertificateRequest, _ metav1.Time) []any {
	state := "Pending"
	for _, c := range r.Status.Conditions {
		if isVerdict(c.Type) {
			state = c.Type
		}
	}
	return []any{
		r.Name, r.Spec.PodName, r.Spec.ServiceAccountName, string(r.Spec.NodeName), r.Spec.SignerName, state,
		labels.FormatLabels(r.Spec.UnverifiedUserAnnotations),
	}
}

func isVerdict(condition string) bool {
	return condition == certificatesv1.PodCertificateRequestConditionTypeIssued ||
		condition == certificatesv1.PodCertificateRequestConditionTypeDenied ||
		condition == certificatesv1.PodCertificateRequestConditionTypeFailed
}

func isKubernetesSigner(name string) bool {
	host, _, _ := strings.Cut(name, "/")
	return host == "kubernetes.io" || strings.HasSuffix(host, ".kubernetes.io")
}
