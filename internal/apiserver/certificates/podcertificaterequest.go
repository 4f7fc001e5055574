package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func podCertificateRequests() resource.Resource {
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "podcertificaterequests",
		Singular:     "podcertificaterequest",
		Kind:         "PodCertificateRequest",
		Namespaced:   true,
		New:          func() runtime.Object { return &certificatesv1.PodCertificateRequest{} },
		NewList:      func() runtime.Object { return &certificatesv1.PodCertificateRequestList{} },
		Update: resource.Update{
			Reset: [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}},
		},
	}
}
