package scheduling

import (
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func priorityClasses() resource.Resource {
	return resource.Resource{
		GroupVersion: schedulingv1.SchemeGroupVersion,
		Name:         "priorityclasses",
		Singular:     "priorityclass",
		Kind:         "PriorityClass",
		ShortNames:   []string{"pc"},
		New:          func() runtime.Object { return &schedulingv1.PriorityClass{} },
		NewList:      func() runtime.Object { return &schedulingv1.PriorityClassList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
