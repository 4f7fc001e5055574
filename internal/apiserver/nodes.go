package apiserver

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/proa-project/proa/internal/apiserver/admit"
	"github.com/proa-project/proa/internal/apiserver/authz"
	"github.com/proa-project/proa/internal/apiserver/objects"
)

// related finds what belongs to a node, in the server's own stores.
func (s *Server) related() authz.Related {
	return authz.Related{
		Pods:         s.podsOn,
		Claim:        namespaced[*corev1.PersistentVolumeClaim](s, "persistentvolumeclaims"),
		Volume:       getter[*corev1.PersistentVolume](s, "persistentvolumes"),
		Attachment:   getter[*storagev1.VolumeAttachment](s, "volumeattachments.storage.k8s.io"),
		Slice:        getter[*resourcev1.ResourceSlice](s, "resourceslices.resource.k8s.io"),
		Certificates: namespaced[*certificatesv1.PodCertificateRequest](s, "podcertificaterequests.certificates.k8s.io"),
	}
}

func (s *Server) podsOn(ctx context.Context, node string) ([]*corev1.Pod, error) {
	return objects.Select[*corev1.Pod](ctx, s.stores["pods"], "", &metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node)})
}

func (s *Server) nodeObjects(a authorizer.UnconditionalAuthorizer) admit.NodeObjects {
	return admit.NodeObjects{
		NodeOf:     authz.NodeOf,
		Pod:        namespaced[*corev1.Pod](s, "pods"),
		Node:       getter[*corev1.Node](s, "nodes"),
		Claim:      namespaced[*corev1.PersistentVolumeClaim](s, "persistentvolumeclaims"),
		Volume:     getter[*corev1.PersistentVolume](s, "persistentvolumes"),
		Driver:     getter[*storagev1.CSIDriver](s, "csidrivers.storage.k8s.io"),
		Account:    namespaced[*corev1.ServiceAccount](s, "serviceaccounts"),
		Authorizer: a,
	}
}
