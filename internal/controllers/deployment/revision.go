package deployment

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// Annotations of the history, read by kubectl rollout.
const (
	revisionKey = "deployment.kubernetes.io/revision"
	historyKey  = "deployment.kubernetes.io/revision-history"
	// maxHistory is its length in characters: about a hundred revisions.
	maxHistory = 2000
)

// kept are annotations that are not handed down to ReplicaSets.
var kept = map[string]bool{
	v1.LastAppliedConfigAnnotation: true, revisionKey: true, historyKey: true,
	desiredReplicas: true, maxReplicas: true, appsv1.DeprecatedRollbackTo: true,
}

// sameTemplate compares templates but for the hash, which is ours.
func sameTemplate(a, b *v1.PodTemplateSpec) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	delete(x.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	delete(y.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return equality.Semantic.DeepEqual(x, y)
}

// split finds the set of the Deployment's template, the oldest if there are
// several, and the others.
func split(d *appsv1.Deployment, sets []*appsv1.ReplicaSet) (current *appsv1.ReplicaSet, old []*appsv1.ReplicaSet) {
	byAge(sets)
	for _, rs := range sets {
		if current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			current = rs
			continue
		}
		old = append(old, rs)
	}
	return current, old
}

func byAge(sets []*appsv1.ReplicaSet) {
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
}

func revisionOf(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[revisionKey], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func latest(sets []*appsv1.ReplicaSet) (highest, second int64) {
	for _, rs := range sets {
		switch r := revisionOf(rs); {
		case r >= highest:
			highest, second = r, highest
		case r > second:
			second = r
		}
	}
	return highest, second
}

// handDown gives a set the Deployment's annotations and the revision, if that is
// higher than its own; a set that comes back keeps its former ones as history.
func handDown(d *appsv1.Deployment, rs *appsv1.ReplicaSet, revision int64) {
	for k, v := range d.Annotations {
		if !kept[k] {
			annotate(rs, k, v)
		}
	}
	own := rs.Annotations[revisionKey]
	if revisionOf(rs) >= revision || own != "" && revisionOf(rs) == 0 && own != "0" {
		return
	}
	annotate(rs, revisionKey, strconv.FormatInt(revision, 10))
	if own != "" {
		annotate(rs, historyKey, history(rs.Annotations[historyKey], own))
	}
}

func history(before, revision string) string {
	if before == "" {
		return revision
	}
	entries := append(strings.Split(before, ","), revision)
	for len(entries) > 1 && len(strings.Join(entries, ",")) > maxHistory {
		entries = entries[1:]
	}
	return strings.Join(entries, ",")
}

// newSet is the ReplicaSet of a Deployment's template, still without pods.
func newSet(d *appsv1.Deployment) *appsv1.ReplicaSet {
	hash := podcontrol.Hash(&d.Spec.Template, d.Status.CollisionCount)
	template := *d.Spec.Template.DeepCopy()
	if template.Labels == nil {
		template.Labels = map[string]string{}
	}
	template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	selector := d.Spec.Selector.DeepCopy()
	if selector.MatchLabels == nil {
		selector.MatchLabels = map[string]string{}
	}
	selector.MatchLabels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	none := int32(0)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: setName(d.Name, hash), Namespace: d.Namespace, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, Kind)},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &none, MinReadySeconds: d.Spec.MinReadySeconds, Selector: selector, Template: template},
	}
}

// setName keeps within the length of a DNS subdomain.
func setName(deployment, hash string) string {
	const longest = 253
	return deployment[:min(len(deployment), longest-1-len(hash))] + "-" + hash
}

// surplus are old sets without pods beyond the history that is kept, oldest
// revisions first.
func surplus(d *appsv1.Deployment, old []*appsv1.ReplicaSet) (remove []*appsv1.ReplicaSet) {
	if d.Spec.RevisionHistoryLimit == nil {
		return nil
	}
	alive := slices.DeleteFunc(slices.Clone(old), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	tooMany := len(alive) - int(*d.Spec.RevisionHistoryLimit)
	if tooMany <= 0 {
		return nil
	}
	byAge(alive)
	slices.SortStableFunc(alive, func(a, b *appsv1.ReplicaSet) int { return cmp.Compare(revisionOf(a), revisionOf(b)) })
	for _, rs := range alive[:tooMany] {
		if rs.Status.Replicas == 0 && size(rs) == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			remove = append(remove, rs)
		}
	}
	return remove
}
