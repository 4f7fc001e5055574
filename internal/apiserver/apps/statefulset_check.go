package apps

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

func checkStatefulSet(s *appsv1.StatefulSet) field.ErrorList {
	errs := checkStatefulSpec(s, nil)
	path := field.NewPath("spec")
	for i := range s.Spec.VolumeClaimTemplates {
		errs = append(errs, core.CheckClaimSpec(path.Child("volumeClaimTemplates").Index(i).Child("spec"), &s.Spec.VolumeClaimTemplates[i].Spec, nil)...)
	}
	if s.Spec.ServiceName != "" {
		errs = append(errs, meta.DNSLabel(path.Child("serviceName"), s.Spec.ServiceName)...)
	}
	return errs
}

// checkStatefulSpec checks what may change; old is nil at creation.
func checkStatefulSpec(s, old *appsv1.StatefulSet) field.ErrorList {
	path, spec := field.NewPath("spec"), &s.Spec
	errs := append(checkPodManagement(path.Child("podManagementPolicy"), spec.PodManagementPolicy), checkStatefulStrategy(path.Child("updateStrategy"), &spec.UpdateStrategy)...)
	if policy := spec.PersistentVolumeClaimRetentionPolicy; policy != nil {
		path := path.Child("persistentVolumeClaimRetentionPolicy")
		errs = append(errs, checkRetention(path.Child("whenDeleted"), policy.WhenDeleted)...)
		errs = append(errs, checkRetention(path.Child("whenScaled"), policy.WhenScaled)...)
	}
	errs = append(errs, meta.NonNegative(path.Child("replicas"), meta.Deref(spec.Replicas, 0))...)
	errs = append(errs, meta.NonNegative(path.Child("minReadySeconds"), spec.MinReadySeconds)...)
	if spec.Ordinals != nil {
		errs = append(errs, meta.NonNegative(path.Child("ordinals.start"), spec.Ordinals.Start)...)
	}
	selector, wrong := workload.CheckSelector(path.Child("selector"), spec.Selector, nil, "statefulset")
	errs = append(errs, wrong...)
	var stored *corev1.PodTemplateSpec
	if old != nil {
		stored = podsOf(&old.Spec)
	}
	return append(errs, workload.CheckRunning(path.Child("template"), podsOf(spec), stored, selector, "StatefulSet")...)
}

// podsOf is the template as the controller will use it: with the volumes of the
// claims, and without the names that each pod gets for itself.
func podsOf(spec *appsv1.StatefulSetSpec) *corev1.PodTemplateSpec {
	template := spec.Template.DeepCopy()
	template.Spec.Subdomain, template.Spec.Hostname = "", ""
	var volumes []corev1.Volume
	claimed := sets.New[string]()
	for _, claim := range spec.VolumeClaimTemplates {
		if claimed.Has(claim.Name) {
			continue
		}
		claimed.Insert(claim.Name)
		volumes = append(volumes, corev1.Volume{Name: claim.Name, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name},
		}})
	}
	for _, volume := range template.Spec.Volumes {
		if !claimed.Has(volume.Name) {
			volumes = append(volumes, volume)
		}
	}
	template.Spec.Volumes = volumes
	return template
}

func checkPodManagement(path *field.Path, policy appsv1.PodManagementPolicyType) field.ErrorList {
	switch policy {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
		return nil
	}
	return field.ErrorList{field.Invalid(path, policy, fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement))}
}

func checkStatefulStrategy(path *field.Path, strategy *appsv1.StatefulSetUpdateStrategy) field.ErrorList {
	rolling := strategy.RollingUpdate
	switch strategy.Type {
	case "":
		return field.ErrorList{field.Required(path, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if rolling != nil {
			return field.ErrorList{field.Invalid(path.Child("rollingUpdate"), rolling, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if rolling == nil {
			return nil
		}
		path = path.Child("rollingUpdate")
		errs := meta.NonNegative(path.Child("partition"), meta.Deref(rolling.Partition, 0))
		if most := rolling.MaxUnavailable; most != nil {
			path = path.Child("maxUnavailable")
			errs = append(errs, meta.CountOrPercent(path, *most)...)
			if meta.IsZero(*most) {
				errs = append(errs, field.Invalid(path, *most, "cannot be 0"))
			}
			errs = append(errs, meta.AtMostAll(path, *most)...)
		}
		return errs
	}
	return field.ErrorList{field.Invalid(path, strategy, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
}

// checkStatefulSetUpdate: what pods are recognized by, and what was made for
// them, stays. A template that was stored invalid is not complained of.
func checkStatefulSetUpdate(s, old *appsv1.StatefulSet) field.ErrorList {
	errs := checkStatefulSpec(s, old)
	if len(errs) > 0 && len(checkStatefulSpec(old, old)) > 0 {
		lenient := s.DeepCopy()
		lenient.Spec.Template = old.Spec.Template
		known := checkStatefulSpec(lenient, old)
		errs = slices.DeleteFunc(errs, func(e *field.Error) bool {
			return slices.ContainsFunc(known, func(k *field.Error) bool { return k.Error() == e.Error() })
		})
	}
	path := field.NewPath("spec")
	return meta.Join(errs,
		meta.Unchanged(path.Child("selector"), s.Spec.Selector, old.Spec.Selector),
		meta.Unchanged(path.Child("volumeClaimTemplates"), s.Spec.VolumeClaimTemplates, old.Spec.VolumeClaimTemplates),
		meta.Unchanged(path.Child("serviceName"), s.Spec.ServiceName, old.Spec.ServiceName),
		meta.Unchanged(path.Child("podManagementPolicy"), s.Spec.PodManagementPolicy, old.Spec.PodManagementPolicy),
	)
}

func checkStatefulSetStatus(s, old *appsv1.StatefulSet) field.ErrorList {
	path, status := field.NewPath("status"), s.Status
	return meta.Join(
		meta.NonNegative(path.Child("replicas"), status.Replicas),
		meta.NonNegative(path.Child("readyReplicas"), status.ReadyReplicas),
		meta.NonNegative(path.Child("currentReplicas"), status.CurrentReplicas),
		meta.NonNegative(path.Child("updatedReplicas"), status.UpdatedReplicas),
		meta.NonNegative(path.Child("availableReplicas"), status.AvailableReplicas),
		meta.NonNegative(path.Child("observedGeneration"), status.ObservedGeneration),
		workload.NoMore(path.Child("readyReplicas"), status.ReadyReplicas, status.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("currentReplicas"), status.CurrentReplicas, status.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("updatedReplicas"), status.UpdatedReplicas, status.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), status.AvailableReplicas, status.Replicas, moreThanReplicas),
		workload.NoMore(path.Child("availableReplicas"), status.AvailableReplicas, status.ReadyReplicas, "cannot be greater than status.readyReplicas"),
		workload.CheckCollisions(path.Child("collisionCount"), status.CollisionCount, old.Status.CollisionCount),
	)
}

func checkRetention(path *field.Path, policy appsv1.PersistentVolumeClaimRetentionPolicyType) field.ErrorList {
	known := []appsv1.PersistentVolumeClaimRetentionPolicyType{appsv1.RetainPersistentVolumeClaimRetentionPolicyType, appsv1.DeletePersistentVolumeClaimRetentionPolicyType}
	if slices.Contains(known, policy) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, policy, known)}
}
