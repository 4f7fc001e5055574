package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func tcp(p v1.Probe) *v1.Probe {
	p.TCPSocket = &v1.TCPSocketAction{Port: intstr.FromInt32(80)}
	return &p
}

func podOf(c v1.Container) *v1.Pod {
	c.Name = "c"
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1.PodSpec{Containers: []v1.Container{c}}}
}

// script runs one container on a fake clock: outcome says how the n-th attempt of a kind ends. It returns what happened.
func script(opts Options, pod *v1.Pod, until time.Duration, outcome func(kind Kind, n int) Verdict) []string {
	s, now := newSchedule(opts), epoch
	started := pod.Spec.Containers[0].StartupProbe == nil
	announce := func() {
		s.sync(pod, []Container{{Name: "c", ID: "1", StartedAt: epoch, Started: started}}, now)
	}
	announce()
	var log []string
	attempts := map[Kind]int{}
	for {
		at, any := s.next()
		if !any || at.Sub(epoch) > until {
			return log
		}
		now = at
		e := s.take(now)
		verdict := outcome(e.kind, attempts[e.kind])
		attempts[e.kind]++
		line := fmt.Sprintf("%v %s %s", now.Sub(epoch), e.kind, verdict)
		if r, any := s.done(e, answer{verdict: verdict}, now); any {
			line += fmt.Sprintf(" -> %q %d/%d", r.Verdict, r.Run, r.Threshold)
			if r.Kind == Startup && r.Verdict == Success {
				started = true
				announce()
			}
		}
		log = append(log, line)
	}
}

func TestScripts(t *testing.T) {
	outcomes := func(text string) func(Kind, int) Verdict {
		words := strings.Fields(text)
		return func(_ Kind, n int) Verdict {
			return map[string]Verdict{"ok": Success, "bad": Failure, "err": Unknown}[words[min(n, len(words)-1)]]
		}
	}
	for name, tc := range map[string]struct {
		opts    Options
		c       v1.Container
		until   time.Duration
		outcome string
		want    []string
	}{
		"readiness passes, fails and passes again": {
			c: v1.Container{ReadinessProbe: tcp(v1.Probe{PeriodSeconds: 1, FailureThreshold: 2, SuccessThreshold: 1})}, until: 5 * time.Second, outcome: "ok ok bad bad bad ok",
			want: []string{`0s Readiness Success -> "Success" 1/1`, `1s Readiness Success`, `2s Readiness Failure -> "Success" 1/2`,
				`3s Readiness Failure -> "Failure" 2/2`, `4s Readiness Failure -> "Failure" 3/2`, `5s Readiness Success -> "Success" 1/1`},
		},
		"failed liveness is held": {
			c: v1.Container{LivenessProbe: tcp(v1.Probe{PeriodSeconds: 2, InitialDelaySeconds: 3, FailureThreshold: 2})}, until: time.Minute, outcome: "bad",
			want: []string{`3s Liveness Failure -> "" 1/2`, `5s Liveness Failure -> "Failure" 2/2`},
		},
		"a prober's error breaks no run": {
			c: v1.Container{LivenessProbe: tcp(v1.Probe{PeriodSeconds: 1, FailureThreshold: 2})}, until: time.Minute, outcome: "bad err bad",
			want: []string{`0s Liveness Failure -> "" 1/2`, `1s Liveness  -> "" 1/2`, `2s Liveness Failure -> "Failure" 2/2`},
		},
		"startup gates the others": {
			c:     v1.Container{StartupProbe: tcp(v1.Probe{PeriodSeconds: 1}), ReadinessProbe: tcp(v1.Probe{PeriodSeconds: 1})},
			until: 1 * time.Second, outcome: "ok",
			want: []string{`0s Startup Success -> "Success" 1/1`, `0s Readiness Success -> "Success" 1/1`, `1s Readiness Success`},
		},
		"eager attempts count when they succeed": {
			opts: Options{Eager: true}, c: v1.Container{ReadinessProbe: tcp(v1.Probe{PeriodSeconds: 1})}, until: 1200 * time.Millisecond, outcome: "bad bad bad ok",
			want: []string{`0s Readiness Failure -> "" 1/3`, `25ms Readiness Failure`, `75ms Readiness Failure`, `175ms Readiness Success -> "Success" 1/1`, `1.175s Readiness Success`},
		},
		"eager attempts don't eat the threshold": {
			opts: Options{Eager: true}, c: v1.Container{StartupProbe: tcp(v1.Probe{PeriodSeconds: 1, FailureThreshold: 2})}, until: time.Minute, outcome: "bad",
			want: []string{`0s Startup Failure -> "" 1/2`, `25ms Startup Failure`, `75ms Startup Failure`, `175ms Startup Failure`, `375ms Startup Failure`, `775ms Startup Failure`, `1s Startup Failure -> "Failure" 2/2`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, script(tc.opts, podOf(tc.c), tc.until, outcomes(tc.outcome))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestScheduleProperties drives random probes of random containers with random outcomes and delays.
func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := Options{Eager: rapid.Bool().Draw(t, "eager")}
		small := rapid.Int32Range(0, 4)
		probe := func(name string) *v1.Probe {
			if !rapid.Bool().Draw(t, name) {
				return nil
			}
			return tcp(v1.Probe{InitialDelaySeconds: small.Draw(t, "delay"), PeriodSeconds: small.Draw(t, "period") + 1, FailureThreshold: small.Draw(t, "failures") + 1, SuccessThreshold: small.Draw(t, "successes") + 1})
		}
		pod := podOf(v1.Container{StartupProbe: probe("startup"), LivenessProbe: probe("liveness"), ReadinessProbe: probe("readiness")})
		s, now := newSchedule(opts), epoch
		c := Container{Name: "c", ID: "1", StartedAt: now, Started: pod.Spec.Containers[0].StartupProbe == nil}
		s.sync(pod, []Container{c}, now)
		counted := map[key][]Verdict{}
		lastCounted := map[key]time.Time{}
		var flying []*entry
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				c.ID += "1"
				c.StartedAt, c.Started = now, pod.Spec.Containers[0].StartupProbe == nil
				s.sync(pod, []Container{c}, now)
			case 1:
				c.Stopping = true
				s.sync(pod, []Container{c}, now)
			case 2, 3, 4:
				if len(flying) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
				e := flying[i]
				flying = append(flying[:i], flying[i+1:]...)
				verdict := rapid.SampledFrom([]Verdict{Success, Failure, Unknown}).Draw(t, "outcome")
				extra := e.due.Before(e.regular) && verdict != Success
				r, reported := s.done(e, answer{verdict: verdict}, now)
				if e.removed {
					if reported {
						t.Fatalf("a probe that ended reports %+v", r)
					}
					continue
				}
				if extra && reported {
					t.Fatalf("a failed extra attempt reports %+v", r)
				}
				if !extra && verdict != Unknown {
					counted[e.key] = append(counted[e.key], verdict)
				}
				checkVerdict(t, e, counted[e.key])
				if e.kind == Startup && e.verdict == Success && e.id == c.ID {
					c.Started = true
					s.sync(pod, []Container{c}, now)
				}
			default:
				if at, any := s.next(); any && at.After(now) {
					now = at.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "late")) * time.Millisecond)
				}
				for e := s.take(now); e != nil; e = s.take(now) {
					if e.id != c.ID || now.Before(c.StartedAt.Add(seconds(e.probe.InitialDelaySeconds))) {
						t.Fatalf("%s of %s at %v, container %s started %v", e.kind, e.id, now, c.ID, c.StartedAt)
					}
					if (e.kind == Startup) == c.Started && !c.Stopping {
						t.Fatalf("%s while started is %v", e.kind, c.Started)
					}
					if c.Stopping && e.kind != Readiness {
						t.Fatalf("%s of a pod that ends", e.kind)
					}
					if before := lastCounted[e.key]; !e.due.Before(e.regular) && !before.IsZero() && e.due.Sub(before) < period(e.probe) {
						t.Fatalf("%s %v after the last", e.kind, e.due.Sub(before))
					}
					if !e.due.Before(e.regular) {
						lastCounted[e.key] = e.due
					}
					for _, other := range flying {
						if other.key == e.key && !other.removed {
							t.Fatalf("two attempts of %v at once", e.key)
						}
					}
					flying = append(flying, e)
				}
			}
			checkScheduled(t, s)
		}
		s.sync(pod, nil, now)
		if _, any := s.next(); any || len(s.entries) != 0 || len(s.byPod) != 0 {
			t.Fatal("something is left of a pod that ended")
		}
	})
}

// checkVerdict: the verdict is what the last run of the needed length says.
func checkVerdict(t *rapid.T, e *entry, outcomes []Verdict) {
	want, run := Unknown, 0
	for i, v := range outcomes {
		if i > 0 && outcomes[i-1] == v {
			run++
		} else {
			run = 1
		}
		if run >= thresholdOf(e.probe, v) {
			want = v
		}
	}
	if e.verdict != want {
		t.Fatalf("%s is %q after %v, want %q", e.kind, e.verdict, outcomes, want)
	}
}

// checkScheduled: every probe is waiting, in flight or held, and only one of them.
func checkScheduled(t *rapid.T, s *schedule) {
	for _, e := range s.entries {
		waiting := e.heapAt >= 0
		if b := map[bool]int{true: 1}; b[waiting]+b[e.inFlight]+b[e.held] != 1 {
			t.Fatalf("%v: waiting %v, in flight %v, held %v", e.key, waiting, e.inFlight, e.held)
		}
	}
}

func TestExpand(t *testing.T) {
	env := []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$(A)2"}, {Name: "REF", ValueFrom: &v1.EnvVarSource{}}}
	got := expand([]string{"$(A)", "x$(B)y", "$$(A)", "$(REF)", "$(NO)", "$", "$(A"}, env)
	if diff := cmp.Diff([]string{"1", "x12y", "$(A)", "$(REF)", "$(NO)", "$", "$(A"}, got); diff != "" {
		t.Error(diff)
	}
}
