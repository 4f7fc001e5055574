package podstatus

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/podlife"
)

// ours are the conditions that the node owns; all others are kept as they are.
var ours = map[v1.PodConditionType]bool{
	v1.PodScheduled: true, v1.PodReadyToStartContainers: true, v1.PodInitialized: true, v1.PodReady: true,
	v1.ContainersReady: true, v1.AllContainersRestarting: true, v1.PodResizePending: true, v1.PodResizeInProgress: true,
}

func conditions(in Input, s *v1.PodStatus) []v1.PodCondition {
	var out []v1.PodCondition
	for _, c := range in.Pod.Status.Conditions {
		if !ours[c.Type] {
			out = append(out, c)
		}
	}
	out = append(out, resizeConditions(in, s)...)
	out = disruption(in, out)
	containers := containersReady(in, s)
	for _, c := range []v1.PodCondition{
		readyToStart(in), initialized(in, s), ready(in, containers, out), containers,
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	} {
		c.ObservedGeneration = in.Pod.Generation
		out = append(out, since(in, c))
	}
	if c, ok := restarting(in, s); ok {
		out = append(out, since(in, c))
	}
	return out
}

// since keeps the time of the last transition of a condition that did not change.
func since(in Input, c v1.PodCondition) v1.PodCondition {
	c.LastTransitionTime = asSent(in.Now)
	for _, list := range [][]v1.PodCondition{in.Previous.Conditions, in.Pod.Status.Conditions} {
		for _, old := range list {
			if old.Type == c.Type && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
				return c
			}
		}
	}
	return c
}

// disruption: the node itself ended the pod.
func disruption(in Input, list []v1.PodCondition) []v1.PodCondition {
	stop := in.Memory.Stop
	if stop == nil || stop.Kind != podlife.StopEvicted {
		return list
	}
	for _, c := range list {
		if c.Type == v1.DisruptionTarget {
			return list
		}
	}
	return append(list, since(in, v1.PodCondition{
		Type: v1.DisruptionTarget, Status: v1.ConditionTrue, ObservedGeneration: in.Pod.Generation,
		Reason: v1.PodReasonTerminationByKubelet, Message: stop.Message,
	}))
}

// readyToStart: sandbox, network and volumes are there.
func readyToStart(in Input) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: v1.ConditionFalse, Reason: "PodSandboxNotReady"}
	switch sandboxes := in.Observed.Sandboxes; {
	case len(sandboxes) == 0:
		c.Message = "no pod sandbox exists"
	case !anyReady(sandboxes):
		c.Message = "pod sandbox is not ready"
	case in.Observed.Volumes != podlife.Present && !anyContainer(in):
		c.Message = "volumes are not ready"
	default:
		return v1.PodCondition{Type: c.Type, Status: v1.ConditionTrue}
	}
	return c
}

func anyReady(list []podlife.Sandbox) bool {
	for _, s := range list {
		if s.Ready {
			return true
		}
	}
	return false
}

// anyContainer: after a restart of the agent volumes are not known to be there,
// but the containers tell.
func anyContainer(in Input) bool { return len(in.Observed.Instances) > 0 }

func initialized(in Input, s *v1.PodStatus) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	var unknown, incomplete []string
	for i := range in.Pod.Spec.InitContainers {
		spec := &in.Pod.Spec.InitContainers[i]
		if i >= len(s.InitContainerStatuses) {
			unknown = append(unknown, spec.Name)
			continue
		}
		st := s.InitContainerStatuses[i]
		if podlife.IsSidecar(spec) && !*st.Started || !podlife.IsSidecar(spec) && !st.Ready {
			incomplete = append(incomplete, spec.Name)
		}
	}
	switch {
	case s.Phase == v1.PodSucceeded && len(unknown) == 0:
		c.Reason = "PodCompleted"
	case anyMainStarted(s):
	case len(unknown)+len(incomplete) > 0 && !wasInitialized(in):
		c.Status, c.Reason = v1.ConditionFalse, "ContainersNotInitialized"
		c.Message = list("containers with unknown status", unknown, "containers with incomplete status", incomplete)
	}
	return c
}

// wasInitialized: a restart in place of all containers takes nothing back.
func wasInitialized(in Input) bool {
	for _, c := range in.Previous.Conditions {
		if c.Type == v1.PodInitialized && c.Status == v1.ConditionTrue {
			return true
		}
	}
	return false
}

func anyMainStarted(s *v1.PodStatus) bool {
	for _, c := range s.ContainerStatuses {
		if c.State.Running != nil || c.LastTerminationState.Terminated != nil || c.State.Terminated != nil {
			return true
		}
	}
	return false
}

func containersReady(in Input, s *v1.PodStatus) v1.PodCondition {
	c := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionFalse}
	var unready []string
	for i, st := range s.InitContainerStatuses {
		if podlife.IsSidecar(&in.Pod.Spec.InitContainers[i]) && !st.Ready {
			unready = append(unready, st.Name)
		}
	}
	for i := range in.Pod.Spec.Containers {
		name := in.Pod.Spec.Containers[i].Name
		for _, st := range s.ContainerStatuses {
			if st.Name == name && !st.Ready {
				unready = append(unready, name)
			}
		}
	}
	switch {
	case s.Phase == v1.PodSucceeded:
		c.Reason = "PodCompleted"
	case s.Phase == v1.PodFailed:
		c.Reason = "PodFailed"
	case len(unready) > 0:
		c.Reason, c.Message = "ContainersNotReady", list("", nil, "containers with unready status", unready)
	default:
		c.Status = v1.ConditionTrue
	}
	return c
}

// ready: the containers are, and every readiness gate is open.
func ready(in Input, containers v1.PodCondition, others []v1.PodCondition) v1.PodCondition {
	c := v1.PodCondition{Type: v1.PodReady, Status: containers.Status, Reason: containers.Reason, Message: containers.Message}
	if c.Status != v1.ConditionTrue {
		return c
	}
	var closed []string
	for _, gate := range in.Pod.Spec.ReadinessGates {
		status, found := v1.ConditionUnknown, false
		for _, o := range others {
			if o.Type == gate.ConditionType {
				status, found = o.Status, true
			}
		}
		switch {
		case !found:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case status != v1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, status))
		}
	}
	if len(closed) > 0 {
		c.Status, c.Reason, c.Message = v1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(closed, ", ")
	}
	return c
}

// restarting is shown only on pods that could restart all their containers.
func restarting(in Input, s *v1.PodStatus) (v1.PodCondition, bool) {
	c := v1.PodCondition{Type: v1.AllContainersRestarting, Status: v1.ConditionFalse}
	can := false
	for _, list := range [][]v1.Container{in.Pod.Spec.InitContainers, in.Pod.Spec.Containers} {
		for i := range list {
			for _, r := range list[i].RestartPolicyRules {
				can = can || r.Action == v1.ContainerRestartRuleActionRestartAllContainers
			}
		}
	}
	switch {
	case s.Phase == v1.PodSucceeded:
		c.Reason = "PodCompleted"
	case s.Phase == v1.PodFailed:
		c.Reason = "PodFailed"
	case in.Memory.RestartAll != nil:
		c.Status, c.Reason = v1.ConditionTrue, "RestartAllContainersStarted"
		c.Message = "container exited with restart policy rule"
	}
	return c, can
}

func list(what1 string, names1 []string, what2 string, names2 []string) string {
	var out []string
	if len(names1) > 0 {
		out = append(out, fmt.Sprintf("%s: %s", what1, names1))
	}
	if len(names2) > 0 {
		out = append(out, fmt.Sprintf("%s: %s", what2, names2))
	}
	return strings.Join(out, ", ")
}
