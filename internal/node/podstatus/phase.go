package podstatus

import (
	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// setPhase: the machine's verdict once no process is left, else Pending until
// every main container has run, Running from then on.
func setPhase(in Input, s *v1.PodStatus) {
	api := in.Pod.Status
	if api.Phase == v1.PodSucceeded || api.Phase == v1.PodFailed {
		return // sticky, with its reason
	}
	if end := in.Memory.End; end != nil {
		s.Phase, s.Reason, s.Message = end.Phase, end.Reason, end.Message
		return
	}
	s.Phase = v1.PodRunning
	if pendingInit(in, s) || pendingMain(s) {
		s.Phase = v1.PodPending
	}
	if s.Phase != api.Phase {
		s.Reason, s.Message = "", "" // they were about the phase before
	}
}

// pendingInit: an init container has its run, or its start, before it.
func pendingInit(in Input, s *v1.PodStatus) bool {
	ran := startedHere(in)
	for i, c := range s.InitContainerStatuses {
		if podlife.IsSidecar(&in.Pod.Spec.InitContainers[i]) {
			waits := c.State.Waiting != nil && c.LastTerminationState.Terminated == nil
			slow := c.State.Running != nil && (c.Started == nil || !*c.Started)
			if (waits || slow) && !ran {
				return true
			}
			continue
		}
		if c.State.Running != nil || c.State.Waiting != nil && c.LastTerminationState.Terminated == nil {
			return true
		}
	}
	return false
}

// pendingMain: a main container has never run.
func pendingMain(s *v1.PodStatus) bool {
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil && c.LastTerminationState.Terminated == nil {
			return true
		}
	}
	return false
}

// startedHere: a main container was made in the current sandbox.
func startedHere(in Input) bool {
	for _, sb := range in.Observed.Sandboxes {
		if !sb.Ready {
			continue
		}
		for _, inst := range in.Observed.Instances {
			if inst.SandboxID == sb.ID && inst.State != podlife.Created && isMain(in.Pod, inst.Name) {
				return true
			}
		}
	}
	return false
}

func isMain(pod *v1.Pod, name string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	return false
}
