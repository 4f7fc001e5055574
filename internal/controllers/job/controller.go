package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	batchlisters "k8s.io/client-go/listers/batch/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
	"github.com/proa-project/proa/internal/controllers/reconcile"
)

// Component that events are from.
const Component = "job-controller"

// orphan marks the keys of pods that are tracked for no Job.
const orphan = "orphan|"

type controller struct {
	client   kubernetes.Interface
	jobs     batchlisters.JobLister
	pods     corelisters.PodLister
	control  *podcontrol.Control
	latest   reconcile.Latest[*batchv1.Job]
	recorder record.EventRecorder
	clock    clock.PassiveClock
	loop     *reconcile.Loop

	mu       sync.Mutex
	backoffs map[types.UID]backoff
	released map[types.UID]map[types.UID]bool // by Job: pods whose finalizer we took, until the cache shows it
}

// New watches Jobs and pods.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, recorder record.EventRecorder, clock clock.PassiveClock) (*reconcile.Loop, error) {
	jobs, pods := factory.Batch().V1().Jobs(), factory.Core().V1().Pods()
	c := &controller{
		client: client, jobs: jobs.Lister(), pods: pods.Lister(), recorder: recorder, clock: clock,
		backoffs: map[types.UID]backoff{}, released: map[types.UID]map[types.UID]bool{},
	}
	var err error
	if c.control, err = podcontrol.New(client, pods.Informer(), recorder, Kind, clock); err != nil {
		return nil, err
	}
	c.loop = reconcile.New("job", 4, c.reconcile)
	if err := c.loop.WatchChanges(jobs.Informer(), c.jobChanged); err != nil {
		return nil, err
	}
	keys := podcontrol.Keys(Kind.GroupKind(), c.matching)
	return c.loop, c.loop.WatchChanges(pods.Informer(), func(old, current any) []string {
		return append(keys(old, current), c.orphanKey(current)...)
	})
}

func (c *controller) jobChanged(old, current any) []string {
	if current != nil {
		j := current.(*batchv1.Job)
		return []string{j.Namespace + "/" + j.Name}
	}
	j := old.(*batchv1.Job)
	c.forget(j.UID)
	c.latest.Forget(j.UID)
	pods, err := c.control.Of(j, false)
	if err != nil {
		return nil
	}
	var keys []string
	for _, p := range pods {
		keys = append(keys, c.orphanKey(p)...)
	}
	return keys
}

// orphanKey of a pod that is tracked though no Job counts it.
func (c *controller) orphanKey(o any) []string {
	p, ok := o.(*v1.Pod)
	if !ok || !isTracked(p) || c.isCounted(p) {
		return nil
	}
	return []string{orphan + p.Namespace + "/" + p.Name}
}

// isCounted says that a Job will count a pod. A pod of another kind's controller
// is none of our business.
func (c *controller) isCounted(p *v1.Pod) bool {
	ref := metav1.GetControllerOfNoCopy(p)
	if ref == nil {
		return false
	}
	if ref.Kind != Kind.Kind || ref.APIVersion != batchv1.SchemeGroupVersion.String() {
		return true
	}
	j, err := c.jobs.Jobs(p.Namespace).Get(ref.Name)
	if err != nil || j.UID != ref.UID {
		return false
	}
	_, finished := Finished(j)
	return !finished || !ours(j)
}

func (c *controller) matching(p *v1.Pod) (keys []string) {
	jobs, err := c.jobs.Jobs(p.Namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	for _, j := range jobs {
		selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
		if err == nil && !selector.Empty() && selector.Matches(labels.Set(p.Labels)) {
			keys = append(keys, j.Namespace+"/"+j.Name)
		}
	}
	return keys
}

// ours says that no other controller has taken the Job.
func ours(j *batchv1.Job) bool {
	return j.Spec.ManagedBy == nil || *j.Spec.ManagedBy == batchv1.JobControllerName
}

func (c *controller) reconcile(ctx context.Context, key string) error {
	if name, isOrphan := strings.CutPrefix(key, orphan); isOrphan {
		return c.releaseOrphan(ctx, name)
	}
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	cached, err := c.jobs.Jobs(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !ours(cached) {
		return err
	}
	j := c.latest.Of(cached).DeepCopy()
	if _, finished := Finished(j); finished {
		c.forget(j.UID)
		return c.releaseAll(ctx, j)
	}
	selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	if err != nil {
		return fmt.Errorf("selector of job %s: %w", key, err)
	}
	all, err := c.control.Of(j, true)
	if err != nil {
		return err
	}
	live := func(ctx context.Context) (metav1.Object, error) {
		return c.client.BatchV1().Jobs(namespace).Get(ctx, name, metav1.GetOptions{})
	}
	pods, err := c.control.Claim(ctx, j, podcontrol.Matching[*v1.Pod](selector), all, live, batchv1.JobTrackingFinalizer)
	if err != nil {
		return err
	}
	return c.step(ctx, key, snapshot{job: j, pods: c.shown(j, pods), backoff: c.backoffOf(j.UID), now: c.clock.Now()})
}

// step decides, acts and counts.
func (c *controller) step(ctx context.Context, key string, s snapshot) error {
	before := s.job.DeepCopy()
	d := decide(s)
	for _, e := range d.events {
		c.recorder.Event(s.job, e.kind, e.reason, e.message)
	}
	made, removed, failed := c.act(ctx, s.job, d)
	if failed != nil {
		d.finish = nil // not before all that is to go has gone
	}
	d.live(s, made, removed)
	t := track(s, d)
	if d.recheck > 0 {
		c.loop.After(key, d.recheck)
	}
	j, err := c.writeStatus(ctx, before, s.job)
	if err != nil {
		return errors.Join(failed, err)
	}
	c.keepBackoff(j.UID, d.backoff)
	failed = errors.Join(failed, c.releaseCounted(ctx, j, t))
	before = j.DeepCopy()
	j = j.DeepCopy()
	if j.Status.UncountedTerminatedPods == nil {
		j.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	settle(j, t.held)
	var events []event
	if !t.more && failed == nil {
		events = end(j, d.finish, c.clock.Now())
	}
	if _, err := c.writeStatus(ctx, before, j); err != nil {
		return errors.Join(failed, err)
	}
	for _, e := range events {
		c.recorder.Event(j, e.kind, e.reason, e.message)
	}
	return failed
}

// act makes and deletes pods and tells which it did.
func (c *controller) act(ctx context.Context, j *batchv1.Job, d decision) (made int, removed []*v1.Pod, err error) {
	var mu sync.Mutex
	err = podcontrol.AtOnce(d.remove, func(p *v1.Pod) error {
		if d.uncount && isTracked(p) {
			if err := c.release(ctx, j.UID, p); err != nil {
				return err
			}
		}
		if err := c.control.Delete(ctx, j, p); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		removed = append(removed, p)
		return nil
	})
	if err != nil {
		return 0, removed, err
	}
	made, err = podcontrol.SlowStart(len(d.create), func(i int) error { return c.control.Create(ctx, j, d.create[i]) })
	return made, removed, err
}

// writeStatus if it has changed; it returns the Job as it is now.
func (c *controller) writeStatus(ctx context.Context, before, j *batchv1.Job) (*batchv1.Job, error) {
	if equality.Semantic.DeepEqual(before.Status, j.Status) {
		return j, nil
	}
	written, err := c.client.BatchV1().Jobs(j.Namespace).UpdateStatus(ctx, j, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("status of job %s/%s: %w", j.Namespace, j.Name, err)
	}
	c.latest.Wrote(written)
	return written, nil
}

// releaseCounted takes the finalizers of pods that the status has noted.
func (c *controller) releaseCounted(ctx context.Context, j *batchv1.Job, t tracking) error {
	var mu sync.Mutex
	return podcontrol.AtOnce(t.release, func(p *v1.Pod) error {
		if err := c.release(ctx, j.UID, p); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		delete(t.held, p.UID)
		return nil
	})
}

func (c *controller) release(ctx context.Context, job types.UID, p *v1.Pod) error {
	if err := c.control.RemoveFinalizer(ctx, p, batchv1.JobTrackingFinalizer); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.released[job] == nil {
		c.released[job] = map[types.UID]bool{}
	}
	c.released[job][p.UID] = true
	return nil
}

// shown are pods without the finalizers that we took and the cache still shows,
// and with the one that adoption gave them.
func (c *controller) shown(j *batchv1.Job, pods []*v1.Pod) []*v1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := c.released[j.UID]
	still := map[types.UID]bool{}
	shown := slices.Clone(pods)
	for i, p := range shown {
		switch {
		case isTracked(p) && gone[p.UID]:
			still[p.UID] = true
			copied := *p
			copied.Finalizers = slices.DeleteFunc(slices.Clone(p.Finalizers), func(f string) bool { return f == batchv1.JobTrackingFinalizer })
			shown[i] = &copied
		case !isTracked(p) && !metav1.IsControlledBy(p, j):
			copied := *p
			copied.Finalizers = append(slices.Clone(p.Finalizers), batchv1.JobTrackingFinalizer)
			shown[i] = &copied
		}
	}
	c.released[j.UID] = still
	if len(still) == 0 {
		delete(c.released, j.UID)
	}
	return shown
}

// releaseAll frees the pods of a Job that is done.
func (c *controller) releaseAll(ctx context.Context, j *batchv1.Job) error {
	pods, err := c.control.Of(j, false)
	if err != nil {
		return err
	}
	return podcontrol.AtOnce(podcontrol.Filter(pods, isTracked), func(p *v1.Pod) error {
		return c.control.RemoveFinalizer(ctx, p, batchv1.JobTrackingFinalizer)
	})
}

func (c *controller) releaseOrphan(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	p, err := c.pods.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || !isTracked(p) || c.isCounted(p) {
		return err
	}
	return c.control.RemoveFinalizer(ctx, p, batchv1.JobTrackingFinalizer)
}

func (c *controller) backoffOf(uid types.UID) backoff {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.backoffs[uid]
}

func (c *controller) keepBackoff(uid types.UID, b backoff) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b == (backoff{}) {
		delete(c.backoffs, uid)
		return
	}
	c.backoffs[uid] = b
}

func (c *controller) forget(uid types.UID) {
	c.control.Forget(uid)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.backoffs, uid)
	delete(c.released, uid)
}
