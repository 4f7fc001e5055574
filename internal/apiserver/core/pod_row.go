package core

import (
	"fmt"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/proa-project/proa/internal/apiserver/core/podspec"
	"github.com/proa-project/proa/internal/apiserver/meta"
)

func podColumns() []metav1.TableColumnDefinition {
	spec, status := v1.PodSpec{}.SwaggerDoc(), v1.PodStatus{}.SwaggerDoc()
	return meta.Table(
		meta.Name(),
		meta.String("Ready", "The aggregate readiness state of this pod for accepting traffic."),
		meta.String("Status", "The aggregate status of the containers in this pod."),
		meta.String("Restarts", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		meta.Created(),
		meta.Wide(meta.String("IP", status["podIP"])),
		meta.Wide(meta.String("Node", spec["nodeName"])),
		meta.Wide(meta.String("Nominated Node", status["nominatedNodeName"])),
		meta.Wide(meta.String("Readiness Gates", spec["readinessGates"])),
	)
}

func podRow(pod *v1.Pod, now metav1.Time) []any {
	s := summarize(pod)
	ip := ""
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return []any{
		pod.Name, fmt.Sprintf("%d/%d", s.ready, s.containers), s.status, s.restarts.cell(now), meta.Age(pod.CreationTimestamp, now),
		orNone(ip), orNone(pod.Spec.NodeName), orNone(pod.Status.NominatedNodeName), readinessGatesCell(pod),
	}
}

func orNone(s string) string {
	if s == "" {
		return meta.None
	}
	return s
}

func podRowConditions(pod *v1.Pod) []metav1.TableRowCondition {
	message := ""
	switch pod.Status.Phase {
	case v1.PodSucceeded:
		message = "The pod has completed successfully."
	case v1.PodFailed:
		message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(pod.Status.Phase), Message: message}}
}

func readinessGatesCell(pod *v1.Pod) string {
	gates := pod.Spec.ReadinessGates
	if len(gates) == 0 {
		return meta.None
	}
	open := 0
	for _, gate := range gates {
		for _, c := range pod.Status.Conditions {
			if c.Type == gate.ConditionType {
				if c.Status == v1.ConditionTrue {
					open++
				}
				break
			}
		}
	}
	return fmt.Sprintf("%d/%d", open, len(gates))
}

// podSummary is a pod in one line.
type podSummary struct {
	status            string
	ready, containers int
	restarts          restarts
}

// restarts counts restarts and remembers the last end that led to one.
type restarts struct {
	count int
	last  metav1.Time
}

func (r *restarts) add(s *v1.ContainerStatus) {
	r.count += int(s.RestartCount)
	if ended := s.LastTerminationState.Terminated; ended != nil && r.last.Before(&ended.FinishedAt) {
		r.last = ended.FinishedAt
	}
}

func (r *restarts) cell(now metav1.Time) string {
	if r.count == 0 || r.last.IsZero() {
		return strconv.Itoa(r.count)
	}
	return fmt.Sprintf("%d (%s ago)", r.count, duration.HumanDuration(now.Sub(r.last.Time)))
}

// summarize says what holds the pod up, if anything does: the first init
// container that is not through, else the first main container that is not well.
func summarize(pod *v1.Pod) podSummary {
	s := podSummary{status: phaseOf(pod), containers: len(pod.Spec.Containers)}
	for i := range pod.Spec.InitContainers {
		if podspec.IsSidecar(&pod.Spec.InitContainers[i]) {
			s.containers++
		}
	}
	initializing, sidecars := s.addInit(pod)
	if !initializing || hasCondition(pod, v1.PodInitialized) {
		s.restarts = sidecars // those of init containers that are through don't count any more
		s.addMain(pod)
	}
	if pod.DeletionTimestamp != nil {
		switch {
		case pod.Status.Reason == nodeLost:
			s.status = "Unknown"
		case pod.Status.Phase != v1.PodFailed && pod.Status.Phase != v1.PodSucceeded:
			s.status = "Terminating"
		}
	}
	return s
}

// nodeLost is the reason of a pod whose node is not heard of.
const nodeLost = "NodeLost"

func phaseOf(pod *v1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodScheduled && c.Reason == v1.PodReasonSchedulingGated {
			return v1.PodReasonSchedulingGated
		}
	}
	if pod.Status.Reason != "" {
		return pod.Status.Reason
	}
	return string(pod.Status.Phase)
}

// addInit goes through the init containers up to the first that is not through.
// It returns whether there is one, and the restarts of sidecars.
func (s *podSummary) addInit(pod *v1.Pod) (initializing bool, sidecars restarts) {
	isSidecar := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		isSidecar[pod.Spec.InitContainers[i].Name] = podspec.IsSidecar(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		s.restarts.add(c)
		if isSidecar[c.Name] {
			sidecars.add(c)
		}
		waiting, ended := c.State.Waiting, c.State.Terminated
		switch {
		case ended != nil && ended.ExitCode == 0:
			continue
		case isSidecar[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case ended != nil:
			s.status = "Init:" + endReason(ended)
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			s.status = "Init:" + waiting.Reason
		default:
			s.status = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		return true, sidecars
	}
	return false, sidecars
}

// addMain goes through the main containers from the last to the first, so that
// the first has the last word.
func (s *podSummary) addMain(pod *v1.Pod) {
	running, failure := false, ""
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &pod.Status.ContainerStatuses[i]
		s.restarts.add(c)
		switch waiting, ended := c.State.Waiting, c.State.Terminated; {
		case waiting != nil && waiting.Reason != "":
			s.status = waiting.Reason
		case ended != nil:
			s.status = endReason(ended)
			if ended.ExitCode != 0 {
				failure = s.status
			}
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.status != "Completed" {
		return
	}
	switch { // one has completed; that is not yet the pod
	case running && hasCondition(pod, v1.PodReady):
		s.status = "Running"
	case failure != "":
		s.status = failure
	case running:
		s.status = "NotReady"
	}
}

func endReason(ended *v1.ContainerStateTerminated) string {
	switch {
	case ended.Reason != "":
		return ended.Reason
	case ended.Signal != 0:
		return fmt.Sprintf("Signal:%d", ended.Signal)
	default:
		return fmt.Sprintf("ExitCode:%d", ended.ExitCode)
	}
}

func hasCondition(pod *v1.Pod, kind v1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}
