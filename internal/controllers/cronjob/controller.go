// Package cronjob makes Jobs at the times of a schedule. It sleeps until the
// next start of each CronJob; what it missed while it was down it makes up for
// once, if the starting deadline allows.
package cronjob

import (
	"context"
	"errors"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/batch/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "cronjob-controller"

type controller struct {
	client   kubernetes.Interface
	cronJobs listers.CronJobLister
	jobs     listers.JobLister
	latest   reconcile.Latest[*batchv1.CronJob]
	recorder record.EventRecorder
	clock    clock.PassiveClock
	loop     *reconcile.Loop
}

// New watches CronJobs and Jobs.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	batch := factory.Batch().V1()
	c := &controller{client: client, cronJobs: batch.CronJobs().Lister(), jobs: batch.Jobs().Lister(), recorder: recorder, clock: clock}
	c.loop = reconcile.New("cronjob", 2, c.reconcile)
	err := c.loop.WatchChanges(batch.CronJobs().Informer(), func(old, current any) []string {
		o := current
		if o == nil {
			o = old
			c.latest.Forget(old.(*batchv1.CronJob).UID)
		}
		cj := o.(*batchv1.CronJob)
		return []string{cj.Namespace + "/" + cj.Name}
	})
	if err != nil {
		return nil, err
	}
	return c.loop, c.loop.Watch(batch.Jobs().Informer(), func(o any) []string {
		if key, ours := podcontrol.ControllerKey(o.(*batchv1.Job), Kind.GroupKind()); ours {
			return []string{key}
		}
		return nil
	})
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	cached, err := c.cronJobs.CronJobs(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	cj := c.latest.Of(cached)
	jobs, err := c.owned(cj)
	if err != nil {
		return err
	}
	missing, err := c.missing(ctx, cj, jobs)
	if err != nil {
		return err
	}
	s := plan(cj, jobs, missing, c.clock.Now())
	for _, e := range s.events {
		c.recorder.Event(cj, e.kind, e.reason, e.message)
	}
	failed := c.act(ctx, cj, &s)
	if s.recheck > 0 {
		c.loop.After(key, s.recheck)
	}
	if equality.Semantic.DeepEqual(cj.Status, s.status) {
		return failed
	}
	now := cj.DeepCopy()
	now.Status = s.status
	written, err := c.client.BatchV1().CronJobs(namespace).UpdateStatus(ctx, now, metav1.UpdateOptions{})
	if err == nil {
		c.latest.Wrote(written)
	}
	if apierrors.IsNotFound(err) {
		err = nil
	}
	return errors.Join(failed, err)
}

func (c *controller) owned(cj *batchv1.CronJob) (owned []*batchv1.Job, err error) {
	all, err := c.jobs.Jobs(cj.Namespace).List(labels.Everything())
	for _, j := range all {
		if metav1.IsControlledBy(j, cj) {
			owned = append(owned, j)
		}
	}
	return owned, err
}

// missing asks the API server for running jobs that the cache doesn't show.
func (c *controller) missing(ctx context.Context, cj *batchv1.CronJob, jobs []*batchv1.Job) (map[types.UID]bool, error) {
	there := map[types.UID]bool{}
	for _, j := range jobs {
		there[j.UID] = true
	}
	missing := map[types.UID]bool{}
	for _, r := range cj.Status.Active {
		if there[r.UID] {
			continue
		}
		j, err := c.client.BatchV1().Jobs(r.Namespace).Get(ctx, r.Name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		missing[r.UID] = err != nil || j.UID != r.UID
	}
	return missing, nil
}

func (c *controller) act(ctx context.Context, cj *batchv1.CronJob, s *step) error {
	var failed []error
	for _, j := range s.remove {
		failed = append(failed, c.remove(ctx, cj, s, j.Name, j.UID))
	}
	for _, r := range s.replace {
		if err := c.remove(ctx, cj, s, r.Name, r.UID); err != nil {
			return fmt.Errorf("could not replace job %s/%s: %w", r.Namespace, r.Name, err)
		}
	}
	if s.create != nil {
		failed = append(failed, c.create(ctx, cj, s))
	}
	return errors.Join(failed...)
}

func (c *controller) remove(ctx context.Context, cj *batchv1.CronJob, s *step, name string, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := c.client.BatchV1().Jobs(cj.Namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background, Preconditions: metav1.NewUIDPreconditions(string(uid))})
	if err != nil && !apierrors.IsNotFound(err) {
		c.recorder.Eventf(cj, v1.EventTypeWarning, "FailedDelete", "Deleted job: %v", err)
		return err
	}
	s.drop(uid)
	c.recorder.Eventf(cj, v1.EventTypeNormal, "SuccessfulDelete", "Deleted job %v", name)
	return nil
}

func (c *controller) create(ctx context.Context, cj *batchv1.CronJob, s *step) error {
	jobs := c.client.BatchV1().Jobs(cj.Namespace)
	made, err := jobs.Create(ctx, s.create, metav1.CreateOptions{})
	switch {
	case apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause):
		return nil
	case apierrors.IsAlreadyExists(err): // made before a crash, and not in the status
		if made, err = jobs.Get(ctx, s.create.Name, metav1.GetOptions{}); err != nil || !metav1.IsControlledBy(made, cj) {
			return err
		}
	case err != nil:
		c.recorder.Eventf(cj, v1.EventTypeWarning, "FailedCreate", "Error creating job: %v", err)
		return err
	default:
		c.recorder.Eventf(cj, v1.EventTypeNormal, "SuccessfulCreate", "Created job %v", made.Name)
	}
	s.status.Active = append(s.status.Active, v1.ObjectReference{
		Kind: "Job", APIVersion: batchv1.SchemeGroupVersion.String(), Namespace: made.Namespace, Name: made.Name, UID: made.UID, ResourceVersion: made.ResourceVersion,
	})
	s.status.LastScheduleTime = &metav1.Time{Time: s.at}
	return nil
}
