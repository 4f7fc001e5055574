package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/podlife"
)

// truth is what really happened in the runtime, whatever the agent makes of it.
type truth struct {
	mu      sync.Mutex
	made    map[string]run    // by container ID
	ended   map[string]string // pods that are to end, by UID, and since when
	changes map[string]int    // of containers that start anew because they changed
	broken  []string
	log     []string
	began   time.Time
	codes   func() map[string]int32 // exit codes of all that ever ended
}

type run struct {
	uid, pod, name, sandbox string
	attempt                 uint32
	started                 time.Time
	spec                    *v1.Pod
	lost                    bool
}

func newTruth(codes func() map[string]int32) *truth {
	return &truth{codes: codes, made: map[string]run{}, ended: map[string]string{}, changes: map[string]int{}, began: time.Now()}
}

func (t *truth) say(format string, args ...any) {
	t.log = append(t.log, fmt.Sprintf("%7.1fs ", time.Since(t.began).Seconds())+fmt.Sprintf(format, args...))
}

func (t *truth) breaks(format string, args ...any) {
	t.broken = append(t.broken, fmt.Sprintf(format, args...))
}

func (t *truth) wrong() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken
}

// ends: from now on nothing of the pod may start.
func (t *truth) ends(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended[string(uid)] == "" {
		t.ended[string(uid)] = time.Now().Format(time.RFC3339Nano)
	}
}

func (t *truth) changed(uid types.UID, name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes[string(uid)+"/"+name]++
}

func (t *truth) forget(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.made[id]
	r.lost = true
	t.made[id] = r
}

func (t *truth) name(id string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.made[id]
	return r.pod + "/" + r.name
}

// watched is the runtime with a witness.
type watched struct {
	cri.Runtime
	s *simulation
}

func (w watched) CreateContainer(ctx context.Context, r *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	resp, err := w.Runtime.CreateContainer(ctx, r)
	t := w.s.truth
	t.mu.Lock()
	defer t.mu.Unlock()
	labels := r.Config.Labels
	if err != nil {
		t.say("create %s/%s #%d: %v", labels["io.kubernetes.pod.name"], r.Config.Metadata.Name, r.Config.Metadata.Attempt, err)
		return resp, err
	}
	t.say("create %s/%s #%d", labels["io.kubernetes.pod.name"], r.Config.Metadata.Name, r.Config.Metadata.Attempt)
	t.made[resp.ContainerId] = run{
		uid: labels["io.kubernetes.pod.uid"], pod: labels["io.kubernetes.pod.name"], name: r.Config.Metadata.Name,
		sandbox: r.PodSandboxId, attempt: r.Config.Metadata.Attempt, spec: w.s.api.get(labels["io.kubernetes.pod.name"]),
	}
	return resp, err
}

func (w watched) StartContainer(ctx context.Context, r *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	t := w.s.truth
	live := w.s.runtime.Running()
	ended := t.codes()
	t.mu.Lock()
	me := t.made[r.ContainerId]
	t.say("start %s/%s #%d", me.pod, me.name, me.attempt)
	t.checkStart(me, live, ended)
	t.mu.Unlock()
	resp, err := w.Runtime.StartContainer(ctx, r)
	_, over := t.codes()[r.ContainerId]
	begun := err == nil || over || slices.Contains(w.s.runtime.Running(), r.ContainerId) // though the answer got lost
	t.mu.Lock()
	defer t.mu.Unlock()
	if begun {
		me.started = time.Now()
		t.made[r.ContainerId] = me
	}
	return resp, err
}

func (w watched) StopContainer(ctx context.Context, r *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	t := w.s.truth
	name := t.name(r.ContainerId)
	t.mu.Lock()
	t.say("stop %s within %d s", name, r.Timeout)
	t.mu.Unlock()
	return w.Runtime.StopContainer(ctx, r)
}

func (w watched) RemoveContainer(ctx context.Context, r *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	t := w.s.truth
	name := t.name(r.ContainerId)
	t.mu.Lock()
	t.say("remove %s", name)
	t.mu.Unlock()
	return w.Runtime.RemoveContainer(ctx, r)
}

// checkStart holds a start to the rules.
func (t *truth) checkStart(me run, live []string, ended map[string]int32) {
	who := me.pod + "/" + me.name
	for _, id := range live {
		if o := t.made[id]; o.uid == me.uid && o.name == me.name {
			t.breaks("%s started beside another", who)
		}
	}
	if since := t.ended[me.uid]; since != "" && since < time.Now().Format(time.RFC3339Nano) {
		t.breaks("%s started after its pod was to end (%s)", who, since)
	}
	if me.spec == nil || string(me.spec.UID) != me.uid {
		return
	}
	t.checkNever(me, who)
	t.checkOrder(me, who, ended)
}

// checkNever: what is never to be restarted ran once, and once more for each change.
func (t *truth) checkNever(me run, who string) {
	for i := range me.spec.Spec.Containers {
		c := &me.spec.Spec.Containers[i]
		if c.Name != me.name || me.spec.Spec.RestartPolicy != v1.RestartPolicyNever || c.RestartPolicy != nil || restartsAll(me.spec) {
			continue
		}
		ran := 0
		for _, o := range t.made {
			if o.uid == me.uid && o.name == me.name && !o.started.IsZero() {
				ran++
			}
		}
		if ran > t.changes[me.uid+"/"+me.name] {
			t.breaks("%s runs again, though its policy is Never", who)
		}
	}
}

// checkOrder: whoever comes before in the list of init containers has ended well in
// this sandbox, or, a sidecar, has been started in it.
func (t *truth) checkOrder(me run, who string, ended map[string]int32) {
	initialized := false // a main container was made here: what comes now are restarts
	for _, o := range t.made {
		initialized = initialized || o.sandbox == me.sandbox && strings.HasPrefix(o.name, "main") && !o.started.IsZero()
	}
	for i := range me.spec.Spec.InitContainers {
		c := &me.spec.Spec.InitContainers[i]
		if c.Name == me.name || initialized {
			return
		}
		done := false
		for id, o := range t.made {
			if o.sandbox != me.sandbox || o.name != c.Name || o.started.IsZero() {
				continue
			}
			code, over := ended[id]
			done = done || podlife.IsSidecar(c) || over && code == 0
		}
		if !done {
			t.breaks("%s started before %s was done", who, c.Name)
		}
	}
}

// checkStatus: of the run that it shows as ended, it shows the real exit code.
func (t *truth) checkStatus(c v1.ContainerStatus) string {
	for _, ended := range []*v1.ContainerStateTerminated{c.State.Terminated, c.LastTerminationState.Terminated} {
		if ended == nil || ended.ContainerID == "" {
			continue
		}
		id := ended.ContainerID[strings.Index(ended.ContainerID, "://")+3:]
		t.mu.Lock()
		lost := t.made[id].lost
		t.mu.Unlock()
		if code, known := t.codes()[id]; known && !lost && code != ended.ExitCode {
			return fmt.Sprintf("%s is said to have ended with %d, it was %d", c.Name, ended.ExitCode, code)
		}
	}
	return ""
}

func restartsAll(p *v1.Pod) bool {
	for _, c := range p.Spec.Containers {
		for _, r := range c.RestartPolicyRules {
			if r.Action == v1.ContainerRestartRuleActionRestartAllContainers {
				return true
			}
		}
	}
	return false
}

func resizeRestarts(c *v1.Container) bool {
	return len(c.ResizePolicy) > 0 && c.ResizePolicy[0].RestartPolicy == v1.RestartContainer
}

func resourcesOf(tenths int) v1.ResourceRequirements {
	return v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(int64(tenths)*100, resource.DecimalSI)}}
}

func isReady(p *v1.Pod) bool {
	if p == nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func describeSpec(p *v1.Pod) string {
	out := fmt.Sprintf("%s %s grace=%d", p.Name, p.Spec.RestartPolicy, *p.Spec.TerminationGracePeriodSeconds)
	if d := p.Spec.ActiveDeadlineSeconds; d != nil {
		out += fmt.Sprintf(" deadline=%d", *d)
	}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			out += " " + c.Name
			if l := c.Lifecycle; l != nil && l.PostStart != nil {
				out += "+postStart"
			} else if l != nil {
				out += "+preStop"
			}
			if c.StartupProbe != nil || c.ReadinessProbe != nil {
				out += "+probe"
			}
			if len(c.RestartPolicyRules) > 0 {
				out += "+" + string(c.RestartPolicyRules[0].Action)
			}
		}
	}
	return out
}

// What users do to the API.

func (a *simAPI) create(pod *v1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod.UID = types.UID(fmt.Sprintf("uid-%s-%d", pod.Name, a.version))
	pod.CreationTimestamp = metav1.Now()
	pod.Status.Phase = v1.PodPending
	a.put(watch.Added, pod)
}

func (a *simAPI) update(pod *v1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.pods[pod.Name]; old != nil && old.UID == pod.UID && old.DeletionTimestamp == nil {
		next := *pod
		next.Status, next.Generation = old.Status, old.Generation+1
		a.put(watch.Modified, &next)
	}
}

func (a *simAPI) delete(name string, grace int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.pods[name]
	if old == nil {
		return
	}
	ended := old.Status.Phase == v1.PodSucceeded || old.Status.Phase == v1.PodFailed
	next := *old
	if ended && len(old.Finalizers) == 0 {
		a.put(watch.Deleted, &next)
		return
	}
	if d := old.DeletionGracePeriodSeconds; d != nil && *d <= grace {
		return
	}
	next.DeletionTimestamp, next.DeletionGracePeriodSeconds = new(metav1.NewTime(time.Now().Add(time.Duration(grace)*time.Second))), &grace
	next.Generation++
	a.put(watch.Modified, &next)
}

// force is a deletion that waits for nobody.
func (a *simAPI) force(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.pods[name]; old != nil {
		next := *old
		a.put(watch.Deleted, &next)
	}
}

// release takes the finalizers of a pod away; one that only they held is gone.
func (a *simAPI) release(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.pods[name]
	if old == nil || len(old.Finalizers) == 0 {
		return
	}
	next := *old
	next.Finalizers = nil
	kind := watch.Modified
	if next.DeletionTimestamp != nil && *next.DeletionGracePeriodSeconds == 0 {
		kind = watch.Deleted
	}
	a.put(kind, &next)
}

func (a *simAPI) get(name string) *v1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[name]
}

func (a *simAPI) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return sortedKeys(a.pods)
}

func (a *simAPI) fault(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

func (a *simAPI) faults() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wrong
}
