package podspec

import (
	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/apiserver/meta"
)

// Tolerating returns the options for an update of what is stored: a rule that
// the stored object breaks already is not held against the update.
func Tolerating(old *v1.PodSpec, annotations map[string]string) Options {
	cost, hasCost := annotations[v1.PodDeletionCost]
	return Options{
		AllowInvalidSelectorValues:     anyPodTerm(old, func(t *v1.PodAffinityTerm) bool { return len(checkPodTermSelectors(t, nil, false)) > 0 }),
		AllowInvalidNodeAffinityValues: meta.LenientNodeSelector(requiredNodes(old)),
		AllowInvalidSpreadSelector:     anySpread(old, func(c *v1.TopologySpreadConstraint) bool { return len(meta.Selector(nil, c.LabelSelector)) > 0 }),
		AllowIndivisibleHugePages:      hasIndivisibleHugePages(old),
		AllowNonLocalTokenPath:         hasNonLocalTokenPath(old),
		AllowInvalidDeletionCost:       hasCost && !isDeletionCost(cost),
		AllowHostNamespaceSysctls:      hasHostSysctl(old),
		AllowEmptyImageVolume:          anyVolume(old, func(v *v1.Volume) bool { return v.Image != nil && v.Image.Reference == "" }),
		AllowBlockWithUserNamespace:    isFalse(old.HostUsers) && anyContainer(old, func(c *v1.Container) bool { return len(c.VolumeDevices) > 0 }),
		AllowSysAdminUnprivileged:      anyContainer(old, mayBeSysAdmin),
		AllowRestartResizeInInit:       hasRestartResizeInInit(old),
		UseLegacyMatchLabelKeys: anySpread(old, func(c *v1.TopologySpreadConstraint) bool {
			return len(checkMatchLabelKeys(c.MatchLabelKeys, nil, c.LabelSelector, nil)) > 0
		}),
	}
}

// ToleratingTemplate is Tolerating for a template; old may be nil, at creation.
func ToleratingTemplate(old *v1.PodTemplateSpec) Options {
	if old == nil {
		return Options{}
	}
	return Tolerating(&old.Spec, old.Annotations)
}

func anyContainer(spec *v1.PodSpec, is func(*v1.Container) bool) bool {
	for c := range All(spec) {
		if is(c) {
			return true
		}
	}
	return false
}

func anyVolume(spec *v1.PodSpec, is func(*v1.Volume) bool) bool {
	for i := range spec.Volumes {
		if is(&spec.Volumes[i]) {
			return true
		}
	}
	return false
}

func anySpread(spec *v1.PodSpec, is func(*v1.TopologySpreadConstraint) bool) bool {
	for i := range spec.TopologySpreadConstraints {
		if is(&spec.TopologySpreadConstraints[i]) {
			return true
		}
	}
	return false
}

func anyPodTerm(spec *v1.PodSpec, is func(*v1.PodAffinityTerm) bool) bool {
	for term := range podTerms(spec) {
		if is(term) {
			return true
		}
	}
	return false
}

// podTerms yields every term of pod affinity and anti-affinity.
func podTerms(spec *v1.PodSpec) func(yield func(*v1.PodAffinityTerm) bool) {
	return func(yield func(*v1.PodAffinityTerm) bool) {
		if spec.Affinity == nil {
			return
		}
		lists := func(must []v1.PodAffinityTerm, should []v1.WeightedPodAffinityTerm) bool {
			for i := range should {
				if !yield(&should[i].PodAffinityTerm) {
					return false
				}
			}
			for i := range must {
				if !yield(&must[i]) {
					return false
				}
			}
			return true
		}
		if a := spec.Affinity.PodAffinity; a != nil && !lists(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution) {
			return
		}
		if a := spec.Affinity.PodAntiAffinity; a != nil {
			lists(a.RequiredDuringSchedulingIgnoredDuringExecution, a.PreferredDuringSchedulingIgnoredDuringExecution)
		}
	}
}

func requiredNodes(spec *v1.PodSpec) *v1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

func hasIndivisibleHugePages(spec *v1.PodSpec) bool {
	lists := []v1.ResourceList{spec.Overhead}
	for c := range All(spec) {
		lists = append(lists, c.Resources.Limits, c.Resources.Requests)
	}
	for _, list := range lists {
		for name, q := range list {
			if isHugePages(name) && !wholePages(name, q) {
				return true
			}
		}
	}
	return false
}

func hasNonLocalTokenPath(spec *v1.PodSpec) bool {
	return anyVolume(spec, func(v *v1.Volume) bool {
		if v.Projected == nil {
			return false
		}
		for _, source := range v.Projected.Sources {
			if t := source.ServiceAccountToken; t != nil && len(projectedPath(nil, t.Path)) > 0 {
				return true
			}
		}
		return false
	})
}

func hasHostSysctl(spec *v1.PodSpec) bool {
	if spec.SecurityContext == nil {
		return false
	}
	for _, c := range spec.SecurityContext.Sysctls {
		if len(checkHostSysctl(c.Name, spec, nil)) > 0 {
			return true
		}
	}
	return false
}

func mayBeSysAdmin(c *v1.Container) bool {
	security := c.SecurityContext
	if security == nil || isTrue(security.AllowPrivilegeEscalation) || security.Capabilities == nil {
		return false
	}
	for _, capability := range security.Capabilities.Add {
		if capability == "CAP_SYS_ADMIN" {
			return true
		}
	}
	return false
}

func hasRestartResizeInInit(spec *v1.PodSpec) bool {
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		for _, p := range c.ResizePolicy {
			if !IsSidecar(c) && p.RestartPolicy == v1.RestartContainer {
				return true
			}
		}
	}
	return false
}
