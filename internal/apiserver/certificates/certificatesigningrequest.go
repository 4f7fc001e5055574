package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func certificateSigningRequests() resource.Resource {
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "certificatesigningrequests",
		Singular:     "certificatesigningrequest",
		Kind:         "CertificateSigningRequest",
		ShortNames:   []string{"csr"},
		New:          func() runtime.Object { return &certificatesv1.CertificateSigningRequest{} },
		NewList:      func() runtime.Object { return &certificatesv1.CertificateSigningRequestList{} },
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status":   {Reset: [][]string{{"spec"}}, Unconditional: true},
			"approval": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
