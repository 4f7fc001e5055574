package loop

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
)

// TestLatestWins: while one patch is under way, what comes is merged; a failure is
// tried again, with what is newest by then.
func TestLatestWins(t *testing.T) {
	client, entered, proceed := fake.NewClientset(aPod()), make(chan struct{}), make(chan error)
	patches := 0
	client.PrependReactor("patch", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		patches++
		entered <- struct{}{}
		err := <-proceed
		return err != nil, nil, err
	})
	s, stop := sender(t, client)
	defer stop()
	s.Set(aPod(), v1.PodStatus{Message: "1"}, false)
	<-entered
	for _, m := range []string{"2", "3", "4"} {
		s.Set(aPod(), v1.PodStatus{Message: m}, false)
	}
	proceed <- errors.New("no API")
	<-entered
	proceed <- nil
	if err := s.Flush(context.Background(), "u"); err != nil {
		t.Fatal(err)
	}
	pod, err := client.CoreV1().Pods("ns").Get(context.Background(), "p", metav1.GetOptions{})
	if err != nil || pod.Status.Message != "4" || patches != 2 {
		t.Errorf("after %d patches: %q %v", patches, pod.Status.Message, err)
	}
}

// TestGoneIsTheEnd: nobody waits for an object that is not there any more.
func TestGoneIsTheEnd(t *testing.T) {
	client := fake.NewClientset()
	patches := 0
	client.PrependReactor("patch", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		patches++
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "p", errors.New("another UID"))
	})
	s, stop := sender(t, client)
	defer stop()
	s.Set(aPod(), v1.PodStatus{Message: "1"}, false)
	if err := s.Flush(context.Background(), "u"); err != nil || patches != 1 {
		t.Errorf("%d patches, %v", patches, err)
	}
}

func sender(t *testing.T, client *fake.Clientset) (*Sender, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	s := NewSender(ctx, client, clock.RealClock{}, slog.New(slog.DiscardHandler))
	return s, func() {
		cancel()
		s.Wait()
	}
}

func aPod() *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
}
