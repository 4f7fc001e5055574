package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func componentStatuses() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion,
		Name:         "componentstatuses",
		Singular:     "componentstatus",
		Kind:         "ComponentStatus",
		ShortNames:   []string{"cs"},
		New:          func() runtime.Object { return &corev1.ComponentStatus{} },
		NewList:      func() runtime.Object { return &corev1.ComponentStatusList{} },
	}
}
