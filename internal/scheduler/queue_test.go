package scheduler

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

var start = time.Unix(1_800_000_000, 0)

func expectPop(t *testing.T, q *Queue, now time.Time, want string) {
	t.Helper()
	pod, ok := q.Pop(now)
	got := ""
	if ok {
		got = pod.Name
	}
	if got != want {
		t.Errorf("popped %q, want %q", got, want)
	}
}

func TestQueueOrder(t *testing.T) {
	q := NewQueue()
	for _, p := range []*v1.Pod{makePod("a", "1"), makePod("b", "1"), makePod("high", "1", priority(9))} {
		q.Set(p, true)
	}
	for _, want := range []string{"high", "a", "b", ""} {
		expectPop(t, q, start, want)
	}
}

func TestQueueWakesByConcern(t *testing.T) {
	q := NewQueue()
	for _, name := range []string{"short", "repelled"} {
		q.Set(makePod(name, "1"), true)
		q.Pop(start)
	}
	q.Unfit("short", OfResources, start)
	q.Unfit("repelled", OfTaints, start)
	expectPop(t, q, start, "")
	q.Happened(ofGonePod, nil)
	expectPop(t, q, start, "short")
	q.Happened(OfTaints, func(*podInfo, Concern) bool { return false })
	expectPop(t, q, start, "")
	q.Happened(OfTaints, nil)
	expectPop(t, q, start, "repelled")
}

func TestQueueRests(t *testing.T) {
	q := NewQueue()
	q.Set(makePod("again", "1"), true)
	for range 3 {
		q.Pop(start)
		q.Unfit("again", OfResources, start)
		q.Happened(OfResources, nil)
	}
	q.Set(makePod("new", "1"), true)
	expectPop(t, q, start.Add(time.Second), "new")   // while it rests others go first
	expectPop(t, q, start.Add(time.Second), "again") // but nobody waits for nothing

	q.Failed("again", start)
	expectPop(t, q, start.Add(7*time.Second), "")
	if at, ok := q.Wake(); !ok || !at.Equal(start.Add(8*time.Second)) {
		t.Errorf("wakes at %v", at)
	}
	expectPop(t, q, start.Add(8*time.Second), "again")
}

func TestQueueTriesAnywayAfterAWhile(t *testing.T) {
	q := NewQueue()
	q.Set(makePod("p", "1"), true)
	q.Pop(start)
	q.Unfit("p", OfResources, start)
	expectPop(t, q, start.Add(waitAtMost-1), "")
	expectPop(t, q, start.Add(waitAtMost), "p")
}

// Whatever happens: no pod is lost, none is there twice, none comes back once removed.
func TestQueueKeepsPods(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, now := NewQueue(), start
		in := map[string]string{} // pod: queued, tried
		pick := func() string { return fmt.Sprint("p", rapid.IntRange(0, 5).Draw(t, "pod")) }
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch name := pick(); rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				if in[name] == "" {
					in[name] = "queued"
				}
				q.Set(makePod(name, "1"), in[name] == "queued")
			case 2:
				q.Remove(makePod(name, "1").UID)
				delete(in, name)
			case 3:
				if p, ok := q.Pop(now); ok {
					if in[p.Name] != "queued" {
						t.Fatalf("%s popped, which is %q", p.Name, in[p.Name])
					}
					in[p.Name] = "tried"
				}
			case 4:
				if in[name] == "tried" {
					in[name] = "queued"
					q.Unfit(makePod(name, "1").UID, OfPorts, now)
				}
			case 5:
				if in[name] == "tried" {
					in[name] = "queued"
					q.Failed(makePod(name, "1").UID, now)
				}
			case 6:
				q.Happened(OfPorts, nil)
				now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds")) * time.Second)
			}
		}
		for {
			p, ok := q.Pop(now.Add(time.Hour))
			if !ok {
				break
			}
			if in[p.Name] != "queued" {
				t.Fatalf("%s popped, which is %q", p.Name, in[p.Name])
			}
			delete(in, p.Name)
		}
		for name, state := range in {
			if state == "queued" {
				t.Fatalf("%s is lost", name)
			}
		}
	})
}
