package podspec

import (
	"math"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// scope is what the check of a part of a spec needs to know of the whole.
type scope struct {
	Options
	spec    *v1.PodSpec
	path    *field.Path // of the spec
	pod     *metav1.ObjectMeta
	volumes map[string]*v1.VolumeSource // the valid ones, by name
	claims  sets.Set[string]            // names of spec.resourceClaims
}

// userNamespace: the pod has user IDs of its own.
func (s *scope) userNamespace() bool { return s.spec.HostUsers != nil && !*s.spec.HostUsers }

// ValidateSpec reports all that is wrong with a defaulted spec. Pod is the
// metadata of the pod it belongs to; nil for a template.
func ValidateSpec(spec *v1.PodSpec, pod *metav1.ObjectMeta, path *field.Path, opts Options) field.ErrorList {
	s := &scope{Options: opts, spec: spec, path: path, pod: pod, claims: claimNames(spec)}
	var grace, volumes field.ErrorList
	if spec.TerminationGracePeriodSeconds == nil {
		grace = field.ErrorList{field.Required(path.Child("terminationGracePeriodSeconds"), "")}
	}
	s.volumes, volumes = s.checkVolumes()
	return meta.Join(
		grace,
		volumes,
		s.checkResourceClaims(),
		s.checkContainers(),
		s.checkInitContainers(),
		s.checkEphemeralContainers(),
		s.checkPodResources(),
		s.checkHostNetworkPorts(),
		oneOf(path.Child("restartPolicy"), spec.RestartPolicy, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever),
		oneOf(path.Child("dnsPolicy"), spec.DNSPolicy, v1.DNSClusterFirstWithHostNet, v1.DNSClusterFirst, v1.DNSDefault, v1.DNSNone),
		metavalidation.ValidateLabels(spec.NodeSelector, path.Child("nodeSelector")),
		s.checkPodSecurityContext(),
		s.checkShareProcessNamespace(),
		checkAffinity(spec.Affinity, path.Child("affinity"), opts),
		s.checkDNSConfig(),
		checkReadinessGates(spec.ReadinessGates, path.Child("readinessGates")),
		checkSchedulingGates(spec.SchedulingGates, path.Child("schedulingGates")),
		checkTopologySpread(spec.TopologySpreadConstraints, path.Child("topologySpreadConstraints"), opts),
		s.checkHostProcess(),
		s.checkUserNamespace(),
		s.checkHostnameOverride(),
		s.checkNames(),
		s.checkScheduling(),
		s.checkOverhead(),
		s.checkOS(),
		s.checkEnvFiles(),
	)
}

// ValidateTemplate reports all that is wrong with a defaulted pod template.
func ValidateTemplate(template *v1.PodTemplateSpec, path *field.Path, opts Options) field.ErrorList {
	spec := path.Child("spec")
	errs := meta.Join(
		metavalidation.ValidateLabels(template.Labels, path.Child("labels")),
		apivalidation.ValidateAnnotations(template.Annotations, path.Child("annotations")),
		ValidateAnnotations(template.Annotations, &template.Spec, path.Child("annotations"), opts),
		ValidateSpec(&template.Spec, nil, spec, opts),
		ValidateProfiles(template.Annotations, &template.Spec, spec),
	)
	if len(template.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(spec.Child("ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// checkNames checks what a spec refers to by name, and its own names.
func (s *scope) checkNames() (errs field.ErrorList) {
	spec := s.spec
	if name := spec.ServiceAccountName; name != "" {
		errs = append(errs, meta.Invalid(s.path.Child("serviceAccountName"), name, apivalidation.ValidateServiceAccountName(name, false))...)
	}
	if old := spec.DeprecatedServiceAccount; old != spec.ServiceAccountName {
		errs = append(errs, field.Invalid(s.path.Child("deprecatedServiceAccount"), old, "must be the same as serviceAccountName: "+quote(spec.ServiceAccountName)))
	}
	if name := spec.NodeName; name != "" {
		errs = append(errs, objectName(s.path.Child("nodeName"), name)...)
	}
	if deadline := spec.ActiveDeadlineSeconds; deadline != nil && (*deadline < 1 || *deadline > math.MaxInt32) {
		errs = append(errs, field.Invalid(s.path.Child("activeDeadlineSeconds"), *deadline, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	if spec.Hostname != "" {
		errs = append(errs, meta.DNSLabel(s.path.Child("hostname"), spec.Hostname)...)
	}
	if spec.Subdomain != "" {
		errs = append(errs, meta.DNSLabel(s.path.Child("subdomain"), spec.Subdomain)...)
	}
	return errs
}

// checkScheduling checks what the scheduler and the runtime class read.
func (s *scope) checkScheduling() field.ErrorList {
	spec := s.spec
	errs := meta.Join(
		ValidateTolerations(spec.Tolerations, s.path.Child("tolerations")),
		checkHostAliases(spec.HostAliases, s.path.Child("hostAliases")),
	)
	if name := spec.PriorityClassName; name != "" {
		errs = append(errs, objectName(s.path.Child("priorityClassName"), name)...)
	}
	if name := spec.RuntimeClassName; name != nil {
		errs = append(errs, objectName(s.path.Child("runtimeClassName"), *name)...)
	}
	if policy := spec.PreemptionPolicy; policy != nil {
		errs = append(errs, oneOf(s.path.Child("preemptionPolicy"), *policy, v1.PreemptLowerPriority, v1.PreemptNever)...)
	}
	return errs
}
