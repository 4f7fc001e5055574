package deployment

import (
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Annotations by which sizes are remembered on ReplicaSets.
const (
	desiredReplicas = "deployment.kubernetes.io/desired-replicas"
	maxReplicas     = "deployment.kubernetes.io/max-replicas"
)

// bounds of a rollout: how many pods there may be too many or too few.
type bounds struct{ surge, unavailable int32 }

func boundsOf(d *appsv1.Deployment) bounds {
	if d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return bounds{}
	}
	replicas := int(wanted(d))
	var b bounds
	if r := d.Spec.Strategy.RollingUpdate; r != nil {
		b.surge, b.unavailable = scaled(r.MaxSurge, replicas, true), scaled(r.MaxUnavailable, replicas, false)
	}
	if b.surge == 0 && b.unavailable == 0 {
		b.unavailable = 1 // both rounded to nothing: then a rollout could not move
	}
	b.unavailable = min(b.unavailable, wanted(d))
	return b
}

func scaled(v *intstr.IntOrString, of int, up bool) int32 {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, of, up)
	if err != nil {
		return 0 // the API lets none in
	}
	return int32(n)
}

func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func size(rs *appsv1.ReplicaSet) int32 {
	if rs == nil || rs.Spec.Replicas == nil {
		return 0
	}
	return *rs.Spec.Replicas
}

func total(sets []*appsv1.ReplicaSet, count func(*appsv1.ReplicaSet) int32) (sum int32) {
	for _, rs := range sets {
		if rs != nil {
			sum += count(rs)
		}
	}
	return sum
}

func available(rs *appsv1.ReplicaSet) int32 { return rs.Status.AvailableReplicas }

// serving are the available pods that a set may keep: one that has just been
// told to shrink still reports more.
func serving(rs *appsv1.ReplicaSet) int32 { return min(rs.Status.AvailableReplicas, size(rs)) }

func existing(rs *appsv1.ReplicaSet) int32 { return rs.Status.Replicas }
func ready(rs *appsv1.ReplicaSet) int32    { return rs.Status.ReadyReplicas }

func active(sets []*appsv1.ReplicaSet) (kept []*appsv1.ReplicaSet) {
	for _, rs := range sets {
		if size(rs) > 0 {
			kept = append(kept, rs)
		}
	}
	return kept
}

// resize a set and note on it how large the Deployment was meant to be.
func resize(d *appsv1.Deployment, rs *appsv1.ReplicaSet, to int32) {
	rs.Spec.Replicas = &to
	annotate(rs, desiredReplicas, strconv.Itoa(int(wanted(d))))
	annotate(rs, maxReplicas, strconv.Itoa(int(wanted(d)+boundsOf(d).surge)))
}

func annotate(rs *appsv1.ReplicaSet, key, value string) {
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[key] = value
}

func number(rs *appsv1.ReplicaSet, annotation string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[annotation], 10, 32)
	return int32(n), err == nil && n >= 0
}

// grown is the size that a new set may have now.
func grown(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, rs *appsv1.ReplicaSet) int32 {
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return wanted(d)
	}
	room := wanted(d) + boundsOf(d).surge - total(sets, size)
	if room <= 0 {
		return size(rs)
	}
	return size(rs) + min(room, wanted(d)-size(rs))
}

// proportions resizes all active sets so that together they have the room that
// the Deployment has, each its share; what rounding leaves goes to the largest.
func proportions(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) {
	allowed := int32(0)
	if wanted(d) > 0 {
		allowed = wanted(d) + boundsOf(d).surge
	}
	toAdd := allowed - total(sets, size)
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		if size(a) != size(b) {
			return int(size(b) - size(a))
		}
		age := a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		if toAdd > 0 {
			return -age // the newer one grows first, the older one shrinks first
		}
		return age
	})
	sizes := make([]int32, len(sets))
	added := int32(0)
	for i, rs := range sets {
		share := shareOf(d, rs, toAdd, added)
		sizes[i] = size(rs) + share
		added += share
	}
	for i, rs := range sets {
		if i == 0 {
			sizes[i] = max(0, sizes[i]+toAdd-added)
		}
		resize(d, rs, sizes[i])
	}
}

func shareOf(d *appsv1.Deployment, rs *appsv1.ReplicaSet, toAdd, added int32) int32 {
	if size(rs) == 0 || toAdd == 0 || toAdd == added {
		return 0
	}
	share := fraction(d, rs)
	if toAdd > 0 {
		return min(share, toAdd-added)
	}
	return max(share, toAdd-added)
}

func fraction(d *appsv1.Deployment, rs *appsv1.ReplicaSet) int32 {
	if wanted(d) == 0 {
		return -size(rs)
	}
	before, ok := number(rs, maxReplicas)
	if !ok || before == 0 {
		if before = d.Status.Replicas; before == 0 {
			return 0
		}
	}
	now := float64(size(rs)) * float64(wanted(d)+boundsOf(d).surge) / float64(before)
	return int32(math.Round(now)) - size(rs)
}
