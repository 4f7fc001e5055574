package quota

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Unix(1_800_000_000, 0)

func pod(change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m"), v1.ResourceMemory: resource.MustParse("1Mi"), "example.com/gpu": resource.MustParse("2")},
		Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse("200m"), "example.com/gpu": resource.MustParse("2")},
	}}}}}
	for _, f := range change {
		f(p)
	}
	return p
}

func expect(t *testing.T, used v1.ResourceList, want map[v1.ResourceName]string) {
	t.Helper()
	for name, w := range want {
		if q := used[name]; q.Cmp(resource.MustParse(w)) != 0 {
			t.Errorf("%s is %s, want %s", name, q.String(), w)
		}
	}
	if len(used) != len(want) {
		t.Errorf("%d resources, want %d: %v", len(used), len(want), used)
	}
}

func TestPod(t *testing.T) {
	expect(t, Pod(pod(), now), map[v1.ResourceName]string{
		"pods": "1", "count/pods": "1", "cpu": "100m", "requests.cpu": "100m", "memory": "1Mi", "requests.memory": "1Mi",
		"limits.cpu": "200m", "requests.example.com/gpu": "2",
	})
	ended := map[v1.ResourceName]string{"count/pods": "1"}
	expect(t, Pod(pod(func(p *v1.Pod) { p.Status.Phase = v1.PodSucceeded }), now), ended)
	grace := int64(30)
	stuck := pod(func(p *v1.Pod) {
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: now.Add(-time.Minute)}, &grace
	})
	expect(t, Pod(stuck, now), ended)
	if used := Pod(stuck, now.Add(-time.Minute)); len(used) == 1 {
		t.Error("a pod within its grace counts")
	}
}

func TestServiceAndClaim(t *testing.T) {
	s := &v1.Service{Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: make([]v1.ServicePort, 2)}}
	expect(t, Service(s), map[v1.ResourceName]string{"services": "1", "count/services": "1", "services.nodeports": "2", "services.loadbalancers": "1"})
	class := "gold"
	c := &v1.PersistentVolumeClaim{Spec: v1.PersistentVolumeClaimSpec{StorageClassName: &class, Resources: v1.VolumeResourceRequirements{Requests: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}}}}
	expect(t, Claim(c), map[v1.ResourceName]string{
		"persistentvolumeclaims": "1", "count/persistentvolumeclaims": "1", "requests.storage": "1Gi",
		"gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
	})
}

func TestMatches(t *testing.T) {
	deadline := int64(5)
	terminating := func(p *v1.Pod) { p.Spec.ActiveDeadlineSeconds = &deadline }
	poor := func(p *v1.Pod) { p.Spec.Containers[0].Resources = v1.ResourceRequirements{} }
	vip := func(p *v1.Pod) { p.Spec.PriorityClassName = "vip" }
	scopes := func(s ...v1.ResourceQuotaScope) *v1.ResourceQuota {
		return &v1.ResourceQuota{Spec: v1.ResourceQuotaSpec{Scopes: s}}
	}
	classes := func(op v1.ScopeSelectorOperator, values ...string) *v1.ResourceQuota {
		return &v1.ResourceQuota{Spec: v1.ResourceQuotaSpec{ScopeSelector: &v1.ScopeSelector{MatchExpressions: []v1.ScopedResourceSelectorRequirement{
			{ScopeName: v1.ResourceQuotaScopePriorityClass, Operator: op, Values: values}}}}}
	}
	for name, c := range map[string]struct {
		quota *v1.ResourceQuota
		pod   *v1.Pod
		want  bool
	}{
		"no scope":           {scopes(), pod(), true},
		"terminating":        {scopes(v1.ResourceQuotaScopeTerminating), pod(terminating), true},
		"not terminating":    {scopes(v1.ResourceQuotaScopeTerminating), pod(), false},
		"best effort":        {scopes(v1.ResourceQuotaScopeBestEffort), pod(poor), true},
		"not best effort":    {scopes(v1.ResourceQuotaScopeBestEffort), pod(), false},
		"both scopes":        {scopes(v1.ResourceQuotaScopeNotBestEffort, v1.ResourceQuotaScopeNotTerminating), pod(), true},
		"one of two":         {scopes(v1.ResourceQuotaScopeNotBestEffort, v1.ResourceQuotaScopeTerminating), pod(), false},
		"class in":           {classes(v1.ScopeSelectorOpIn, "vip"), pod(vip), true},
		"class not in":       {classes(v1.ScopeSelectorOpNotIn, "vip"), pod(vip), false},
		"class exists":       {classes(v1.ScopeSelectorOpExists), pod(vip), true},
		"class exists not":   {classes(v1.ScopeSelectorOpExists), pod(), false},
		"class is not to be": {classes(v1.ScopeSelectorOpDoesNotExist), pod(), true},
	} {
		t.Run(name, func(t *testing.T) {
			if MatchesPod(c.quota, c.pod) != c.want {
				t.Errorf("matches: %v", !c.want)
			}
		})
	}
}

func TestObjectCount(t *testing.T) {
	for name, want := range map[v1.ResourceName]string{"count/deployments.apps": "apps/deployments", "secrets": "/secrets", "count/configmaps": "/configmaps"} {
		if gr, is := ObjectCount(name); !is || gr.Group+"/"+gr.Resource != want {
			t.Errorf("%s: %v %v", name, gr, is)
		}
	}
	if _, is := ObjectCount("requests.cpu"); is {
		t.Error("requests.cpu counts no objects")
	}
}
