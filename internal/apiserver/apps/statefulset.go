package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
	"github.com/proa-project/proa/internal/apiserver/workload"
)

// A StatefulSet runs pods that keep their names and volumes.
func statefulSets() resource.Resource {
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "statefulsets",
		Singular:     "statefulset",
		Kind:         "StatefulSet",
		ShortNames:   []string{"sts"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.StatefulSet{} },
		NewList:      func() runtime.Object { return &appsv1.StatefulSetList{} },
		Generation:   true,
		Default:      meta.Default(defaultStatefulSet),
		Prepare:      meta.Prepare(func(s *appsv1.StatefulSet) { podspec.DropUnservedInTemplate(&s.Spec.Template) }),
		Check:        meta.Check(checkStatefulSet),
		CheckName:    apivalidation.NameIsDNSLabel, // pods are named after it, and named in DNS
		Warn: meta.Warn(func(s *appsv1.StatefulSet) []string {
			return append(workload.WarnPods(&s.Spec.Template), warnStatefulSet(s)...)
		}),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(func(s, _ *appsv1.StatefulSet) { podspec.DropUnservedInTemplate(&s.Spec.Template) }),
			CheckUpdate:   meta.CheckUpdate(checkStatefulSetUpdate),
			WarnUpdate: meta.WarnUpdate(func(s, old *appsv1.StatefulSet) []string {
				return append(workload.WarnChangedPods(s, old, &s.Spec.Template), warnStatefulSet(s)...)
			}),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Subresources: map[string]resource.Update{"status": {
			CheckUpdate:   meta.CheckUpdate(checkStatefulSetStatus),
			Reset:         [][]string{{"spec"}},
			Unconditional: true,
		}},
		Columns: meta.Table(
			meta.Name(),
			meta.String("Ready", "Number of the pod with ready state"),
			meta.Created(),
			meta.Wide(meta.Containers()),
			meta.Wide(meta.Images()),
		),
		Row: meta.Row(statefulSetRow),
	}
}

func defaultStatefulSet(s *appsv1.StatefulSet) {
	spec := &s.Spec
	meta.SetDefault(&spec.Replicas, 1)
	meta.SetDefault(&spec.RevisionHistoryLimit, 10)
	if spec.PodManagementPolicy == "" {
		spec.PodManagementPolicy = appsv1.OrderedReadyPodManagement
	}
	strategy := &spec.UpdateStrategy
	if strategy.Type == "" {
		strategy.Type = appsv1.RollingUpdateStatefulSetStrategyType
		meta.SetDefault(&strategy.RollingUpdate, appsv1.RollingUpdateStatefulSetStrategy{})
	}
	if strategy.Type == appsv1.RollingUpdateStatefulSetStrategyType && strategy.RollingUpdate != nil {
		meta.SetDefault(&strategy.RollingUpdate.Partition, 0)
		meta.SetDefault(&strategy.RollingUpdate.MaxUnavailable, intstr.FromInt32(1))
	}
	meta.SetDefault(&spec.PersistentVolumeClaimRetentionPolicy, appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{})
	for _, policy := range []*appsv1.PersistentVolumeClaimRetentionPolicyType{
		&spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted, &spec.PersistentVolumeClaimRetentionPolicy.WhenScaled,
	} {
		if *policy == "" {
			*policy = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
		}
	}
	for i := range spec.VolumeClaimTemplates {
		defaultClaimTemplate(&spec.VolumeClaimTemplates[i])
	}
	podspec.DefaultTemplate(&spec.Template)
}

// defaultClaimTemplate fills a claim inside a StatefulSet as one of its own:
// clients compare it with what they are shown, type and phase included.
func defaultClaimTemplate(c *corev1.PersistentVolumeClaim) {
	c.TypeMeta = metav1.TypeMeta{Kind: "PersistentVolumeClaim", APIVersion: "v1"}
	if c.Status.Phase == "" {
		c.Status.Phase = corev1.ClaimPending
	}
	core.DefaultClaimSpec(&c.Spec)
}

func warnStatefulSet(s *appsv1.StatefulSet) []string {
	var warnings []string
	for i := range s.Spec.VolumeClaimTemplates {
		warnings = append(warnings, core.WarnClaimSpec(field.NewPath("spec", "volumeClaimTemplates").Index(i), &s.Spec.VolumeClaimTemplates[i].Spec)...)
	}
	if meta.Deref(s.Spec.RevisionHistoryLimit, 0) < 0 {
		warnings = append(warnings, "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended")
	}
	return warnings
}

func statefulSetRow(s *appsv1.StatefulSet, now metav1.Time) []any {
	names, images := meta.ContainerCells(s.Spec.Template.Spec.Containers)
	return []any{s.Name, fmt.Sprintf("%d/%d", s.Status.ReadyReplicas, meta.Deref(s.Spec.Replicas, 0)), meta.Age(s.CreationTimestamp, now), names, images}
}
