package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func controllerRevisions() resource.Resource {
	return resource.Resource{
		GroupVersion: appsv1.SchemeGroupVersion,
		Name:         "controllerrevisions",
		Singular:     "controllerrevision",
		Kind:         "ControllerRevision",
		Namespaced:   true,
		New:          func() runtime.Object { return &appsv1.ControllerRevision{} },
		NewList:      func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Update: resource.Update{
			Unconditional: true,
		},
	}
}
