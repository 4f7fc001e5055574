package apiserver

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagemigrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/registration"
	"github.com/proa-project/proa/internal/apiserver/registry"
	"github.com/proa-project/proa/internal/apiserver/usage"
)

type addToScheme = func(*runtime.Scheme) error

// groups lists what is served, in the order of preference that discovery
// shows: it decides which of two groups "kubectl get events" means.
var groups = []registry.Group{
	{Name: "", Versions: []string{"v1"}, AddToScheme: []addToScheme{corev1.AddToScheme}},
	{Name: "apps", Versions: []string{"v1"}, AddToScheme: []addToScheme{appsv1.AddToScheme}},
	{Name: "events.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{eventsv1.AddToScheme}},
	{Name: "authentication.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{authenticationv1.AddToScheme}},
	{Name: "authorization.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{authorizationv1.AddToScheme}},
	{Name: "autoscaling", Versions: []string{"v2", "v1"}, AddToScheme: []addToScheme{autoscalingv2.AddToScheme, autoscalingv1.AddToScheme}},
	{Name: "batch", Versions: []string{"v1"}, AddToScheme: []addToScheme{batchv1.AddToScheme}},
	{Name: "certificates.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{certificatesv1.AddToScheme}},
	{Name: "networking.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{networkingv1.AddToScheme}},
	{Name: "policy", Versions: []string{"v1"}, AddToScheme: []addToScheme{policyv1.AddToScheme}},
	{Name: "rbac.authorization.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{rbacv1.AddToScheme}},
	{Name: "storage.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{storagev1.AddToScheme}},
	{Name: "admissionregistration.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{admissionregistrationv1.AddToScheme}},
	{Name: "scheduling.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{schedulingv1.AddToScheme}},
	{Name: "coordination.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{coordinationv1.AddToScheme}},
	{Name: "node.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{nodev1.AddToScheme}},
	{Name: "discovery.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{discoveryv1.AddToScheme}},
	{Name: "resource.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{resourcev1.AddToScheme}},
	{Name: "flowcontrol.apiserver.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{flowcontrolv1.AddToScheme}},
	{Name: "metrics.k8s.io", Versions: []string{"v1beta1"}, AddToScheme: []addToScheme{usage.AddToScheme}},
	{Name: "apiregistration.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{registration.AddToScheme}},
	{Name: "storagemigration.k8s.io", Versions: []string{"v1"}, AddToScheme: []addToScheme{storagemigrationv1.AddToScheme}},
}
