package job

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/proa-project/proa/internal/controllers/podcontrol"
)

var start = time.Unix(1_800_000_000, 0)

func ptr[T any](v T) *T { return &v }

func newJob(parallelism, completions int32, change ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "ns", UID: "j"},
		Spec: batchv1.JobSpec{
			Parallelism: &parallelism, Completions: &completions, BackoffLimit: ptr(int32(6)),
			Template: v1.PodTemplateSpec{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: []v1.Container{{Name: "c"}}}},
		},
	}
	for _, f := range change {
		f(j)
	}
	return j
}

func indexed(j *batchv1.Job) {
	j.Spec.CompletionMode = ptr(batchv1.IndexedCompletion)
}
func limit(n int32) func(*batchv1.Job) { return func(j *batchv1.Job) { j.Spec.BackoffLimit = &n } }
func perIndex(n int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		indexed(j)
		j.Spec.BackoffLimitPerIndex, j.Spec.BackoffLimit = &n, ptr(int32(1<<31-1))
	}
}

// cluster plays API server, node and the controller's shell.
type cluster struct {
	job     *batchv1.Job
	pods    []*v1.Pod
	backoff backoff
	now     time.Time
	made    int
	events  []string
	crash   func() bool // between two writes
}

func newCluster(j *batchv1.Job) *cluster {
	return &cluster{job: j, now: start, crash: func() bool { return false }}
}

func (c *cluster) pod(name string) *v1.Pod {
	for _, p := range c.pods {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (c *cluster) delete(p *v1.Pod) {
	p.DeletionTimestamp = &metav1.Time{Time: c.now}
	c.reap()
}

// reap removes what is deleted, has ended and has no finalizer.
func (c *cluster) reap() {
	c.pods = slices.DeleteFunc(c.pods, func(p *v1.Pod) bool {
		return p.DeletionTimestamp != nil && len(p.Finalizers) == 0 && podcontrol.Ended(p)
	})
}

func (c *cluster) finish(p *v1.Pod, phase v1.PodPhase, exit int32) {
	p.Status.Phase = phase
	p.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "c", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: exit, FinishedAt: metav1.NewTime(c.now)}}}}
	c.reap()
}

// step is controller.step on memory.
func (c *cluster) step() decision {
	if _, finished := Finished(c.job); finished {
		for _, p := range c.pods {
			p.Finalizers = nil
		}
		return decision{}
	}
	s := snapshot{job: c.job.DeepCopy(), backoff: c.backoff, now: c.now}
	for _, p := range c.pods {
		s.pods = append(s.pods, p.DeepCopy()) // a cache, in which nothing changes meanwhile
	}
	d := decide(s)
	for _, e := range d.events {
		c.events = append(c.events, e.message)
	}
	if c.crash() {
		return d
	}
	for _, p := range d.remove {
		p = c.pod(p.Name)
		if d.uncount {
			p.Finalizers = nil
		}
		c.delete(p)
		if p.Status.Phase != v1.PodRunning { // never started
			c.finish(p, v1.PodFailed, 1)
		}
	}
	for _, p := range d.create {
		c.made++
		p.Name, p.UID, p.Status.Phase = fmt.Sprint("p", c.made), types.UID(fmt.Sprint("p", c.made)), v1.PodRunning
		p.CreationTimestamp = metav1.NewTime(c.now)
		c.pods = append(c.pods, p)
	}
	if c.crash() {
		return d
	}
	d.live(s, len(d.create), d.remove)
	t := track(s, d)
	c.job, c.backoff = s.job.DeepCopy(), d.backoff
	for _, p := range t.release {
		if c.crash() {
			return d
		}
		c.pod(p.Name).Finalizers = nil
		delete(t.held, p.UID)
	}
	c.reap()
	if c.crash() {
		return d
	}
	settle(s.job, t.held)
	for _, e := range end(s.job, d.finish, c.now) {
		c.events = append(c.events, e.message)
	}
	c.job = s.job
	return d
}

func (c *cluster) settle(rounds int) {
	for range rounds {
		for _, p := range slices.Clone(c.pods) {
			if p.DeletionTimestamp != nil && !podcontrol.Ended(p) {
				c.finish(p, v1.PodFailed, 137)
			}
		}
		c.step()
	}
}

func (c *cluster) running() []*v1.Pod { return podcontrol.Filter(c.pods, podcontrol.Active) }

func (c *cluster) shown() string {
	s := c.job.Status
	out := fmt.Sprintf("active %d succeeded %d failed %d", s.Active, s.Succeeded, s.Failed)
	if s.CompletedIndexes != "" {
		out += " done " + s.CompletedIndexes
	}
	if s.FailedIndexes != nil && *s.FailedIndexes != "" {
		out += " lost " + *s.FailedIndexes
	}
	if f, yes := Finished(c.job); yes {
		out += " " + string(f.Type) + ": " + f.Reason
	}
	return out
}

func expect(t *testing.T, c *cluster, want string) {
	t.Helper()
	if d := cmp.Diff(want, c.shown()); d != "" {
		t.Fatal(d)
	}
}

// Whatever ends how and wherever the controller is killed, every pod is counted
// exactly once and the Job ends as it should.
func TestEveryPodIsCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		completions := int32(rapid.IntRange(1, 6).Draw(t, "completions"))
		j := newJob(int32(rapid.IntRange(1, 4).Draw(t, "parallelism")), completions, limit(100))
		isIndexed := rapid.Bool().Draw(t, "indexed")
		if isIndexed {
			indexed(j)
		}
		c := newCluster(j)
		c.crash = func() bool { return rapid.IntRange(0, 9).Draw(t, "crash") == 0 }
		succeeded, failed := 0, 0
		for range 60 {
			c.now = c.now.Add(11 * time.Minute) // past every back-off
			for _, p := range c.running() {
				switch rapid.IntRange(0, 3).Draw(t, "end") {
				case 0:
					c.finish(p, v1.PodSucceeded, 0)
					succeeded++
				case 1:
					c.finish(p, v1.PodFailed, 1)
					failed++
				}
			}
			c.step()
			if n := len(c.running()); n > int(*j.Spec.Parallelism) {
				t.Fatalf("%d pods at once", n)
			}
			st := c.job.Status
			if int(st.Succeeded) > succeeded || int(st.Failed) > failed {
				t.Fatalf("counted %d of %d, %d of %d failed", st.Succeeded, succeeded, st.Failed, failed)
			}
		}
		c.crash = func() bool { return false }
		for range 40 {
			for _, p := range c.running() {
				c.finish(p, v1.PodSucceeded, 0)
				succeeded++
			}
			c.now = c.now.Add(11 * time.Minute)
			c.step()
		}
		want := fmt.Sprintf("active 0 succeeded %d failed %d", succeeded, failed)
		if isIndexed {
			want += " done " + indexes{{0, int(completions) - 1}}.String()
		}
		want += " Complete: CompletionsReached"
		if d := cmp.Diff(want, c.shown()); d != "" || succeeded != int(completions) {
			t.Fatalf("%d succeeded, %s", succeeded, d)
		}
		for _, p := range c.pods {
			if isTracked(p) {
				t.Fatalf("%s is still tracked", p.Name)
			}
		}
	})
}

func TestBackoffLimitEndsTheJob(t *testing.T) {
	c := newCluster(newJob(2, 4, limit(1)))
	c.step()
	c.finish(c.pods[0], v1.PodFailed, 1)
	d := c.step()
	if d.recheck != firstBackoff || len(d.create) != 0 {
		t.Errorf("after a failure: recheck %v, %d created", d.recheck, len(d.create))
	}
	c.now = c.now.Add(firstBackoff)
	if d := c.step(); len(d.create) != 1 {
		t.Errorf("%d created after the back-off", len(d.create))
	}
	c.finish(c.running()[0], v1.PodFailed, 1)
	c.step()
	if conditionOf(c.job, batchv1.JobFailureTarget) == nil {
		t.Fatal("no FailureTarget")
	}
	if _, yes := Finished(c.job); yes {
		t.Fatal("Failed while a pod still terminates")
	}
	c.settle(3)
	expect(t, c, "active 0 succeeded 0 failed 3 Failed: BackoffLimitExceeded")
	if d := cmp.Diff([]string{"Job has reached the specified backoff limit"}, c.events); d != "" {
		t.Error(d)
	}
}

func TestPerIndexLimitLosesIndexesAlone(t *testing.T) {
	c := newCluster(newJob(3, 3, perIndex(1)))
	c.step()
	for range 4 {
		for _, p := range c.running() {
			if i, _ := indexOf(p); i == 1 {
				c.finish(p, v1.PodFailed, 1)
			}
		}
		c.step()
		c.now = c.now.Add(time.Hour)
		c.step()
	}
	if got := c.job.Status.FailedIndexes; got == nil || *got != "1" {
		t.Fatalf("failed indexes %v", got)
	}
	for _, p := range c.running() {
		c.finish(p, v1.PodSucceeded, 0)
	}
	c.settle(2)
	expect(t, c, "active 0 succeeded 2 failed 2 done 0,2 lost 1 Failed: FailedIndexes")
}

func TestFailurePolicy(t *testing.T) {
	rule := func(a batchv1.PodFailurePolicyAction, codes ...int32) batchv1.PodFailurePolicyRule {
		return batchv1.PodFailurePolicyRule{Action: a, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes}}
	}
	policy := func(j *batchv1.Job) {
		j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
			rule(batchv1.PodFailurePolicyActionIgnore, 3), rule(batchv1.PodFailurePolicyActionFailJob, 42),
			{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue}}},
		}}
		j.Spec.PodReplacementPolicy = ptr(batchv1.Failed)
	}
	c := newCluster(newJob(1, 1, limit(0), policy))
	c.step()
	c.finish(c.pods[0], v1.PodFailed, 3)
	c.step()
	c.now = c.now.Add(time.Hour)
	c.step()
	expect(t, c, "active 1 succeeded 0 failed 0")
	c.finish(c.running()[0], v1.PodFailed, 42)
	c.settle(3)
	expect(t, c, "active 0 succeeded 0 failed 1 Failed: PodFailurePolicy")
	if want := "Container c for pod ns/p2 failed with exit code 42 matching FailJob rule at index 1"; !slices.Contains(c.events, want) {
		t.Errorf("events %q", c.events)
	}
}

func TestSuccessPolicyEndsEarly(t *testing.T) {
	c := newCluster(newJob(4, 4, indexed, func(j *batchv1.Job) {
		j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: ptr("1-2"), SucceededCount: ptr(int32(1))}}}
	}))
	c.step()
	c.finish(c.pod("p3"), v1.PodSucceeded, 0)
	c.settle(4)
	expect(t, c, "active 0 succeeded 1 failed 0 done 2 Complete: SuccessPolicy")
}

func TestSuspendAndDeadline(t *testing.T) {
	c := newCluster(newJob(2, 2, func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = ptr(int64(60)) }))
	if d := c.step(); d.recheck != time.Minute {
		t.Errorf("deadline looked at in %v", d.recheck)
	}
	c.job.Spec.Suspend = ptr(true)
	c.settle(2)
	expect(t, c, "active 0 succeeded 0 failed 0")
	c.now = c.now.Add(time.Hour)
	c.step()
	c.job.Spec.Suspend = ptr(false)
	c.step()
	expect(t, c, "active 2 succeeded 0 failed 0")
	if d := cmp.Diff([]string{"Job suspended", "Job resumed"}, c.events); d != "" {
		t.Error(d)
	}
	c.now = c.now.Add(time.Minute)
	c.settle(3)
	expect(t, c, "active 0 succeeded 0 failed 2 Failed: DeadlineExceeded")
}

func TestAWorkQueueEndsWithItsFirstSuccess(t *testing.T) {
	c := newCluster(newJob(3, 0, func(j *batchv1.Job) { j.Spec.Completions = nil }))
	c.step()
	c.finish(c.pods[0], v1.PodSucceeded, 0)
	c.settle(2)
	expect(t, c, "active 2 succeeded 1 failed 0")
	for _, p := range c.running() {
		c.finish(p, v1.PodSucceeded, 0)
	}
	c.settle(2)
	expect(t, c, "active 0 succeeded 3 failed 0 Complete: CompletionsReached")
}

func TestIndexedPods(t *testing.T) {
	p := newIndexedPod(newJob(1, 3, perIndex(2), func(j *batchv1.Job) { j.Name = strings.Repeat("n", 60) }), 2, nil)
	if !strings.HasSuffix(p.GenerateName, "n-2-") || len(p.GenerateName) != longestGenerated || p.Labels[batchv1.JobCompletionIndexAnnotation] != "2" {
		t.Errorf("name %s, labels %v", p.GenerateName, p.Labels)
	}
	if e := p.Spec.Containers[0].Env; len(e) != 1 || e[0].Name != indexEnv {
		t.Errorf("env %v", e)
	}
	again := newIndexedPod(newJob(1, 3, perIndex(2)), 2, p)
	if again.Annotations[batchv1.JobIndexFailureCountAnnotation] != "1" {
		t.Errorf("annotations %v", again.Annotations)
	}
}

func TestSuperfluousKeepsOneOfEachIndex(t *testing.T) {
	j := newJob(3, 3, indexed)
	pod := func(name string, index int) *v1.Pod {
		p := newIndexedPod(j, index, nil)
		p.Name, p.UID = name, types.UID(name)
		return p
	}
	var got []string
	for _, p := range superfluous(j, []*v1.Pod{pod("a", 0), pod("b", 0), pod("c", 1), pod("far", 7)}, 0, start) {
		got = append(got, p.Name)
	}
	slices.Sort(got)
	if len(got) != 2 || got[1] != "far" {
		t.Errorf("removes %v", got)
	}
}

func TestIndexes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 30
		set := rapid.SliceOf(rapid.IntRange(0, n-1))
		a, b := set.Draw(t, "a"), set.Draw(t, "b")
		x, y := indexes(nil).with(a...), indexes(nil).with(b...)
		if d := cmp.Diff(x.String(), parseIndexes(x.String(), n).String()); d != "" {
			t.Fatal(d)
		}
		both, total := 0, 0
		var free []int
		for i := range n {
			inA, inB := slices.Contains(a, i), slices.Contains(b, i)
			if x.has(i) != inA || x.and(y).has(i) != (inA || inB) {
				t.Fatalf("%d in %s and %s", i, x, y)
			}
			if inA && inB {
				both++
			}
			if inA {
				total++
			} else {
				free = append(free, i)
			}
		}
		if x.total() != total || x.common(y) != both {
			t.Fatalf("%s: total %d, common with %s %d", x, x.total(), y, x.common(y))
		}
		k := rapid.IntRange(0, n).Draw(t, "k")
		if d := cmp.Diff(free[:min(k, len(free))], append([]int{}, x.missing(k, n)...)); d != "" && len(free) > 0 && k > 0 {
			t.Fatal(d)
		}
	})
	if got := indexes(nil).with(0, 2, 3, 5, 6, 7).String(); got != "0,2,3,5-7" {
		t.Errorf("got %s", got)
	}
}
