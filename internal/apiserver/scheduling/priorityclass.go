package scheduling

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// A PriorityClass names how important pods are.
func priorityClasses() resource.Resource {
	docs := schedulingv1.PriorityClass{}.SwaggerDoc()
	return resource.Resource{
		GroupVersion: schedulingv1.SchemeGroupVersion,
		Name:         "priorityclasses",
		Singular:     "priorityclass",
		Kind:         "PriorityClass",
		ShortNames:   []string{"pc"},
		New:          func() runtime.Object { return &schedulingv1.PriorityClass{} },
		NewList:      func() runtime.Object { return &schedulingv1.PriorityClassList{} },
		Generation:   true,
		SpecOf:       func(runtime.Object) any { return nil }, // a description is no intent, the rest is fixed
		Default:      meta.Default(func(c *schedulingv1.PriorityClass) { meta.SetDefault(&c.PreemptionPolicy, corev1.PreemptLowerPriority) }),
		Check:        meta.Check(checkPriorityClass),
		Update: resource.Update{
			CheckUpdate:   meta.CheckUpdate(checkPriorityClassUpdate),
			Unconditional: true,
		},
		Columns: meta.Table(
			meta.Name(),
			meta.Integer("Value", docs["value"]),
			meta.Boolean("Global-Default", docs["globalDefault"]),
			meta.Created(),
			meta.String("PreemptionPolicy", docs["preemptionPolicy"]),
		),
		Row: meta.Row(func(c *schedulingv1.PriorityClass, now metav1.Time) []any {
			return []any{c.Name, int64(c.Value), c.GlobalDefault, meta.Age(c.CreationTimestamp, now), string(meta.Deref(c.PreemptionPolicy, ""))}
		}),
	}
}

// HighestUserPriority is the most that classes of users may have; above it are
// the system's two, by name.
const HighestUserPriority = 1_000_000_000

const systemPrefix = "system-"

// systemPriorities are the values of the classes that every cluster has.
var systemPriorities = map[string]int32{
	"system-node-critical":    2*HighestUserPriority + 1000,
	"system-cluster-critical": 2 * HighestUserPriority,
}

// SystemPriorityClasses are those of every cluster.
func SystemPriorityClasses() []*schedulingv1.PriorityClass {
	preempt := corev1.PreemptLowerPriority
	described := map[string]string{
		"system-node-critical":    "Used for system critical pods that must not be moved from their current node.",
		"system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
	}
	var classes []*schedulingv1.PriorityClass
	for name, value := range systemPriorities {
		classes = append(classes, &schedulingv1.PriorityClass{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value, Description: described[name], PreemptionPolicy: &preempt,
		})
	}
	return classes
}

func checkPriorityClass(c *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		if wrong := notSystemClass(c); wrong != "" {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				fmt.Sprintf("priority class names with '%s' prefix are reserved for system use only. error: %s", systemPrefix, wrong)))
		}
	} else if c.Value > HighestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", HighestUserPriority)))
	}
	if c.PreemptionPolicy != nil {
		errs = append(errs, checkPreemption(field.NewPath("preemptionPolicy"), *c.PreemptionPolicy)...)
	}
	return errs
}

func notSystemClass(c *schedulingv1.PriorityClass) string {
	value, known := systemPriorities[c.Name]
	switch {
	case !known:
		return c.Name + " is not a known system priority class"
	case c.Value != value:
		return fmt.Sprintf("value of %v PriorityClass must be %v", c.Name, value)
	case c.GlobalDefault:
		return fmt.Sprintf("globalDefault of %v PriorityClass must be false", c.Name)
	}
	return ""
}

func checkPriorityClassUpdate(c, old *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if c.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	return append(errs, meta.Unchanged(field.NewPath("preemptionPolicy"), c.PreemptionPolicy, old.PreemptionPolicy)...)
}

func checkPreemption(path *field.Path, policy corev1.PreemptionPolicy) field.ErrorList {
	switch policy {
	case corev1.PreemptLowerPriority, corev1.PreemptNever:
		return nil
	case "":
		return field.ErrorList{field.Required(path, "")}
	}
	return field.ErrorList{field.NotSupported(path, policy, []corev1.PreemptionPolicy{corev1.PreemptLowerPriority, corev1.PreemptNever})}
}
