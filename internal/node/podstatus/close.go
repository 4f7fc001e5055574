package podstatus

import (
	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// closeRecords: of a pod that has ended every container has, also those of which
// there is no record. Those that never had their turn are left waiting.
func closeRecords(in Input, s *v1.PodStatus) {
	if in.Memory.End == nil {
		return
	}
	if hadTurn(in, s) {
		closeAll(s.ContainerStatuses)
	}
	closeAll(s.InitContainerStatuses[:initsBegun(s.InitContainerStatuses)])
}

func closeAll(list []v1.ContainerStatus) {
	for i := range list {
		if list[i].State.Terminated == nil {
			list[i].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				Reason: "ContainerStatusUnknown", ExitCode: 137,
				Message: "The container could not be located when the pod was terminated",
			}}
		}
	}
}

// hadTurn: initialization was over, so the main containers' turn had come.
func hadTurn(in Input, s *v1.PodStatus) bool {
	last := len(s.InitContainerStatuses) - 1
	if last < 0 {
		return true
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil {
			return true
		}
	}
	c := &s.InitContainerStatuses[last]
	if podlife.IsSidecar(&in.Pod.Spec.InitContainers[last]) {
		return c.State.Running != nil && c.Started != nil && *c.Started
	}
	return succeeded(c.State) || succeeded(c.LastTerminationState)
}

func succeeded(s v1.ContainerState) bool { return s.Terminated != nil && s.Terminated.ExitCode == 0 }

// initsBegun counts the init containers up to the last that was begun: the first at
// least, as its turn comes with the pod.
func initsBegun(list []v1.ContainerStatus) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].State.Waiting == nil || list[i].LastTerminationState.Terminated != nil {
			return i + 1
		}
	}
	return min(len(list), 1)
}
