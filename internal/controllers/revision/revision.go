// Package revision keeps the history of pod templates of DaemonSets and
// StatefulSets in ControllerRevisions, from which kubectl rollout shows and
// undoes updates.
package revision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

// Data of a revision is the strategic merge patch that brings a template back.
// Clients compare it byte by byte: keys are in order, and nothing else is in it.
func Data(template *v1.PodTemplateSpec) ([]byte, error) {
	body, err := json.Marshal(template)
	if err != nil {
		return nil, fmt.Errorf("encode template: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("decode template: %w", err)
	}
	fields["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": fields}})
}

// Template that a revision holds.
func Template(r *appsv1.ControllerRevision) (*v1.PodTemplateSpec, error) {
	var patch struct {
		Spec struct {
			Template v1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &patch); err != nil {
		return nil, fmt.Errorf("revision %s: %w", r.Name, err)
	}
	return &patch.Spec.Template, nil
}

// Find splits a history into the newest revision of some data and the others,
// which come oldest first.
func Find(history []*appsv1.ControllerRevision, data []byte) (same *appsv1.ControllerRevision, others []*appsv1.ControllerRevision) {
	ordered := slices.Clone(history)
	slices.SortFunc(ordered, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for _, r := range slices.Backward(ordered) {
		if same == nil && bytes.Equal(r.Data.Raw, data) {
			same = r
			continue
		}
		others = append(others, r)
	}
	slices.Reverse(others)
	return same, others
}

// Next is the number after all of a history.
func Next(history []*appsv1.ControllerRevision) int64 {
	highest := int64(0)
	for _, r := range history {
		highest = max(highest, r.Revision)
	}
	return highest + 1
}

// Surplus are the oldest revisions beyond the limit of those that nobody lives by.
func Surplus(others []*appsv1.ControllerRevision, limit *int32, live func(*appsv1.ControllerRevision) bool) []*appsv1.ControllerRevision {
	dead := slices.DeleteFunc(slices.Clone(others), live)
	if limit == nil || *limit < 0 || len(dead) <= int(*limit) {
		return nil
	}
	return dead[:len(dead)-int(*limit)]
}

// longestPrefix of a revision's name.
const longestPrefix = 223

// build makes the object of new data.
func build(owner metav1.Object, kind schema.GroupVersionKind, hashLabel string, labels map[string]string, data []byte, number int64, collisions *int32) *appsv1.ControllerRevision {
	hash := podcontrol.Hash(string(data), collisions)
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[hashLabel] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Name: owner.GetName()[:min(len(owner.GetName()), longestPrefix)] + "-" + hash, Namespace: owner.GetNamespace(), Labels: labels,
			Annotations: maps.Clone(owner.GetAnnotations()), OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, kind)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: number,
	}
}
