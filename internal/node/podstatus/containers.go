package podstatus

import (
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// Reasons of containers that don't run, where no failure has a better one.
const (
	containerCreating = "ContainerCreating"
	podInitializing   = "PodInitializing"
	restartingAll     = "RestartingAllContainers"
)

func initStatuses(in Input) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for i := range in.Pod.Spec.InitContainers {
		c := &in.Pod.Spec.InitContainers[i]
		s := status(in, c, in.Previous.InitContainerStatuses)
		if podlife.IsSidecar(c) {
			setReady(in, c, &s)
		} else {
			s.Started = new(s.State.Running != nil)
			s.Ready = s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		}
		out = append(out, s)
	}
	return out
}

func mainStatuses(in Input) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for i := range in.Pod.Spec.Containers {
		c := &in.Pod.Spec.Containers[i]
		s := status(in, c, in.Previous.ContainerStatuses)
		setReady(in, c, &s)
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func ephemeralStatuses(in Input) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for i := range in.Pod.Spec.EphemeralContainers {
		c := podlife.EphemeralContainer(&in.Pod.Spec.EphemeralContainers[i])
		out = append(out, status(in, c, in.Previous.EphemeralContainerStatuses))
	}
	slices.SortFunc(out, func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// status of one container, but for readiness.
func status(in Input, c *v1.Container, previous []v1.ContainerStatus) v1.ContainerStatus {
	mem := in.Memory.Containers[c.Name]
	newest, before := instances(in, c.Name)
	s := v1.ContainerStatus{
		Name: c.Name, Image: c.Image, VolumeMounts: mounts(c, in.RecursiveReadOnly),
		State: v1.ContainerState{Waiting: waiting(in, mem)},
	}
	if before != nil {
		s.LastTerminationState.Terminated = terminated(in, before)
	}
	if newest == nil {
		afterReset(mem, &s)
		inferCompleted(in, c, &s)
		return s
	}
	s.RestartCount = int32(newest.Attempt)
	s.Image, s.ImageID = firstOf(newest.Image, c.Image), newest.ImageRef
	s.ContainerID = containerID(in, newest)
	s.User, s.StopSignal = newest.User, newest.StopSignal
	s.Resources, s.AllocatedResources = resources(c, mem, newest), c.Resources.Requests
	setState(in, mem, newest, &s)
	if s.LastTerminationState.Terminated == nil {
		s.LastTerminationState = rememberedEnd(s, mem, previous)
	}
	return s
}

// setState: a container whose postStart hook is not over is not running yet, and
// one that waits for its restart shows that, its end being the last state.
func setState(in Input, mem podlife.ContainerMemory, inst *podlife.Instance, s *v1.ContainerStatus) {
	switch inst.State {
	case podlife.Live, podlife.Lost:
		if mem.Hook != nil && mem.Hook.Attempt == inst.Attempt && !mem.Hook.Done {
			s.State = v1.ContainerState{Waiting: defaultWaiting(in)}
			return
		}
		s.State = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: asSent(inst.StartedAt)}}
	case podlife.Exited:
		if mem.Waiting != nil {
			s.LastTerminationState.Terminated = terminated(in, inst)
			return
		}
		s.State = v1.ContainerState{Terminated: terminated(in, inst)}
	}
}

// instances finds the newest run of a container, and the ended one before it.
func instances(in Input, name string) (newest, before *podlife.Instance) {
	for i := range in.Observed.Instances {
		inst := &in.Observed.Instances[i]
		if inst.Name != name {
			continue
		}
		switch {
		case newest == nil || inst.Attempt > newest.Attempt:
			newest, before = inst, newest
		case before == nil || inst.Attempt > before.Attempt:
			before = inst
		}
	}
	if last := in.Memory.Containers[name].Last; last != nil && (newest == nil || last.Attempt > newest.Attempt) {
		newest, before = last, newest // the runtime has forgotten it
	}
	if before != nil && before.State != podlife.Exited {
		before = nil
	}
	return newest, before
}

// rememberedEnd is the last state when the runtime has no record of the run
// before: that of a restart of all containers, or what was shown earlier.
func rememberedEnd(s v1.ContainerStatus, mem podlife.ContainerMemory, previous []v1.ContainerStatus) v1.ContainerState {
	if mem.Reset != nil && mem.Reset.Attempt == int(s.RestartCount)-1 {
		return v1.ContainerState{Terminated: resetEnd()}
	}
	for _, p := range previous {
		switch {
		case p.Name != s.Name:
		case p.ContainerID != s.ContainerID && p.State.Terminated != nil:
			return v1.ContainerState{Terminated: p.State.Terminated}
		default:
			return p.LastTerminationState
		}
	}
	return v1.ContainerState{}
}

func resetEnd() *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		Reason: restartingAll, ExitCode: 137,
		Message: "The container is removed because RestartAllContainers in place",
	}
}

// afterReset: all containers restart, and this one has not come back yet.
func afterReset(mem podlife.ContainerMemory, s *v1.ContainerStatus) {
	if mem.Reset == nil {
		return
	}
	s.RestartCount = int32(mem.Reset.Attempt) + 1
	s.LastTerminationState.Terminated = resetEnd()
	if mem.Waiting == nil {
		s.State.Waiting = &v1.ContainerStateWaiting{
			Reason: restartingAll, Message: "The container is removed because RestartAllContainers in place",
		}
	}
}

// inferCompleted: nobody remembers the init container, but a main container was
// made, so it must have ended well.
func inferCompleted(in Input, c *v1.Container, s *v1.ContainerStatus) {
	init := slices.ContainsFunc(in.Pod.Spec.InitContainers, func(i v1.Container) bool { return i.Name == c.Name })
	if !init || podlife.IsSidecar(c) || s.RestartCount > 0 {
		return
	}
	for i := range in.Pod.Spec.Containers {
		if newest, _ := instances(in, in.Pod.Spec.Containers[i].Name); newest != nil && in.Memory.Initialized != "" {
			s.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				Reason:  "Completed",
				Message: "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
			}}
			return
		}
	}
}

func waiting(in Input, mem podlife.ContainerMemory) *v1.ContainerStateWaiting {
	if mem.Waiting != nil {
		return &v1.ContainerStateWaiting{Reason: mem.Waiting.Reason, Message: mem.Waiting.Message}
	}
	return defaultWaiting(in)
}

func defaultWaiting(in Input) *v1.ContainerStateWaiting {
	if len(in.Pod.Spec.InitContainers) > 0 {
		return &v1.ContainerStateWaiting{Reason: podInitializing}
	}
	return &v1.ContainerStateWaiting{Reason: containerCreating}
}

func terminated(in Input, i *podlife.Instance) *v1.ContainerStateTerminated {
	return &v1.ContainerStateTerminated{
		ExitCode: i.ExitCode, Reason: i.Reason, Message: fitting(in.Pod, i.Message),
		StartedAt: asSent(startOf(i)), FinishedAt: asSent(i.FinishedAt),
		ContainerID: containerID(in, i),
	}
}

// maxMessages is what the last words of all containers of a pod may take together,
// in bytes: each has an equal part (the API's documentation of terminationMessagePath).
const maxMessages = 12 << 10

// fitting is the part of a message that there is room for.
func fitting(pod *v1.Pod, message string) string {
	part := maxMessages / max(1, len(pod.Spec.InitContainers)+len(pod.Spec.Containers)+len(pod.Spec.EphemeralContainers))
	if len(message) <= part {
		return message
	}
	return strings.ToValidUTF8(message[:part], "")
}

func containerID(in Input, i *podlife.Instance) string { return in.Runtime + "://" + i.ID }

// setReady works out started and ready: up, startup probe passed; and of what is
// up, the readiness probe passed, if there is one.
func setReady(in Input, c *v1.Container, s *v1.ContainerStatus) {
	probe := in.Memory.Containers[c.Name].Probe
	if containerID(in, &podlife.Instance{ID: probe.ID}) != s.ContainerID {
		probe = podlife.Probe{}
	}
	up := s.State.Running != nil
	started := up && (c.StartupProbe == nil || probe.Startup.Verdict == podlife.Success)
	s.Started = &started
	s.Ready = started && (c.ReadinessProbe == nil || probe.Readiness.Verdict == podlife.Success)
}

// resources in force: what the runtime says of a running container, else what it
// was given, else what the spec wants.
func resources(c *v1.Container, mem podlife.ContainerMemory, inst *podlife.Instance) *v1.ResourceRequirements {
	switch {
	case inst.State != podlife.Live:
	case inst.Resources != nil:
		return inst.Resources
	case mem.Resources != nil:
		return mem.Resources
	}
	return c.Resources.DeepCopy()
}

func mounts(c *v1.Container, recursive bool) []v1.VolumeMountStatus {
	var out []v1.VolumeMountStatus
	for _, m := range c.VolumeMounts {
		s := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if w := m.RecursiveReadOnly; w != nil && recursive && *w != v1.RecursiveReadOnlyDisabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		out = append(out, s)
	}
	return out
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// startOf is the start of a container that has ended. One that never ran shows
// the epoch, as every client expects: the CRI says it in nanoseconds since then.
func startOf(i *podlife.Instance) time.Time {
	if i.StartedAt.IsZero() {
		return time.Unix(0, 0)
	}
	return i.StartedAt
}

// asSent is a time as the API gives it back, in seconds: a status that was sent
// must be equal to the one that comes back.
func asSent(t time.Time) metav1.Time { return metav1.NewTime(t).Rfc3339Copy() }
