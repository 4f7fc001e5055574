package ttl

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLeft(t *testing.T) {
	end := time.Unix(1_800_000_000, 0)
	ttl := int32(30)
	j := &batchv1.Job{Spec: batchv1.JobSpec{TTLSecondsAfterFinished: &ttl}}
	if _, applies := left(j, end); applies {
		t.Error("a job that runs has no time to live")
	}
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: v1.ConditionTrue, LastTransitionTime: metav1.NewTime(end)}}
	if d, applies := left(j, end.Add(10*time.Second)); !applies || d != 20*time.Second {
		t.Errorf("%v %v", d, applies)
	}
	j.DeletionTimestamp = &metav1.Time{}
	if _, applies := left(j, end); applies {
		t.Error("a job on its way out")
	}
	j.DeletionTimestamp, j.Spec.TTLSecondsAfterFinished = nil, nil
	if _, applies := left(j, end); applies {
		t.Error("a job without a time to live")
	}
}
