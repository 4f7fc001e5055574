// Package certificates describes certificates.k8s.io: requests to sign, and trust bundles.
package certificates

import "github.com/proa-project/proa/internal/apiserver/resource"

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource {
	return []resource.Resource{
		certificateSigningRequests(),
		clusterTrustBundles(),
		podCertificateRequests(),
	}
}
