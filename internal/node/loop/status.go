package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// Waits between tries of a status that could not be sent.
const (
	resendFirst = 200 * time.Millisecond
	resendMost  = 10 * time.Second
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
	due     bool          // status is newer than what was sent
	sending bool          // a goroutine is at it
	idle    chan struct{} // closed when sending ends
}

// NewSender makes a sender that works until ctx ends.
func NewSender(ctx context.Context, client kubernetes.Interface, clk clock.Clock, log *slog.Logger) *Sender {
	return &Sender{client: client, clock: clk, log: log, ctx: ctx, pods: map[types.UID]*letter{}}
}

// Wait returns when nothing is under way any more, after ctx ended.
func (s *Sender) Wait() { s.wg.Wait() }

// Set gives the newest status of a pod.
func (s *Sender) Set(object *v1.Pod, status v1.PodStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pods[object.UID]
	if l == nil {
		l = &letter{object: object}
		s.pods[object.UID] = l
	}
	if newer(object, l.object) {
		l.object = object
	}
	l.status, l.due = status, true
	if !l.sending && s.ctx.Err() == nil {
		l.sending, l.idle = true, make(chan struct{})
		s.wg.Go(func() { s.send(l) })
	}
}

// Forget drops what is known of a pod that is gone.
func (s *Sender) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.pods[uid]; l != nil {
		l.due = false
		delete(s.pods, uid)
	}
}

// Flush returns when the newest status of the pod was sent, or ctx ended.
func (s *Sender) Flush(ctx context.Context, uid types.UID) error {
	s.mu.Lock()
	l := s.pods[uid]
	var idle chan struct{}
	if l != nil && l.sending {
		idle = l.idle
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
		if !l.due || s.ctx.Err() != nil {
			l.sending = false
			close(l.idle)
			s.mu.Unlock()
			return
		}
		object, status := l.object, l.status
		l.due = false
		s.mu.Unlock()
		answer, err := s.patch(object, status)
		s.mu.Lock()
		switch {
		case err == nil && answer != nil && newer(answer, l.object):
			l.object = answer
			wait = resendFirst
		case err != nil && !hopeless(err):
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

// statusPatch is the difference between the object's status and the new one, tied
// to the object's UID; nil if there is none.
func statusPatch(object *v1.Pod, status v1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(v1.Pod{Status: object.Status})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	after, err := json.Marshal(v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: object.UID}, Status: status})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	body, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("compare statuses: %w", err)
	}
	if empty := fmt.Sprintf(`{"metadata":{"uid":%q}}`, object.UID); string(body) == empty {
		return nil, nil
	}
	return body, nil
}

// newer orders versions of one object.
func newer(a, b *v1.Pod) bool {
	x, err1 := strconv.ParseUint(a.ResourceVersion, 10, 64)
	y, err2 := strconv.ParseUint(b.ResourceVersion, 10, 64)
	return err1 != nil || err2 != nil || x > y
}
