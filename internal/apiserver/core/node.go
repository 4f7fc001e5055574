package core

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// Nodes describes the node. Its author is the node agent, which may create it
// with its status; spec is its administrators'.
func Nodes() resource.Resource {
	return resource.Resource{
		GroupVersion: v1.SchemeGroupVersion,
		Name:         "nodes",
		Singular:     "node",
		Kind:         "Node",
		ShortNames:   []string{"no"},
		New:          func() runtime.Object { return &v1.Node{} },
		NewList:      func() runtime.Object { return &v1.NodeList{} },
		Default:      meta.Default(defaultNode),
		Update: resource.Update{
			PrepareUpdate: meta.PrepareUpdate(prepareNodeUpdate),
			CheckUpdate: meta.CheckUpdate(func(node, old *v1.Node) field.ErrorList {
				return append(checkNode(node), checkNodeUpdate(node, old)...)
			}),
			WarnUpdate:    meta.WarnUpdate(func(node, _ *v1.Node) []string { return nodeWarnings(node) }),
			Reset:         [][]string{{"status"}},
			Unconditional: true,
		},
		Prepare: meta.Prepare(func(node *v1.Node) {
			node.Spec.ConfigSource = nil
			node.Status.Config = nil
			node.Spec.PodPreemptionPolicy = nil
		}),
		StatusAtCreation: true,
		Check:            meta.Check(checkNode),
		Warn:             meta.Warn(nodeWarnings),
		Subresources: map[string]resource.Update{
			"status": {
				PrepareUpdate: meta.PrepareUpdate(prepareNodeStatus),
				CheckUpdate:   meta.CheckUpdate(checkNodeUpdate),
				Reset:         [][]string{{"spec"}},
				Unconditional: true,
			},
		},
		Fields: meta.Fields(func(node *v1.Node) fields.Set {
			return fields.Set{"spec.unschedulable": strconv.FormatBool(node.Spec.Unschedulable)}
		}),
		Columns: nodeColumns(),
		Row:     meta.Row(nodeRow),
	}
}

// defaultNode: a node that doesn't say otherwise gives pods all it has.
func defaultNode(node *v1.Node) {
	defaultPodCIDR(&node.Spec)
	if node.Status.Allocatable == nil && node.Status.Capacity != nil {
		node.Status.Allocatable = node.Status.Capacity.DeepCopy()
	}
	meta.RoundUp(node.Status.Capacity)
	meta.RoundUp(node.Status.Allocatable)
}

// defaultPodCIDR keeps podCIDR and podCIDRs in step; the single field wins when they differ.
func defaultPodCIDR(spec *v1.NodeSpec) {
	switch {
	case spec.PodCIDR == "" && len(spec.PodCIDRs) > 0:
		spec.PodCIDR = spec.PodCIDRs[0]
	case spec.PodCIDR != "" && (len(spec.PodCIDRs) == 0 || spec.PodCIDRs[0] != spec.PodCIDR):
		spec.PodCIDRs = []string{spec.PodCIDR}
	}
}

// prepareNodeUpdate: configSource went out of use, and stays only where it is stored.
func prepareNodeUpdate(node, old *v1.Node) {
	node.Status = old.Status
	if old.Spec.ConfigSource == nil {
		node.Spec.ConfigSource = nil
	}
	if old.Spec.PodPreemptionPolicy == nil { // off by default in v1.37
		node.Spec.PodPreemptionPolicy = nil
	}
}

func prepareNodeStatus(node, old *v1.Node) {
	node.Spec = old.Spec
	if old.Status.Config == nil {
		node.Status.Config = nil
	}
}

func nodeWarnings(node *v1.Node) []string {
	var warnings []string
	if node.Spec.ConfigSource != nil {
		warnings = append(warnings, "spec.configSource: the feature is removed")
	}
	if node.Spec.DoNotUseExternalID != "" {
		warnings = append(warnings, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	for i, cidr := range node.Spec.PodCIDRs {
		warnings = append(warnings, validation.GetWarningsForCIDR(field.NewPath("spec", "podCIDRs").Index(i), cidr)...)
	}
	return warnings
}
