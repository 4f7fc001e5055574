// Package registration describes apiregistration.k8s.io: which server answers for
// a version of an API group.
package registration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	registrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Resources lists the group's kinds as the API serves them.
func Resources() []resource.Resource { return []resource.Resource{apiServices()} }

// AddToScheme registers the types alone: the module's own function brings the
// conversions to its internal ones too.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(registrationv1.SchemeGroupVersion, &registrationv1.APIService{}, &registrationv1.APIServiceList{})
	metav1.AddToGroupVersion(s, registrationv1.SchemeGroupVersion)
	return nil
}
