package resourceapi

import (
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A ResourceClaim asks for devices; its status says which it got and who uses them.
func resourceClaims() resource.Resource {
	return resource.Resource{
		GroupVersion: resourcev1.SchemeGroupVersion,
		Name:         "resourceclaims",
		Singular:     "resourceclaim",
		Kind:         "ResourceClaim",
		Namespaced:   true,
		New:          func() runtime.Object { return &resourcev1.ResourceClaim{} },
		NewList:      func() runtime.Object { return &resourcev1.ResourceClaimList{} },
		Default:      meta.Default(defaultResourceClaim),
		Prepare:      meta.Prepare(func(c *resourcev1.ResourceClaim) { dropDerived(&c.Spec) }),
		Check: meta.Check(func(c *resourcev1.ResourceClaim) field.ErrorList {
			return checkClaimSpec(field.NewPath("spec"), &c.Spec)
		}),
		Update: resource.Update{
			CheckUpdate: meta.CheckUpdate(func(c, old *resourcev1.ResourceClaim) field.ErrorList {
				return meta.Unchanged(field.NewPath("spec"), c.Spec, old.Spec)
			}),
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {
				PrepareUpdate: meta.PrepareUpdate(func(c, old *resourcev1.ResourceClaim) {
					dropSkips(c, old)
					forgetDeallocated(c, old)
				}),
				CheckUpdate:   meta.CheckUpdate(checkClaimStatus),
				Reset:         [][]string{{"metadata"}, {"spec"}},
				Unconditional: true,
			},
		},
		Columns: meta.Table(
			meta.Name(),
			meta.String("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
			meta.Created(),
		),
		Row: meta.Row(func(c *resourcev1.ResourceClaim, now metav1.Time) []any {
			return []any{c.Name, claimState(c), meta.Age(c.CreationTimestamp, now)}
		}),
	}
}

func defaultResourceClaim(c *resourcev1.ResourceClaim) {
	defaultClaimSpec(&c.Spec)
	if c.Status.Allocation != nil {
		for _, result := range c.Status.Allocation.Devices.Results {
			defaultTolerations(result.Tolerations)
		}
	}
}

func claimState(c *resourcev1.ResourceClaim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	switch {
	case c.Status.Allocation != nil:
		states = append(states, "allocated")
		if len(c.Status.ReservedFor) > 0 {
			states = append(states, "reserved")
		}
	case c.DeletionTimestamp == nil:
		states = append(states, "pending")
	}
	return strings.Join(states, ",")
}
