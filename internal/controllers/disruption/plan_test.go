package disruption

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var now = time.Unix(1_800_000_000, 0)

func pods(ready, not int) (pods []*v1.Pod) {
	for i := range ready + not {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("p", i)}}
		status := v1.ConditionTrue
		if i >= ready {
			status = v1.ConditionFalse
		}
		p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: status}}
		pods = append(pods, p)
	}
	return pods
}

func TestPlan(t *testing.T) {
	val := func(v intstr.IntOrString) *intstr.IntOrString { return &v }
	min := func(v intstr.IntOrString) policyv1.PodDisruptionBudgetSpec {
		return policyv1.PodDisruptionBudgetSpec{MinAvailable: val(v)}
	}
	max := func(v intstr.IntOrString) policyv1.PodDisruptionBudgetSpec {
		return policyv1.PodDisruptionBudgetSpec{MaxUnavailable: val(v)}
	}
	for name, c := range map[string]struct {
		spec       policyv1.PodDisruptionBudgetSpec
		ready      int
		not        int
		wanted     int
		evicted    time.Duration // ago; 0 for none
		want       string
		sufficient bool
	}{
		"min number":           {min(intstr.FromInt32(2)), 3, 0, 0, 0, "3/2 of 3, 1", true},
		"min number, too few":  {min(intstr.FromInt32(2)), 1, 2, 0, 0, "1/2 of 3, 0", false},
		"min percent":          {min(intstr.FromString("50%")), 3, 0, 5, 0, "3/3 of 5, 0", false},
		"max number":           {max(intstr.FromInt32(1)), 5, 0, 5, 0, "5/4 of 5, 1", true},
		"max more than wanted": {max(intstr.FromInt32(9)), 2, 0, 2, 0, "2/0 of 2, 2", true},
		"max percent, up":      {max(intstr.FromString("30%")), 5, 0, 5, 0, "5/3 of 5, 2", true},
		"no pods":              {min(intstr.FromInt32(0)), 0, 0, 0, 0, "0/0 of 0, 0", false},
		"one was evicted":      {min(intstr.FromInt32(2)), 3, 0, 0, time.Minute, "2/2 of 3, 0", false},
		"eviction was lost":    {min(intstr.FromInt32(2)), 3, 0, 0, time.Hour, "3/2 of 3, 1", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := &policyv1.PodDisruptionBudget{Spec: c.spec}
			if c.evicted > 0 {
				b.Status.DisruptedPods = map[string]metav1.Time{"p0": metav1.NewTime(now.Add(-c.evicted)), "long gone": metav1.NewTime(now)}
			}
			o, err := plan(b, pods(c.ready, c.not), c.wanted, now)
			if err != nil {
				t.Fatal(err)
			}
			st := o.status
			if got := fmt.Sprintf("%d/%d of %d, %d", st.CurrentHealthy, st.DesiredHealthy, st.ExpectedPods, st.DisruptionsAllowed); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if (st.Conditions[0].Status == metav1.ConditionTrue) != c.sufficient {
				t.Errorf("%+v", st.Conditions)
			}
			if waits := c.evicted == time.Minute; waits != (o.recheck == time.Minute) || waits != (len(st.DisruptedPods) == 1) || (c.evicted == time.Hour) != (len(o.lost) == 1) {
				t.Errorf("recheck %v, disrupted %v, lost %d", o.recheck, st.DisruptedPods, len(o.lost))
			}
		})
	}
}

func TestADisruptionThatNeverCameIsTakenBack(t *testing.T) {
	p := pods(1, 0)[0]
	if _, has := staleIn(p, now); has {
		t.Error("no condition, nothing to take back")
	}
	p.Status.Conditions = append(p.Status.Conditions, v1.PodCondition{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-time.Minute))})
	if in, has := staleIn(p, now); !has || in != time.Minute {
		t.Errorf("%v %v", in, has)
	}
	p.DeletionTimestamp = &metav1.Time{Time: now}
	if _, has := staleIn(p, now); has {
		t.Error("it is being deleted, as was said")
	}
}
