package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sort"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	corev1 "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/utils/clock"
)

// Name is the schedulerName of the pods that are ours.
const Name = "default-scheduler"

// retry is how long a pod waits after its binding failed.
const retry = time.Second

// Config of a scheduler. All fields are required.
type Config struct {
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	Recorder  record.EventRecorder
	Clock     clock.WithTicker
}

// Validate names the field that is missing.
func (c Config) Validate() error {
	if c.Client == nil || c.Informers == nil || c.Recorder == nil || c.Clock == nil {
		return errors.New("scheduler: Client, Informers, Recorder and Clock are required")
	}
	return nil
}

// Scheduler owns the cluster's picture; only Run's goroutine touches it.
type Scheduler struct {
	config  Config
	events  chan func() // changes of the picture, in order
	cluster *Cluster
	pending map[types.UID]*v1.Pod // to be tried
	waiting map[types.UID]*v1.Pod // fit nowhere when last tried
}

// New registers with the informers, so it must be called before they start.
func New(config Config) (*Scheduler, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{
		config:  config,
		events:  make(chan func(), 256),
		cluster: NewCluster(),
		pending: map[types.UID]*v1.Pod{},
		waiting: map[types.UID]*v1.Pod{},
	}
	core := config.Informers.Core().V1()
	core.Pods().Informer()
	core.Nodes().Informer()
	return s, nil
}

// Run schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	core := s.config.Informers.Core().V1()
	pods, err := s.listen(ctx, core.Pods().Informer(), s.podChanged, s.podGone)
	if err != nil {
		return err
	}
	defer func() { _ = core.Pods().Informer().RemoveEventHandler(pods) }()
	nodes, err := s.listen(ctx, core.Nodes().Informer(), s.nodeChanged, s.nodeGone)
	if err != nil {
		return err
	}
	defer func() { _ = core.Nodes().Informer().RemoveEventHandler(nodes) }()
	s.firstLook(ctx, pods, nodes)
	for {
		select {
		case <-ctx.Done():
			return nil
		case change := <-s.events:
			change()
			s.drain()
			s.placeAll(ctx)
		}
	}
}

// firstLook takes in the whole picture before anything is placed: a pod must not
// be told that there are no nodes because they were listed after it.
func (s *Scheduler) firstLook(ctx context.Context, registrations ...cache.ResourceEventHandlerRegistration) {
	synced := make(chan struct{})
	go func() {
		defer close(synced)
		for _, r := range registrations {
			cache.WaitForCacheSync(ctx.Done(), r.HasSynced)
		}
	}()
	for {
		select {
		case change := <-s.events:
			change()
		case <-synced:
			s.drain()
			s.placeAll(ctx)
			return
		}
	}
}

// drain takes in everything else that is known by now, so that a burst is
// placed by priority and against one picture.
func (s *Scheduler) drain() {
	for {
		select {
		case change := <-s.events:
			change()
		default:
			return
		}
	}
}

func (s *Scheduler) listen(ctx context.Context, informer cache.SharedIndexInformer, changed func(old, new any), gone func(any)) (cache.ResourceEventHandlerRegistration, error) {
	send := func(f func()) {
		select {
		case s.events <- f:
		case <-ctx.Done():
		}
	}
	return informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { send(func() { changed(nil, o) }) },
		UpdateFunc: func(old, o any) { send(func() { changed(old, o) }) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			send(func() { gone(o) })
		},
	})
}

func (s *Scheduler) podChanged(old, new any) {
	pod := new.(*v1.Pod)
	if pod.Spec.NodeName != "" || ended(pod) {
		s.forget(pod.UID)
		s.cluster.SetPod(pod)
		if o, ok := old.(*v1.Pod); ok && ended(pod) && !ended(o) {
			s.wake()
		}
		return
	}
	if !ours(pod) {
		s.forget(pod.UID)
		return
	}
	// A status written by ourselves is no reason to try again.
	if o, ok := old.(*v1.Pod); ok && s.waiting[pod.UID] != nil && o.Generation == pod.Generation {
		s.waiting[pod.UID] = pod
		return
	}
	if _, assumed := s.cluster.pods[pod.UID]; !assumed {
		delete(s.waiting, pod.UID)
		s.pending[pod.UID] = pod
	}
}

// ours: asked of this scheduler, not going away, and with no gate closed.
func ours(pod *v1.Pod) bool {
	return pod.Spec.SchedulerName == Name && pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0
}

func (s *Scheduler) podGone(o any) {
	pod := o.(*v1.Pod)
	s.forget(pod.UID)
	s.cluster.RemovePod(pod.UID)
	s.wake()
}

func (s *Scheduler) nodeChanged(old, new any) {
	node := new.(*v1.Node)
	s.cluster.SetNode(node)
	if o, ok := old.(*v1.Node); !ok || matters(o, node) {
		s.wake()
	}
}

// matters: heartbeats change a node all the time and help no pod.
func matters(old, new *v1.Node) bool {
	return old.Generation != new.Generation || old.Spec.Unschedulable != new.Spec.Unschedulable ||
		len(old.Spec.Taints) != len(new.Spec.Taints) || !maps.Equal(old.Labels, new.Labels) ||
		!maps.Equal(quantitiesOf(old.Status.Allocatable), quantitiesOf(new.Status.Allocatable))
}

func (s *Scheduler) nodeGone(o any) { s.cluster.RemoveNode(o.(*v1.Node).Name) }

func (s *Scheduler) forget(uid types.UID) {
	delete(s.pending, uid)
	delete(s.waiting, uid)
}

// wake tries again all the pods that fitted nowhere.
func (s *Scheduler) wake() {
	for uid, pod := range s.waiting {
		s.pending[uid] = pod
		delete(s.waiting, uid)
	}
}

func (s *Scheduler) placeAll(ctx context.Context) {
	for _, pod := range inOrder(s.pending) {
		delete(s.pending, pod.UID)
		nodeName, why := s.cluster.Place(pod)
		if why != nil {
			s.waiting[pod.UID] = pod
			go s.explain(ctx, pod, why)
			continue
		}
		assumed := pod.DeepCopy()
		assumed.Spec.NodeName = nodeName
		s.cluster.SetPod(assumed)
		go s.bind(ctx, pod, nodeName)
	}
}

// inOrder is by priority, then by age.
func inOrder(pending map[types.UID]*v1.Pod) []*v1.Pod {
	pods := make([]*v1.Pod, 0, len(pending))
	for _, p := range pending {
		pods = append(pods, p)
	}
	sort.Slice(pods, func(i, j int) bool {
		a, b := pods[i], pods[j]
		if pa, pb := corev1.PodPriority(a), corev1.PodPriority(b); pa != pb {
			return pa > pb
		}
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.UID < b.UID
	})
	return pods
}

func (s *Scheduler) bind(ctx context.Context, pod *v1.Pod, nodeName string) {
	err := s.config.Client.CoreV1().Pods(pod.Namespace).Bind(ctx, &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
	switch {
	case err == nil:
		s.config.Recorder.Eventf(pod, v1.EventTypeNormal, "Scheduled", "Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, nodeName)
		return
	case ctx.Err() != nil:
		return
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		// Gone, or bound by another: the informer tells, there is nothing to retry.
	default:
		slog.Warn("Binding failed", "pod", pod.Namespace+"/"+pod.Name, "node", nodeName, "err", err)
		select {
		case <-s.config.Clock.After(retry):
		case <-ctx.Done():
			return
		}
	}
	select {
	case s.events <- func() { s.unassume(pod) }:
	case <-ctx.Done():
	}
}

// unassume takes a pod off the node it was not bound to and tries it again, as
// the informer shows it now.
func (s *Scheduler) unassume(pod *v1.Pod) {
	s.cluster.RemovePod(pod.UID)
	now, err := s.config.Informers.Core().V1().Pods().Lister().Pods(pod.Namespace).Get(pod.Name)
	if err == nil && now.UID == pod.UID {
		s.podChanged(nil, now)
	}
}

// explain tells the user, once for each change of the answer.
func (s *Scheduler) explain(ctx context.Context, pod *v1.Pod, why *Unfit) {
	message := why.Error()
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodScheduled && c.Status == v1.ConditionFalse && c.Message == message {
			return
		}
	}
	s.config.Recorder.Event(pod, v1.EventTypeWarning, "FailedScheduling", message)
	if err := s.setUnschedulable(ctx, pod, message); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
		slog.Warn("Setting the PodScheduled condition failed", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
}
