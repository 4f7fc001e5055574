package resourcequota

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func amounts(pairs ...string) v1.ResourceList {
	list := v1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		list[v1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return list
}

// Admission's own count wakes nobody: the object that it counted is in no cache yet.
func TestOnlyNewLimitsAskForASum(t *testing.T) {
	for name, c := range map[string]struct {
		hard, shown, used v1.ResourceList
		want              bool
	}{
		"new":                 {amounts("pods", "2"), nil, nil, true},
		"limit changed":       {amounts("pods", "3"), amounts("pods", "2"), amounts("pods", "0"), true},
		"never summed up":     {amounts("pods", "2"), amounts("pods", "2"), nil, true},
		"counted":             {amounts("pods", "2"), amounts("pods", "2"), amounts("pods", "1"), false},
		"written differently": {amounts("cpu", "1000m"), amounts("cpu", "1"), amounts("cpu", "1"), false},
	} {
		q := &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "q"}, Spec: v1.ResourceQuotaSpec{Hard: c.hard}, Status: v1.ResourceQuotaStatus{Hard: c.shown, Used: c.used}}
		if len(asked(nil, q)) == 0 {
			t.Errorf("%s: new, and asks for no sum", name)
		}
		if got := len(asked(q, q)) > 0; got != c.want {
			t.Errorf("%s: asks for a sum: %v", name, got)
		}
	}
	if len(asked(&v1.ResourceQuota{}, nil)) > 0 {
		t.Error("a quota that is gone asks for a sum")
	}
}

func TestLower(t *testing.T) {
	for _, c := range []struct {
		before, now v1.ResourceList
		want        bool
	}{
		{amounts("pods", "1", "cpu", "500m"), amounts("pods", "1", "cpu", "500m"), false},
		{amounts("pods", "1"), amounts("pods", "1", "cpu", "1"), false},
		{amounts("pods", "1", "cpu", "1"), amounts("pods", "1"), true},
		{amounts("services.nodeports", "2"), amounts("services.nodeports", "1"), true},
	} {
		if got := lower(c.before, c.now); got != c.want {
			t.Errorf("from %v to %v: %v", c.before, c.now, got)
		}
	}
}
