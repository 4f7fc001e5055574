package loop

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Waits between tries of a status that could not be sent.
const (
	resendFirst = 200 * time.Millisecond
	resendMost  = 10 * time.Second
)

// How long a status that is not pressing waits for a newer one: most pods run by
// then, and one patch says it all. With a pod that takes its time there is one in a
// second, as often as anybody looks.
const (
	lingerFirst = 250 * time.Millisecond
	lingerMore  = time.Second
)

// Sender patches pods' statuses: one patch of a pod at a time, the latest status
// wins, other pods don't wait. An object that is gone, or another of the same
// name, ends the matter.
type Sender struct {
	client kubernetes.Interface
	clock  clock.Clock
	log    *slog.Logger
	ctx    context.Context
	wg     sync.WaitGroup

	mu   sync.Mutex
	pods map[types.UID]*letter
}

// letter is the status to be sent for one pod.
type letter struct {
	object  *v1.Pod // newest version known, from the informer or a patch's answer
	status  v1.PodStatus
	passes  bool          // status will be followed by another in a moment
	due     bool          // status is newer than what was sent
	since   time.Time     // of being due
	told    time.Time     // when something was sent last
	last    bool          // the object's end waits: only what is pressing is sent, at once
	sending bool          // a goroutine is at it
	news    chan struct{} // holds a token when status or due changed
	idle    chan struct{} // closed when sending ends
}

// NewSender makes a sender that works until ctx ends.
func NewSender(ctx context.Context, client kubernetes.Interface, clk clock.Clock, log *slog.Logger) *Sender {
	return &Sender{client: client, clock: clk, log: log, ctx: ctx, pods: map[types.UID]*letter{}}
}

// Wait returns when nothing is under way any more, after ctx ended.
func (s *Sender) Wait() { s.wg.Wait() }

// Set gives the newest status of a pod. One that passes (its container was ended to
// be replaced, say) may wait for the next.
func (s *Sender) Set(object *v1.Pod, status v1.PodStatus, passes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pods[object.UID]
	if l == nil {
		l = &letter{object: object, news: make(chan struct{}, 1)}
		s.pods[object.UID] = l
	}
	if newer(object, l.object) {
		l.object = object
	}
	if !l.due {
		l.due, l.since = true, s.clock.Now()
	}
	l.status, l.passes = status, passes
	l.ring()
	if !l.sending && s.ctx.Err() == nil {
		l.sending, l.idle = true, make(chan struct{})
		s.wg.Go(func() { s.send(l) })
	}
}

func (l *letter) ring() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// wait is how long the status may wait yet for a newer one.
func (l *letter) wait(now time.Time) time.Duration {
	if !l.passes && pressing(&l.object.Status, &l.status) {
		return 0
	}
	until := l.since.Add(lingerFirst)
	if next := l.told.Add(lingerMore); next.After(until) {
		until = next
	}
	return until.Sub(now)
}

// Forget drops what is known of a pod that is gone.
func (s *Sender) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.pods[uid]; l != nil {
		l.due = false
		l.ring()
		delete(s.pods, uid)
	}
}

// Flush returns when all that is pressing of the pod's newest status was sent, or
// ctx ended. It is for the object's last moment: the rest is dropped.
func (s *Sender) Flush(ctx context.Context, uid types.UID) error {
	s.mu.Lock()
	l := s.pods[uid]
	var idle chan struct{}
	if l != nil && l.sending {
		idle, l.last = l.idle, true
		l.ring()
	}
	s.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send works until the newest status was sent.
func (s *Sender) send(l *letter) {
	wait := resendFirst
	for {
		s.mu.Lock()
		linger := l.wait(s.clock.Now())
		if !l.due || s.ctx.Err() != nil || l.last && linger > 0 {
			l.due, l.sending, l.last = false, false, false
			close(l.idle)
			s.mu.Unlock()
			return
		}
		if linger > 0 {
			s.mu.Unlock()
			s.linger(l, linger)
			continue
		}
		object, status := l.object, l.status
		l.due = false
		s.mu.Unlock()
		answer, err := s.patch(object, status)
		s.mu.Lock()
		if err == nil && answer != nil {
			l.told, wait = s.clock.Now(), resendFirst
			if newer(answer, l.object) {
				l.object = answer
			}
		}
		if err != nil && !hopeless(err) {
			l.due = true
		}
		s.mu.Unlock()
		if err != nil && !hopeless(err) {
			s.log.Warn("pod status not sent, will be tried again", "pod", object.UID, "err", err)
			select {
			case <-s.ctx.Done():
			case <-s.clock.After(wait):
			}
			wait = min(2*wait, resendMost)
		}
	}
}

// linger until something is new, or the time is over.
func (s *Sender) linger(l *letter, d time.Duration) {
	timer := s.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-l.news:
	case <-timer.C():
	}
}

// hopeless: there is no such object any more, or it has another UID.
func hopeless(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// patch sends the difference; nil without an error: there is none.
func (s *Sender) patch(object *v1.Pod, status v1.PodStatus) (*v1.Pod, error) {
	body, err := statusPatch(object, status)
	if err != nil || body == nil {
		return nil, err
	}
	answer, err := s.client.CoreV1().Pods(object.Namespace).Patch(s.ctx, object.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch status of pod %s/%s: %w", object.Namespace, object.Name, err)
	}
	return answer, nil
}

// newer orders versions of one object.
func newer(a, b *v1.Pod) bool {
	x, err1 := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, err2 := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return err1 != nil || err2 != nil || x > y
}
