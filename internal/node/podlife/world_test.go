package podlife

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// world is a node that behaves: it carries out what Decide asks for, at once or
// when it is told to, and shows the result as observations.
type world struct {
	pod    *v1.Pod
	want   Want
	noRoom string // why resizes are refused
	seen   Observed
	memory Memory
	policy Policy
	start  time.Time
	now    time.Time

	inFlight map[string]Action
	outcomes []Outcome
	probes   []ProbeResult
	wakeAt   time.Time
	forgot   bool
	last     Output

	held     map[Kind]bool // actions of these kinds wait for `release`
	fails    map[string]string
	timers   map[string]time.Time // in flight, done then
	stubborn map[string]bool      // containers that ignore TERM
	slow     map[string]time.Duration
	ids      int

	log strings.Builder
}

func newWorld(pod *v1.Pod) *world {
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return &world{
		pod: pod, policy: DefaultPolicy(), start: start, now: start,
		seen:     Observed{Known: true},
		want:     Want{Admission: &Admission{Admitted: true}},
		inFlight: map[string]Action{}, held: map[Kind]bool{}, fails: map[string]string{},
		timers: map[string]time.Time{}, stubborn: map[string]bool{}, slow: map[string]time.Duration{},
	}
}

func (w *world) printf(format string, args ...any) { fmt.Fprintf(&w.log, format, args...) }

// decide calls Decide once and takes its output.
func (w *world) decide() Output {
	in := Input{
		Pod: w.pod, Want: w.want, Observed: w.snapshot(), InFlight: map[string]Action{},
		Outcomes: w.outcomes, Probes: w.probes, Memory: w.memory, Policy: w.policy, Now: w.now,
	}
	for id, a := range w.inFlight {
		in.InFlight[id] = a
	}
	w.outcomes, w.probes = nil, nil
	if w.pod != nil && AsksResize(w.pod, w.memory) {
		in.Want.Resize = &Admission{Admitted: w.noRoom == "", Message: w.noRoom}
	}
	out := Decide(in)
	w.memory, w.wakeAt, w.last = out.Memory, out.WakeAt, out
	w.forgot = w.forgot || out.Forget
	for _, id := range out.Cancel {
		w.abort(id)
	}
	for _, a := range out.Actions {
		w.inFlight[a.ID] = a
	}
	return out
}

// snapshot copies what is seen, newest first.
func (w *world) snapshot() Observed {
	o := w.seen
	o.Sandboxes, o.Instances = slices.Clone(w.seen.Sandboxes), slices.Clone(w.seen.Instances)
	slices.Reverse(o.Sandboxes)
	slices.Reverse(o.Instances)
	return o
}

// settle decides and acts until nothing more happens at this moment.
func (w *world) settle() {
	for range 200 {
		out := w.decide()
		w.print(out)
		progress := false
		for _, id := range w.doable() {
			progress = w.finish(id) || progress
		}
		if len(out.Actions) == 0 && !progress && len(w.outcomes) == 0 {
			return
		}
	}
	panic("the machine does not settle:\n" + tail(w.log.String()))
}

func (w *world) doable() []string {
	var ids []string
	for id, a := range w.inFlight {
		if !w.held[a.Kind] {
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	return ids
}

// finish carries an action out if its time has come.
func (w *world) finish(id string) bool {
	a, ok := w.inFlight[id]
	if !ok {
		return false
	}
	if at, ok := w.timers[id]; ok {
		if w.now.Before(at) {
			return false
		}
	} else if d := w.takes(a); d > 0 {
		w.timers[id] = w.now.Add(d)
		return false
	}
	delete(w.timers, id)
	delete(w.inFlight, id)
	o := Outcome{Action: a, At: w.now}
	if msg, ok := w.failure(a); ok {
		o.Failed = true
		o.Reason, o.Message, _ = strings.Cut(msg, ": ")
		if o.Message == "" {
			o.Reason, o.Message = "", msg
		}
		if a.Kind == StartContainer && strings.HasPrefix(o.Reason, "Run") {
			o.Created = true
			w.addInstance(a, Created)
		}
	} else {
		w.effect(a, &o)
	}
	w.outcomes = append(w.outcomes, o)
	return true
}

func (w *world) takes(a Action) time.Duration {
	if a.Kind == StopContainer && w.stubborn[a.Container] {
		return a.Grace
	}
	return w.slow[w.key(a)]
}

func (w *world) key(a Action) string {
	switch {
	case a.Kind == RunHook:
		return strings.ToLower(string(a.Hook)) + " " + a.Container
	case a.Container != "":
		return string(a.Kind) + " " + a.Container
	}
	return string(a.Kind)
}

func (w *world) failure(a Action) (string, bool) {
	msg, ok := w.fails[w.key(a)]
	return msg, ok
}

// abort is what cancelling an action comes to: it ends without effect, but for a
// start, which leaves the container created.
func (w *world) abort(id string) {
	a, ok := w.inFlight[id]
	if !ok {
		return
	}
	delete(w.inFlight, id)
	delete(w.timers, id)
	o := Outcome{Action: a, At: w.now, Failed: true, Reason: Cancelled, Message: "cancelled"}
	if a.Kind == StartContainer && a.ContainerID == "" {
		o.Created, o.ContainerID = true, w.addInstance(a, Created).ID
	}
	w.outcomes = append(w.outcomes, o)
}

func (w *world) effect(a Action, o *Outcome) {
	switch a.Kind {
	case EnsureCgroup:
		w.seen.Cgroup = Present
	case MountVolumes:
		w.seen.Volumes = Present
	case UnmountVolumes:
		w.seen.Volumes = Absent
	case RemoveCgroup:
		w.seen.Cgroup = Absent
	case PullImage:
		o.ImageRef, o.Pulled, o.Took, o.Waited, o.ImageSize = a.Image+"@sha256:1", true, 1200*time.Millisecond, 1200*time.Millisecond, 1000
	case CreateSandbox:
		w.ids++
		w.seen.Sandboxes = append(w.seen.Sandboxes, Sandbox{
			ID: fmt.Sprintf("sb%d", w.ids), Attempt: a.Attempt, Ready: true, IPs: []string{"10.0.0.7"}, CreatedAt: w.now,
		})
	case StartContainer:
		o.Created, o.Started = true, true
		if a.ContainerID != "" {
			inst := w.byID(a.ContainerID)
			inst.State, inst.StartedAt = Live, w.now
			o.ContainerID = inst.ID
			return
		}
		o.ContainerID = w.addInstance(a, Live).ID
	case StopContainer:
		code := int32(143)
		if w.stubborn[a.Container] || a.Grace == 0 {
			code = 137
		}
		w.exit(a.ContainerID, code)
	case RemoveContainer:
		w.seen.Instances = slices.DeleteFunc(w.seen.Instances, func(i Instance) bool { return i.ID == a.ContainerID })
	case StopSandbox:
		w.stopSandbox(a.SandboxID)
	case RemoveSandbox:
		w.seen.Sandboxes = slices.DeleteFunc(w.seen.Sandboxes, func(s Sandbox) bool { return s.ID == a.SandboxID })
		w.seen.Instances = slices.DeleteFunc(w.seen.Instances, func(i Instance) bool { return i.SandboxID == a.SandboxID })
	case DeleteAPIObject:
		w.want.Stop = StopGone
	}
}

func (w *world) addInstance(a Action, state InstanceState) *Instance {
	w.ids++
	inst := Instance{
		ID: fmt.Sprintf("%s-%d", a.Container, w.ids), Name: a.Container, SandboxID: a.SandboxID, Attempt: int(a.Attempt),
		State: state, CreatedAt: w.now, Image: a.Image, ImageRef: a.ImageRef, Hash: w.hash(a.Container),
	}
	if state == Live {
		inst.StartedAt = w.now
	}
	w.seen.Instances = append(w.seen.Instances, inst)
	return &w.seen.Instances[len(w.seen.Instances)-1]
}

func (w *world) hash(name string) string {
	if c := specOf(w.pod, name); c != nil {
		return HashContainer(c)
	}
	return ""
}

func specOf(pod *v1.Pod, name string) *v1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

func (w *world) stopSandbox(id string) {
	for i := range w.seen.Sandboxes {
		if w.seen.Sandboxes[i].ID == id {
			w.seen.Sandboxes[i].Ready = false
		}
	}
	for _, inst := range slices.Clone(w.seen.Instances) {
		if inst.SandboxID == id && inst.Alive() {
			w.exit(inst.ID, 137)
		}
	}
}

func (w *world) byID(id string) *Instance {
	for i := range w.seen.Instances {
		if w.seen.Instances[i].ID == id {
			return &w.seen.Instances[i]
		}
	}
	return nil
}

// newest live instance of a container.
func (w *world) live(name string) *Instance {
	for i := len(w.seen.Instances) - 1; i >= 0; i-- {
		if inst := &w.seen.Instances[i]; inst.Name == name && inst.Alive() {
			return inst
		}
	}
	return nil
}

func (w *world) exit(id string, code int32) {
	inst := w.byID(id)
	if inst == nil || !inst.Alive() {
		return
	}
	inst.State, inst.ExitCode, inst.FinishedAt = Exited, code, w.now
	inst.Reason = "Error"
	if code == 0 {
		inst.Reason = "Completed"
	}
}

// tick lets time pass, stopping at every moment at which something is due.
func (w *world) tick(d time.Duration) {
	end := w.now.Add(d)
	for range 1000 {
		next := end
		if !w.wakeAt.IsZero() && w.wakeAt.After(w.now) && w.wakeAt.Before(next) {
			next = w.wakeAt
		}
		for _, at := range w.timers {
			if at.After(w.now) && at.Before(next) {
				next = at
			}
		}
		w.now = next
		for _, id := range w.doable() {
			w.finish(id)
		}
		w.settle()
		if !w.now.Before(end) {
			return
		}
	}
	panic("tick does not end:\n" + tail(w.log.String()))
}

// crash loses all that is in flight, and the memory if the journal was lost.
func (w *world) crash(loseMemory bool) {
	w.inFlight, w.timers = map[string]Action{}, map[string]time.Time{}
	w.outcomes, w.probes = nil, nil
	if loseMemory {
		w.memory = Memory{}
	} else {
		b, err := w.memory.Encode()
		if err != nil {
			panic(err)
		}
		if w.memory, err = DecodeMemory(b); err != nil {
			panic(err)
		}
	}
	w.seen.Volumes, w.seen.Cgroup = Unseen, Unseen
}

func (w *world) print(out Output) {
	stamp := w.now.Sub(w.start)
	for _, id := range out.Cancel {
		w.printf("%6s cancel  %s\n", stamp, id)
	}
	for _, e := range out.Events {
		kind, subject := "Normal", ""
		if e.Warning {
			kind = "Warning"
		}
		if e.Container != "" {
			subject = e.Container + ": "
		}
		w.printf("%6s event   %s%s %s: %s\n", stamp, subject, kind, e.Reason, e.Message)
	}
	for _, a := range out.Actions {
		w.printf("%6s %s\n", stamp, actionLine(a))
	}
}

func actionLine(a Action) string {
	var b strings.Builder
	fmt.Fprintf(&b, "action  %s", a.Kind)
	if a.Hook != "" {
		fmt.Fprintf(&b, " %s", a.Hook)
	}
	switch {
	case a.Kind == StartContainer:
		fmt.Fprintf(&b, " %s #%d", a.Container, a.Attempt)
	case a.Container != "":
		fmt.Fprintf(&b, " %s", a.Container)
	case a.Kind == CreateSandbox:
		fmt.Fprintf(&b, " #%d", a.Attempt)
	case a.SandboxID != "":
		fmt.Fprintf(&b, " %s", a.SandboxID)
	}
	if a.Kind == StopContainer || a.Hook == PreStop {
		fmt.Fprintf(&b, " grace=%s", a.Grace)
	}
	for _, r := range a.Resizes {
		fmt.Fprintf(&b, " %s", r.Container)
	}
	fmt.Fprintf(&b, "  (%s)", a.Why)
	return b.String()
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
