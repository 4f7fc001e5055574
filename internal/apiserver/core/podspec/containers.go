package podspec

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

func (s *scope) checkContainers() field.ErrorList {
	path := s.path.Child("containers")
	if len(s.spec.Containers) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	names := sets.Set[string]{}
	for i := range s.spec.Containers {
		c, at := &s.spec.Containers[i], path.Index(i)
		errs = append(errs, s.checkContainer(c, at)...)
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		}
		names.Insert(c.Name)
		errs = append(errs, s.checkLifecycleAndProbes(c, at)...)
		errs = append(errs, checkRestartRules(c, at)...)
	}
	return append(errs, checkHostPortConflicts(s.spec.Containers, path)...)
}

func (s *scope) checkInitContainers() field.ErrorList {
	path := s.path.Child("initContainers")
	names := sets.Set[string]{}
	for i := range s.spec.Containers {
		names.Insert(s.spec.Containers[i].Name)
	}
	var errs field.ErrorList
	for i := range s.spec.InitContainers {
		c, at := &s.spec.InitContainers[i], path.Index(i)
		errs = append(errs, s.checkContainer(c, at)...)
		errs = append(errs, checkRestartRules(c, at)...)
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		} else if c.Name != "" {
			names.Insert(c.Name)
		}
		// One by one, because init containers run one by one and may share a port.
		errs = append(errs, checkHostPortConflicts(s.spec.InitContainers[i:i+1], path)...)
		if IsSidecar(c) {
			errs = append(errs, s.checkLifecycleAndProbes(c, at)...)
		} else {
			errs = append(errs, s.checkPlainInit(c, at)...)
		}
	}
	return errs
}

// checkPlainInit refuses what makes sense only for a container that goes on running.
func (s *scope) checkPlainInit(c *v1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"lifecycle", c.Lifecycle != nil},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(at.Child(f.name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	if s.AllowRestartResizeInInit {
		return errs
	}
	for j, p := range c.ResizePolicy {
		if p.RestartPolicy == v1.RestartContainer {
			errs = append(errs, field.Invalid(at.Child("resizePolicy").Index(j).Child("restartPolicy"), p.RestartPolicy, "must not be set to 'RestartContainer' for non-sidecar initContainers"))
		}
	}
	return errs
}

// checkContainer checks what all kinds of containers have in common.
func (s *scope) checkContainer(c *v1.Container, at *field.Path) field.ErrorList {
	name := meta.Required(at.Child("name"), c.Name)
	if c.Name != "" {
		name = meta.DNSLabel(at.Child("name"), c.Name)
	}
	return meta.Join(
		name,
		meta.Required(at.Child("image"), c.Image),
		oneOf(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy, v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError),
		checkPorts(c.Ports, at.Child("ports")),
		checkEnv(c.Env, at.Child("env")),
		checkEnvFrom(c.EnvFrom, at.Child("envFrom")),
		s.checkMounts(c, at.Child("volumeMounts")),
		s.checkDevices(c, at.Child("volumeDevices")),
		checkPullPolicy(c.ImagePullPolicy, at.Child("imagePullPolicy")),
		s.checkResources(&c.Resources, at.Child("resources"), meta.ContainerResourceName),
		s.checkResizePolicy(c.ResizePolicy, at.Child("resizePolicy")),
		s.checkSecurityContext(c.SecurityContext, at.Child("securityContext")),
	)
}

// ValidateImages reports images that a pod may not have though a template may,
// for the sake of templates that are older than the rule.
func ValidateImages(containers []v1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range containers {
		errs = append(errs, checkImage(containers[i].Image, path.Index(i).Child("image"))...)
	}
	return errs
}

func checkImage(image string, at *field.Path) field.ErrorList {
	if image != strings.TrimSpace(image) {
		return field.ErrorList{field.Invalid(at, image, "must not have leading or trailing whitespace")}
	}
	return nil
}

func checkPullPolicy(policy v1.PullPolicy, at *field.Path) field.ErrorList {
	return meta.OneOf(at, policy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
}

func (s *scope) checkResizePolicy(policies []v1.ContainerResizePolicy, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.Set[v1.ResourceName]{}
	for i, p := range policies {
		if seen.Has(p.ResourceName) {
			errs = append(errs, field.Duplicate(at.Index(i), p.ResourceName))
		}
		seen.Insert(p.ResourceName)
		errs = append(errs, meta.OneOf(at, p.ResourceName, v1.ResourceCPU, v1.ResourceMemory)...)
		errs = append(errs, meta.OneOf(at, p.RestartPolicy, v1.NotRequired, v1.RestartContainer)...)
		if s.spec.RestartPolicy == v1.RestartPolicyNever && p.RestartPolicy != v1.NotRequired {
			errs = append(errs, field.Invalid(at, p.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}
