package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

func cronJobs() resource.Resource {
	return resource.Resource{
		GroupVersion: batchv1.SchemeGroupVersion,
		Name:         "cronjobs",
		Singular:     "cronjob",
		Kind:         "CronJob",
		ShortNames:   []string{"cj"},
		Categories:   []string{"all"},
		Namespaced:   true,
		New:          func() runtime.Object { return &batchv1.CronJob{} },
		NewList:      func() runtime.Object { return &batchv1.CronJobList{} },
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
