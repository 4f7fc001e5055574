package scheduler

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

// Name is the schedulerName of the pods that are ours.
const Name = "default-scheduler"

// Config of a scheduler. All fields but Volumes are required.
type Config struct {
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	Recorder  record.EventRecorder
	Clock     clock.WithTicker
	Volumes   Volumes
}

// Validate names the field that is missing.
func (c Config) Validate() error {
	if c.Client == nil || c.Informers == nil || c.Recorder == nil || c.Clock == nil {
		return errors.New("scheduler: Client, Informers, Recorder and Clock are required")
	}
	return nil
}

// Scheduler owns the cluster's picture and the queue; only Run's goroutine
// touches them.
type Scheduler struct {
	config  Config
	listers listers
	events  chan func() // changes of the picture, in order
	cluster *Cluster
	queue   *Queue
	tried   int // pods, so far
	teller  *teller
	binding chan struct{} // holds as many as are being written
}

// So many bindings are written at a time: the store takes them to disk together.
const bindings = 64

// New registers with the informers, so it must be called before they start.
func New(config Config) (*Scheduler, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{
		config: config, listers: newListers(config.Informers), events: make(chan func(), 256), cluster: NewCluster(), queue: NewQueue(),
		teller: newTeller(config), binding: make(chan struct{}, bindings),
	}
	core := config.Informers.Core().V1()
	core.Pods().Informer()
	core.Nodes().Informer()
	core.Namespaces().Informer()
	return s, nil
}

// Run schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	registrations, stop, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	defer s.teller.run(ctx)()
	if s.config.Volumes != nil {
		s.config.Volumes.OnChange(func() { s.send(ctx, func() { s.queue.Happened(OfVolumes, nil) }) })
	}
	s.firstLook(ctx, registrations...)
	for {
		s.drain()
		if s.tryNext(ctx) {
			continue
		}
		if !s.wait(ctx) {
			return nil
		}
	}
}

// wait for something to happen; false when it is over.
func (s *Scheduler) wait(ctx context.Context) bool {
	var due <-chan time.Time
	if at, ok := s.queue.Wake(); ok {
		timer := s.config.Clock.NewTimer(at.Sub(s.config.Clock.Now()))
		defer timer.Stop()
		due = timer.C()
	}
	select {
	case <-ctx.Done():
		return false
	case change := <-s.events:
		change()
	case <-due:
	}
	return true
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

// send a change to Run's goroutine.
func (s *Scheduler) send(ctx context.Context, change func()) {
	select {
	case s.events <- change:
	case <-ctx.Done():
	}
}

// tryNext places one pod; false when there is none to be placed now.
func (s *Scheduler) tryNext(ctx context.Context) bool {
	pod, ok := s.queue.Pop(s.config.Clock.Now())
	if !ok {
		return false
	}
	if ctx.Err() != nil {
		return false
	}
	s.tried++
	wish, need, nowhere, err := s.wish(pod)
	switch {
	case err != nil:
		s.broken(pod, err)
	case nowhere != "":
		s.unfit(ctx, pod, s.cluster.nowhere(wish, nowhere))
	default:
		nodeName, why := s.cluster.Place(wish)
		if why != nil {
			s.unfit(ctx, pod, why)
		} else {
			s.assume(ctx, pod, nodeName, need)
		}
	}
	return true
}

// wish gathers what is not in the pod.
func (s *Scheduler) wish(pod *v1.Pod) (w Wish, need VolumeNeed, nowhere string, err error) {
	w.Pod = pod
	if len(pod.Spec.TopologySpreadConstraints) == 0 && len(s.cluster.present()) > 1 {
		w.Group = s.listers.group(pod)
	}
	if s.config.Volumes == nil || len(pod.Spec.Volumes) == 0 {
		return w, nil, "", nil
	}
	need, nowhere, err = s.config.Volumes.Need(pod)
	if need != nil {
		w.Volumes = need.Refuse
	}
	return w, need, nowhere, err
}

// assume the pod on its node and bind it beside.
func (s *Scheduler) assume(ctx context.Context, pod *v1.Pod, nodeName string, need VolumeNeed) {
	var reserved Reservation
	if need != nil {
		var err error
		if reserved, err = need.Reserve(nodeName); err != nil {
			s.broken(pod, err)
			return
		}
	}
	assumed := *pod
	assumed.Spec.NodeName = nodeName
	s.cluster.SetPod(&assumed)
	s.queue.Happened(ofNewPod, nil)
	go s.bind(ctx, pod, nodeName, reserved)
}
