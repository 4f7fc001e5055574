package node

import (
	"context"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/static"
)

// manifests is a source of static pods that a test fills.
type manifests chan []*v1.Pod

func (m manifests) Run(ctx context.Context, set func([]*v1.Pod)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case pods := <-m:
			set(pods)
		}
	}
}

func staticPod(name string) *v1.Pod {
	p := pod(name, v1.Container{Name: "app"})
	p.UID = "static-" + p.UID
	p.Annotations = map[string]string{podlife.AnnotationSource: "file", static.AnnotationHash: string(p.UID)}
	return p
}

func TestStaticPodsHaveMirrorsThatComeBack(t *testing.T) {
	f := newFixture(t)
	source := make(manifests)
	f.source, f.mirrors = source, &static.Mirrors{Client: f.client, Node: func() *v1.Node { return testNode }}
	f.start()
	own := staticPod("web")
	source <- []*v1.Pod{own}
	f.eventually("the mirror shows the pod Ready", func() bool { return f.ready("web") })
	mirror := f.get("web")
	if mirror.UID == own.UID || mirror.Annotations[podlife.AnnotationMirror] == "" {
		t.Errorf("mirror %s of %s: %v", mirror.UID, own.UID, mirror.Annotations)
	}
	instance := mirror.Status.ContainerStatuses[0].ContainerID

	// A graceful deletion waits for the node; one with no grace is done by the API.
	marked := mirror.DeepCopy()
	now := metav1.Now()
	marked.DeletionTimestamp, marked.Labels = &now, map[string]string{"old": "yes"}
	if _, err := f.client.CoreV1().Pods("default").Update(context.Background(), marked, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.eventually("another mirror has come", func() bool {
		p := f.get("web")
		return p != nil && p.Labels["old"] == "" && p.DeletionTimestamp == nil && f.ready("web")
	})
	if err := f.client.CoreV1().Pods("default").Delete(context.Background(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.eventually("yet another mirror has come", func() bool { return f.get("web") != nil && f.ready("web") })
	if got := f.get("web").Status.ContainerStatuses[0].ContainerID; got != instance {
		t.Errorf("the container was restarted: %s, before %s", got, instance)
	}

	// A mirror that is to come back must not do so once its manifest is gone.
	if err := f.client.CoreV1().Pods("default").Delete(context.Background(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	source <- nil
	f.eventually("gone from the node", f.nothingLeft)
	f.eventually("gone from the API", func() bool { return f.get("web") == nil })
	time.Sleep(1200 * time.Millisecond) // it would be back after a second
	if p := f.get("web"); p != nil {
		t.Errorf("the mirror is back: %+v", p)
	}
}

// A shutdown of the node ends static pods too; with the node they come back.
func TestStaticPodsRunAgainAfterAShutdown(t *testing.T) {
	f := newFixture(t)
	source := make(manifests)
	f.source, f.mirrors = source, &static.Mirrors{Client: f.client, Node: func() *v1.Node { return testNode }}
	f.start()
	own := staticPod("web")
	source <- []*v1.Pod{own}
	f.eventually("ready", func() bool { return f.ready("web") })
	f.agent.Evict(own.UID, "Terminated", "the node shuts down", time.Second)
	f.eventually("ended", func() bool { p := f.get("web"); return p != nil && p.Status.Phase == v1.PodFailed })
	f.kill()
	f.start()
	source <- []*v1.Pod{own}
	f.eventually("runs again", func() bool { return f.ready("web") })
}

// With no API server there is no Node, no list of services and no pod but those of
// manifests, and these run.
func TestStaticPodsRunWithoutAnAPIServer(t *testing.T) {
	f := newFixture(t)
	source := make(manifests)
	f.source, f.alone = source, true
	f.start()
	source <- []*v1.Pod{staticPod("web")}
	f.eventually("running", func() bool {
		p, known := f.agent.Pod("default", "web")
		return known && p.Status.Phase == v1.PodRunning
	})
	source <- nil
	f.eventually("gone from the node", f.nothingLeft)
}
