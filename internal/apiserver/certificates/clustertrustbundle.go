package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func clusterTrustBundles() resource.Resource {
	return resource.Resource{
		GroupVersion: certificatesv1.SchemeGroupVersion,
		Name:         "clustertrustbundles",
		Singular:     "clustertrustbundle",
		Kind:         "ClusterTrustBundle",
		New:          func() runtime.Object { return &certificatesv1.ClusterTrustBundle{} },
		NewList:      func() runtime.Object { return &certificatesv1.ClusterTrustBundleList{} },
	}
}
