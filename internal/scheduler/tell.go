package scheduler

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
)

// answer is what a user is told of a pod that was not placed.
type answer struct {
	reason, message string     // of the PodScheduled condition; no reason: it stays as it is
	nomination      Nomination // Keep, unless it changes
	node            string     // the nominated one, if Set
}

// teller writes answers into pods' statuses, beside the scheduler: of several for
// one pod only the last, and never two at once.
type teller struct {
	config Config
	queue  workqueue.TypedInterface[types.UID]

	mu   sync.Mutex
	last map[types.UID]said
}

type said struct {
	pod *v1.Pod
	answer
}

// So many pods are told at a time.
const tellers = 8

// Longer messages are not taken by events.
const maxNote = 1024

func newTeller(c Config) *teller {
	return &teller{config: c, queue: workqueue.NewTyped[types.UID](), last: map[types.UID]said{}}
}

func (t *teller) say(pod *v1.Pod, a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[pod.UID] = said{pod, a}
	t.queue.Add(pod.UID)
}

// run starts the writing; what it returns ends that.
func (t *teller) run(ctx context.Context) (stop func()) {
	var wg sync.WaitGroup
	for range tellers {
		wg.Go(func() {
			for {
				uid, over := t.queue.Get()
				if over {
					return
				}
				t.mu.Lock()
				s, ok := t.last[uid]
				delete(t.last, uid)
				t.mu.Unlock()
				if ok {
					t.write(ctx, s)
				}
				t.queue.Done(uid)
			}
		})
	}
	return func() {
		t.queue.ShutDown()
		wg.Wait()
	}
}

// write says it with an event and in the status, if it is news.
func (t *teller) write(ctx context.Context, s said) {
	status := map[string]any{}
	if s.reason != "" && isNews(s.pod, s.answer) {
		note := s.message
		if len(note) > maxNote {
			note = note[:maxNote-len(" ...")] + " ..."
		}
		t.config.Recorder.Event(s.pod, v1.EventTypeWarning, "FailedScheduling", note)
		status["conditions"] = []v1.PodCondition{t.condition(s)}
	}
	switch s.nomination {
	case Set:
		status["nominatedNodeName"] = s.node
	case Clear:
		status["nominatedNodeName"] = nil
	}
	if len(status) > 0 {
		patchStatus(ctx, t.config.Client, s.pod, status)
	}
}

func isNews(pod *v1.Pod, a answer) bool {
	c := scheduled(pod)
	return c == nil || c.Status != v1.ConditionFalse || c.Message != a.message || c.Reason != a.reason
}

func (t *teller) condition(s said) v1.PodCondition {
	condition := v1.PodCondition{
		Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: s.reason, Message: s.message,
		LastTransitionTime: metav1.NewTime(t.config.Clock.Now()), ObservedGeneration: s.pod.Generation,
	}
	if c := scheduled(s.pod); c != nil && c.Status == v1.ConditionFalse {
		condition.LastTransitionTime = c.LastTransitionTime
	}
	return condition
}

func scheduled(pod *v1.Pod) *v1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == v1.PodScheduled {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// patchStatus changes some of a pod's status, only while it is still the same pod.
func patchStatus(ctx context.Context, client kubernetes.Interface, pod *v1.Pod, status map[string]any) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err == nil {
		_, err = client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		slog.Warn("Setting a pod's status failed", "pod", pod.Namespace+"/"+pod.Name, "err", err)
	}
}
