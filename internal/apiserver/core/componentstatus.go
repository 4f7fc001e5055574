package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/meta"
	"github.com/proa-project/proa/internal/apiserver/resource"
)

// ComponentStatuses is not among Resources: nothing of it is stored. Whoever
// serves it asks the components at each get and list; there are no other verbs.
func ComponentStatuses() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "componentstatuses",
		Singular:     "componentstatus",
		Kind:         "ComponentStatus",
		ShortNames:   []string{"cs"},
		New:          func() runtime.Object { return &corev1.ComponentStatus{} },
		NewList:      func() runtime.Object { return &corev1.ComponentStatusList{} },
		Columns: meta.Table(
			meta.Name(),
			meta.String("Status", "Status of the component conditions"),
			meta.String("Message", "Message of the component conditions"),
			meta.String("Error", "Error of the component conditions"),
		),
		Row: meta.Row(componentStatusRow),
	}
}

func componentStatusRow(c *corev1.ComponentStatus, _ metav1.Time) []any {
	for _, condition := range c.Conditions {
		if condition.Type != corev1.ComponentHealthy {
			continue
		}
		status := "Unhealthy"
		if condition.Status == corev1.ConditionTrue {
			status = "Healthy"
		}
		return []any{c.Name, status, condition.Message, condition.Error}
	}
	return []any{c.Name, "Unknown", "", ""}
}
