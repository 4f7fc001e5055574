package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func priorityLevelConfigurations() resource.Resource {
	return resource.Resource{
		GroupVersion: flowcontrolv1.SchemeGroupVersion,
		Name:         "prioritylevelconfigurations",
		Singular:     "prioritylevelconfiguration",
		Kind:         "PriorityLevelConfiguration",
		New:          func() runtime.Object { return &flowcontrolv1.PriorityLevelConfiguration{} },
		NewList:      func() runtime.Object { return &flowcontrolv1.PriorityLevelConfigurationList{} },
		Generation:   true,
		Update: resource.Update{
			Unconditional: true,
			Reset:         [][]string{{"status"}},
		},
		Subresources: map[string]resource.Update{
			"status": {Reset: [][]string{{"spec"}}, Unconditional: true},
		},
	}
}
