package tainteviction

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEvictIn(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	taint := func(key string, ago time.Duration) v1.Taint {
		return v1.Taint{Key: key, Value: "v", Effect: v1.TaintEffectNoExecute, TimeAdded: &metav1.Time{Time: now.Add(-ago)}}
	}
	tolerate := func(key string, seconds ...int64) v1.Toleration {
		tol := v1.Toleration{Key: key, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
		if len(seconds) > 0 {
			tol.TolerationSeconds = &seconds[0]
		}
		return tol
	}
	for name, c := range map[string]struct {
		taints      []v1.Taint
		tolerations []v1.Toleration
		in          time.Duration
		stay        bool
	}{
		"no taints":             {nil, nil, 0, true},
		"not tolerated":         {[]v1.Taint{taint("a", 0)}, []v1.Toleration{tolerate("b")}, 0, false},
		"for ever":              {[]v1.Taint{taint("a", time.Hour)}, []v1.Toleration{tolerate("a")}, 0, true},
		"for a while":           {[]v1.Taint{taint("a", 10*time.Second)}, []v1.Toleration{tolerate("a", 60)}, 50 * time.Second, false},
		"used up":               {[]v1.Taint{taint("a", time.Hour)}, []v1.Toleration{tolerate("a", 60)}, 0, false},
		"the shortest counts":   {[]v1.Taint{taint("a", 0), taint("b", 0)}, []v1.Toleration{tolerate("a", 60), tolerate("b", 20)}, 20 * time.Second, false},
		"one of two tolerated":  {[]v1.Taint{taint("a", 0), taint("b", 0)}, []v1.Toleration{tolerate("a", 60)}, 0, false},
		"negative is at once":   {[]v1.Taint{taint("a", 0)}, []v1.Toleration{tolerate("a", -5)}, 0, false},
		"two for the same":      {[]v1.Taint{taint("a", 0)}, []v1.Toleration{tolerate("a"), tolerate("", 30)}, 30 * time.Second, false},
		"since the pod is here": {[]v1.Taint{taint("a", 48*time.Hour)}, []v1.Toleration{tolerate("a", 2*24*3600)}, 24 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(now.Add(-24 * time.Hour))}, Spec: v1.PodSpec{Tolerations: c.tolerations}}
			if in, stay := evictIn(p, c.taints, now); in != c.in || stay != c.stay {
				t.Errorf("in %v, stays %v; want %v, %v", in, stay, c.in, c.stay)
			}
		})
	}
}

func TestOnlyNoExecuteBanishes(t *testing.T) {
	node := &v1.Node{Spec: v1.NodeSpec{Taints: []v1.Taint{{Key: "a", Effect: v1.TaintEffectNoSchedule}, {Key: "b", Effect: v1.TaintEffectNoExecute}}}}
	if got := banishing(node); len(got) != 1 || got[0].Key != "b" {
		t.Errorf("%v", got)
	}
}
