package apiserver

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/proa-project/proa/internal/apiserver/resource"
)

// withMissing adds plain entries for kinds whose own are not there yet.
func withMissing(rs []resource.Resource) []resource.Resource {
	have := map[string]bool{}
	for _, r := range rs {
		have[r.GroupVersion.String()+"/"+r.Name] = true
	}
	for _, r := range []resource.Resource{plainPods(), plainNodes(), plainNamespaces(), plainPodTemplates()} {
		if !have[r.GroupVersion.String()+"/"+r.Name] {
			rs = append(rs, r)
		}
	}
	return rs
}

func plainPods() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion, Name: "pods", Singular: "pod", Kind: "Pod",
		ShortNames: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
		New:        func() runtime.Object { return &corev1.Pod{} },
		NewList:    func() runtime.Object { return &corev1.PodList{} },
		Generation: true,
		Update:     resource.Update{Unconditional: true, Reset: [][]string{{"status"}}},
		Prepare: func(_ context.Context, obj runtime.Object) {
			obj.(*corev1.Pod).Status = corev1.PodStatus{Phase: corev1.PodPending}
		},
		Default: func(obj runtime.Object) {
			s := &obj.(*corev1.Pod).Spec
			if s.TerminationGracePeriodSeconds == nil {
				grace := int64(30)
				s.TerminationGracePeriodSeconds = &grace
			}
			if s.RestartPolicy == "" {
				s.RestartPolicy = corev1.RestartPolicyAlways
			}
			if s.SchedulerName == "" {
				s.SchedulerName = corev1.DefaultSchedulerName
			}
		},
		Delete: func(obj runtime.Object, asked *int64) (int64, bool) {
			p := obj.(*corev1.Pod)
			grace := int64(0)
			switch {
			case p.Spec.NodeName == "" || p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded:
			case asked != nil:
				grace = *asked
			case p.Spec.TerminationGracePeriodSeconds != nil:
				grace = *p.Spec.TerminationGracePeriodSeconds
			}
			return max(grace, 0), true
		},
		Subresources: map[string]resource.Update{
			"status":              {Unconditional: true, Reset: [][]string{{"spec"}}},
			"ephemeralcontainers": {Unconditional: true, Reset: [][]string{{"status"}}},
			"resize":              {Unconditional: true, Reset: [][]string{{"status"}}},
		},
		Fields: func(obj runtime.Object) fields.Set {
			p := obj.(*corev1.Pod)
			return fields.Set{
				"spec.nodeName": p.Spec.NodeName, "spec.restartPolicy": string(p.Spec.RestartPolicy),
				"spec.schedulerName": p.Spec.SchedulerName, "spec.serviceAccountName": p.Spec.ServiceAccountName,
				"status.phase": string(p.Status.Phase), "status.podIP": p.Status.PodIP,
				"status.nominatedNodeName": p.Status.NominatedNodeName,
			}
		},
		IndexField: "spec.nodeName",
	}
}

func plainNodes() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion, Name: "nodes", Singular: "node", Kind: "Node", ShortNames: []string{"no"},
		New:          func() runtime.Object { return &corev1.Node{} },
		NewList:      func() runtime.Object { return &corev1.NodeList{} },
		Update:       resource.Update{Unconditional: true, Reset: [][]string{{"status"}}},
		Subresources: map[string]resource.Update{"status": {Unconditional: true, Reset: [][]string{{"spec"}}}},
	}
}

func plainNamespaces() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion, Name: "namespaces", Singular: "namespace", Kind: "Namespace", ShortNames: []string{"ns"},
		New:     func() runtime.Object { return &corev1.Namespace{} },
		NewList: func() runtime.Object { return &corev1.NamespaceList{} },
		Prepare: func(_ context.Context, obj runtime.Object) {
			ns := obj.(*corev1.Namespace)
			ns.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
			ns.Status.Phase = corev1.NamespaceActive
		},
		Update: resource.Update{Unconditional: true, Reset: [][]string{{"status"}}},
		Subresources: map[string]resource.Update{
			"status":   {Unconditional: true, Reset: [][]string{{"spec"}}},
			"finalize": {Unconditional: true, Reset: [][]string{{"status"}}},
		},
		Fields: func(obj runtime.Object) fields.Set {
			return fields.Set{"status.phase": string(obj.(*corev1.Namespace).Status.Phase)}
		},
	}
}

func plainPodTemplates() resource.Resource {
	return resource.Resource{
		GroupVersion: corev1.SchemeGroupVersion, Name: "podtemplates", Singular: "podtemplate", Kind: "PodTemplate", Namespaced: true,
		New:     func() runtime.Object { return &corev1.PodTemplate{} },
		NewList: func() runtime.Object { return &corev1.PodTemplateList{} },
		Update:  resource.Update{Unconditional: true},
	}
}
