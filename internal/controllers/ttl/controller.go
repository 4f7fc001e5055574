// Package ttl deletes Jobs some time after they have finished, where their spec
// says so.
package ttl

import (
	"context"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/job"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// New watches Jobs.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, clock clock.PassiveClock) (*reconcile.Loop, error) {
	jobs := factory.Batch().V1().Jobs()
	var loop *reconcile.Loop
	loop = reconcile.New("ttl", 2, func(ctx context.Context, key string) error {
		namespace, name, err := cache.SplitMetaNamespaceKey(key)
		if err != nil {
			return err
		}
		j, err := jobs.Lister().Jobs(namespace).Get(name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		left, applies := left(j, clock.Now())
		if !applies {
			return nil
		}
		if left > 0 {
			loop.After(key, left)
			return nil
		}
		return remove(ctx, client, j, clock.Now())
	})
	return loop, loop.Watch(jobs.Informer(), nil)
}

// left until a Job is to go.
func left(j *batchv1.Job, now time.Time) (d time.Duration, applies bool) {
	end, finished := job.Finished(j)
	if !finished || j.Spec.TTLSecondsAfterFinished == nil || j.DeletionTimestamp != nil {
		return 0, false
	}
	return end.LastTransitionTime.Add(time.Duration(*j.Spec.TTLSecondsAfterFinished) * time.Second).Sub(now), true
}

// remove asks the API server first, since the time to live may just have been
// made longer.
func remove(ctx context.Context, client kubernetes.Interface, seen *batchv1.Job, now time.Time) error {
	jobs := client.BatchV1().Jobs(seen.Namespace)
	j, err := jobs.Get(ctx, seen.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if d, applies := left(j, now); !applies || d > 0 || j.UID != seen.UID {
		return nil
	}
	foreground := metav1.DeletePropagationForeground
	err = jobs.Delete(ctx, j.Name, metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &j.UID, ResourceVersion: &j.ResourceVersion}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
