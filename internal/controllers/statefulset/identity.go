package statefulset

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// ordinalOf a pod of a set, by its name.
func ordinalOf(set *appsv1.StatefulSet, p *v1.Pod) (int, bool) {
	i := strings.LastIndexByte(p.Name, '-')
	if i < 0 || p.Name[:i] != set.Name {
		return 0, false
	}
	n, err := strconv.ParseUint(p.Name[i+1:], 10, 31)
	return int(n), err == nil
}

func start(set *appsv1.StatefulSet) int {
	if set.Spec.Ordinals == nil {
		return 0
	}
	return int(set.Spec.Ordinals.Start)
}

func wanted(set *appsv1.StatefulSet) int {
	if set.Spec.Replicas == nil {
		return 1
	}
	return int(*set.Spec.Replicas)
}

func inRange(set *appsv1.StatefulSet, ordinal int) bool {
	return ordinal >= start(set) && ordinal < start(set)+wanted(set)
}

func revisionOf(p *v1.Pod) string { return p.Labels[appsv1.StatefulSetRevisionLabel] }

// newPod with an ordinal, of a template and the revision that it is from.
func newPod(set *appsv1.StatefulSet, template *v1.PodTemplateSpec, revision string, ordinal int) *v1.Pod {
	p := podcontrol.FromTemplate(template, set, Kind)
	p.GenerateName, p.Name = "", fmt.Sprintf("%s-%d", set.Name, ordinal)
	identify(p, ordinal)
	p.Labels[appsv1.StatefulSetRevisionLabel] = revision
	p.Spec.Hostname, p.Spec.Subdomain = p.Name, set.Spec.ServiceName
	p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v v1.Volume) bool {
		return slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(c v1.PersistentVolumeClaim) bool { return c.Name == v.Name })
	})
	for _, c := range set.Spec.VolumeClaimTemplates {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: c.Name, VolumeSource: v1.VolumeSource{
			PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(set, &c, ordinal)},
		}})
	}
	return p
}

func identify(p *v1.Pod, ordinal int) {
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	p.Labels[appsv1.StatefulSetPodNameLabel] = p.Name
	p.Labels[appsv1.PodIndexLabel] = strconv.Itoa(ordinal)
}

func claimName(set *appsv1.StatefulSet, template *v1.PersistentVolumeClaim, ordinal int) string {
	return fmt.Sprintf("%s-%s-%d", template.Name, set.Name, ordinal)
}

// newClaims of the pod with an ordinal.
func newClaims(set *appsv1.StatefulSet, ordinal int) (claims []*v1.PersistentVolumeClaim) {
	for i := range set.Spec.VolumeClaimTemplates {
		c := set.Spec.VolumeClaimTemplates[i].DeepCopy()
		c.Name, c.Namespace = claimName(set, c, ordinal), set.Namespace
		c.Labels = maps.Clone(c.Labels)
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		maps.Copy(c.Labels, set.Spec.Selector.MatchLabels)
		c.Status = v1.PersistentVolumeClaimStatus{}
		claims = append(claims, c)
	}
	return claims
}

var podKind = v1.SchemeGroupVersion.WithKind("Pod")

// retention says whether claims go with the set, and with pods that are scaled away.
func retention(set *appsv1.StatefulSet) (withSet, withPod bool) {
	p := set.Spec.PersistentVolumeClaimRetentionPolicy
	if p == nil {
		return false, false
	}
	return p.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType, p.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType
}

func refersTo(r metav1.OwnerReference, kind, name string) bool {
	return r.Kind == kind && r.Name == name
}

// isStale says that a claim belongs to an earlier set or pod of the same name,
// and is about to go with it.
func isStale(claim *v1.PersistentVolumeClaim, kind string, owner metav1.Object) bool {
	return slices.ContainsFunc(claim.OwnerReferences, func(r metav1.OwnerReference) bool {
		return refersTo(r, kind, owner.GetName()) && r.UID != owner.GetUID()
	})
}

// claimOwners gives the owner references that a claim should have; conflict says
// that somebody else controls it.
func claimOwners(set *appsv1.StatefulSet, p *v1.Pod, claim *v1.PersistentVolumeClaim) (refs []metav1.OwnerReference, changed, conflict bool) {
	if isStale(claim, Kind.Kind, set) || isStale(claim, podKind.Kind, p) {
		return claim.OwnerReferences, false, false // not ours to touch
	}
	withSet, withPod := retention(set)
	for _, r := range claim.OwnerReferences {
		if refersTo(r, Kind.Kind, set.Name) || refersTo(r, podKind.Kind, p.Name) {
			continue
		}
		refs = append(refs, r)
		conflict = conflict || (withSet || withPod) && r.Controller != nil && *r.Controller
	}
	ordinal, _ := ordinalOf(set, p)
	scaledAway := !inRange(set, ordinal)
	switch {
	case conflict:
	case withPod && scaledAway:
		refs = append(refs, *metav1.NewControllerRef(p, podKind))
	case withSet && (!withPod || !scaledAway):
		refs = append(refs, *metav1.NewControllerRef(set, Kind))
	}
	return refs, !sameOwners(refs, claim.OwnerReferences), conflict
}

func sameOwners(a, b []metav1.OwnerReference) bool {
	return slices.EqualFunc(a, b, func(x, y metav1.OwnerReference) bool {
		return x.UID == y.UID && (x.Controller != nil && *x.Controller) == (y.Controller != nil && *y.Controller)
	})
}
