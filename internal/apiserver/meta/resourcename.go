package meta

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What may be asked for, limited and counted, by name. A name without a slash is
// the API's own, one with a slash ("example.com/gpu") belongs to whoever owns the domain.

const quotaRequests = "requests." // how a quota names the requests of any resource

var countedObjects = sets.New(
	corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
	corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers,
)

var quotaResources = countedObjects.Union(sets.New(
	corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsStorage, corev1.ResourceRequestsEphemeralStorage,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage,
))

var containerResources = sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage)

func hugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func quotaHugePages(name corev1.ResourceName) bool {
	return hugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

// Native tells a resource of the API's own.
func Native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// Extended tells a resource of somebody's domain that a quota can name too.
func Extended(name corev1.ResourceName) bool {
	return !Native(name) && !strings.HasPrefix(string(name), quotaRequests) &&
		len(validation.IsQualifiedName(quotaRequests+string(name))) == 0
}

// Overcommits tells whether limits may exceed requests.
func Overcommits(name corev1.ResourceName) bool { return Native(name) && !hugePages(name) }

// StandardQuotaResource tells a name that quotas know without a domain.
func StandardQuotaResource(name corev1.ResourceName) bool {
	return quotaResources.Has(name) || quotaHugePages(name)
}

// ResourceName checks a name that may be used anywhere.
func ResourceName(path *field.Path, name corev1.ResourceName) field.ErrorList {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		return Invalid(path, name, messages)
	}
	standard := StandardQuotaResource(name) || name == corev1.ResourceStorage
	if !strings.Contains(string(name), "/") && !standard {
		return field.ErrorList{field.Invalid(path, name, "must be a standard resource type or fully qualified")}
	}
	return nil
}

// ContainerResourceName checks the name of something that a container may ask for.
func ContainerResourceName(path *field.Path, name corev1.ResourceName) field.ErrorList {
	errs := ResourceName(path, name)
	switch {
	case !strings.Contains(string(name), "/"):
		if !containerResources.Has(name) && !hugePages(name) {
			errs = append(errs, field.Invalid(path, name, "must be a standard resource for containers"))
		}
	case !Native(name) && !Extended(name):
		errs = append(errs, field.Invalid(path, name, "doesn't follow extended resource name standard"))
	}
	return errs
}

// QuotaResourceName checks the name of something that a quota may limit.
func QuotaResourceName(path *field.Path, name corev1.ResourceName) field.ErrorList {
	errs := ResourceName(path, name)
	if !strings.Contains(string(name), "/") && !StandardQuotaResource(name) {
		errs = append(errs, field.Invalid(path, name, "must be a standard resource for quota"))
	}
	return errs
}

// ResourceAmount checks a quantity against its name: never negative, and whole
// where the resource comes in pieces.
func ResourceAmount(path *field.Path, name corev1.ResourceName, amount resource.Quantity) field.ErrorList {
	errs := Quantity(path, amount)
	if (countedObjects.Has(name) || Extended(name)) && amount.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, amount, NotInteger))
	}
	return errs
}
