package explain

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/control"
)

// Answer is all that is known of one pod.
type Answer struct {
	Pod         *v1.Pod              `json:"pod,omitempty"`         // the API's object; nil: there is none any more
	Explanation *control.Explanation `json:"explanation,omitempty"` // what its node tells; nil: nothing
	Nodes       []Node               `json:"nodes,omitempty"`       // of a pod that no node takes, why not
	Findings    []Finding            `json:"findings"`
}

// Node is a node that does not take a pod.
type Node struct {
	Name    string   `json:"name"`
	Reasons []string `json:"reasons"`
}

// Finding is something that holds a pod up, or that it has come to.
type Finding struct {
	Subject string    `json:"subject,omitempty"` // container; "" is the pod
	What    string    `json:"what"`
	Because string    `json:"because,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Remedy  string    `json:"remedy,omitempty"`
}

// Find fills in the findings, the most telling first.
func (a *Answer) Find() {
	a.Findings = []Finding{}
	if a.Pod != nil {
		a.add(unscheduled(a.Pod, a.Nodes)...)
		a.add(ended(a.Pod)...)
	}
	if e := a.Explanation; e != nil && e.GoneAt.IsZero() {
		for _, w := range e.Waits {
			a.add(waiting(a.Pod, w))
		}
	}
	if a.Pod != nil {
		a.add(unready(a.Pod, a.Explanation)...)
		a.add(gates(a.Pod)...)
		a.add(resizes(a.Pod)...)
		a.add(abandoned(a.Pod, a.Explanation)...)
	}
}

func (a *Answer) add(list ...Finding) {
	for _, f := range list {
		if f.Remedy == "" {
			f.Remedy = advice(a.Pod, f)
		}
		if !a.has(f) {
			a.Findings = append(a.Findings, f)
		}
	}
}

func (a *Answer) has(f Finding) bool {
	for _, old := range a.Findings {
		if old.Subject == f.Subject && old.What == f.What {
			return true
		}
	}
	return false
}

// unscheduled: no node was found for the pod.
func unscheduled(pod *v1.Pod, nodes []Node) []Finding {
	c := condition(pod, v1.PodScheduled)
	if pod.Spec.NodeName != "" || c != nil && c.Status == v1.ConditionTrue {
		return nil
	}
	f := Finding{What: "waits for a node", Since: pod.CreationTimestamp.Time}
	if c == nil {
		f.Remedy = "the scheduler has not looked at it yet"
		if pod.Spec.SchedulerName != v1.DefaultSchedulerName {
			f.Remedy = fmt.Sprintf("it is for the scheduler %q: is that one running?", pod.Spec.SchedulerName)
		}
		return []Finding{f}
	}
	f.Because, f.Since = c.Message, c.LastTransitionTime.Time
	if len(pod.Spec.SchedulingGates) > 0 {
		var names []string
		for _, g := range pod.Spec.SchedulingGates {
			names = append(names, g.Name)
		}
		f.Remedy = "who set the scheduling gates must take them away: " + strings.Join(names, ", ")
	}
	out := []Finding{f}
	for _, n := range nodes {
		out = append(out, Finding{What: "does not fit on node " + n.Name, Because: strings.Join(n.Reasons, "; ")})
	}
	return out
}

// ended: the pod is over, and how.
func ended(pod *v1.Pod) []Finding {
	if pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed {
		return nil
	}
	f := Finding{What: "has " + strings.ToLower(string(pod.Status.Phase)), Because: because(pod.Status.Reason, pod.Status.Message)}
	out := []Finding{f}
	for _, s := range statuses(pod) {
		if t := s.State.Terminated; t != nil && (t.ExitCode != 0 || t.Message != "") {
			out = append(out, Finding{
				Subject: s.Name, What: fmt.Sprintf("ended with exit code %d", t.ExitCode), Because: because(unlessPlain(t.Reason), t.Message), Since: t.FinishedAt.Time,
			})
		}
	}
	return out
}

func because(reason, message string) string {
	if reason == "" || message == "" {
		return reason + message
	}
	return reason + ": " + message
}

// unlessPlain leaves out reasons that say no more than the exit code.
func unlessPlain(reason string) string {
	if reason == "Error" || reason == "Completed" {
		return ""
	}
	return reason
}

// waiting is what the node says that the pod waits for. What comes after a colon is
// why it has to.
func waiting(pod *v1.Pod, w control.Wait) Finding {
	what, why, _ := strings.Cut(w.For, ", which failed: ")
	if why == "" {
		what, why, _ = strings.Cut(w.For, ": ")
	}
	if why == "" && strings.HasPrefix(what, "back-off") {
		why = lastWords(pod, w.Subject)
	}
	return Finding{Subject: w.Subject, What: "waits for " + what, Because: why, Since: w.Since, Until: w.Until, Remedy: w.Hint}
}

// lastWords of a container: its termination message, or why it never began.
func lastWords(pod *v1.Pod, container string) string {
	if pod == nil {
		return ""
	}
	for _, s := range statuses(pod) {
		if s.Name == container && s.LastTerminationState.Terminated != nil {
			return s.LastTerminationState.Terminated.Message
		}
	}
	return ""
}

// unready: a container runs, and does not count as ready.
func unready(pod *v1.Pod, e *control.Explanation) []Finding {
	if pod.Status.Phase != v1.PodRunning && pod.Status.Phase != v1.PodPending {
		return nil
	}
	var out []Finding
	for _, s := range statuses(pod) {
		if s.State.Running == nil || s.Ready {
			continue
		}
		c := container(pod, s.Name)
		if c == nil {
			continue
		}
		kind, probe := "Readiness", c.ReadinessProbe
		if c.StartupProbe != nil && (s.Started == nil || !*s.Started) {
			kind, probe = "Startup", c.StartupProbe
		}
		if probe != nil {
			out = append(out, probed(s, kind, probe, e))
		}
	}
	return out
}

func probed(s v1.ContainerStatus, kind string, probe *v1.Probe, e *control.Explanation) Finding {
	f := Finding{Subject: s.Name, What: "is not ready", Since: s.State.Running.StartedAt.Time, Remedy: wanted(probe, kind)}
	if kind == "Startup" {
		f.What = "has not started up"
	}
	f.Because = "its " + strings.ToLower(kind) + " probe has no verdict yet"
	if e == nil {
		return f
	}
	for _, span := range e.Spans {
		if span.Lane == s.Name && span.Kind == "ready" && span.To.After(f.Since) {
			f.Since = span.To // it was ready before
		}
	}
	for _, p := range e.Probes {
		if p.Container != s.Name || p.Kind != kind {
			continue
		}
		p.Output = strings.TrimSpace(p.Output)
		switch p.Verdict {
		case "Failure":
			f.Because = fmt.Sprintf("its %s probe failed (%d in a row, %d are enough): %s", strings.ToLower(kind), p.Run, p.Threshold, p.Output)
		case "":
			f.Because = fmt.Sprintf("its %s probe has not passed yet: %s", strings.ToLower(kind), p.Output)
		}
	}
	return f
}

// gates that others must open before the pod is ready.
func gates(pod *v1.Pod) []Finding {
	c := condition(pod, v1.PodReady)
	if c == nil || c.Reason != "ReadinessGatesNotReady" {
		return nil
	}
	return []Finding{{
		What: "is not ready, though its containers are", Because: c.Message, Since: c.LastTransitionTime.Time,
		Remedy: "whoever is behind the readiness gates must set their conditions to True",
	}}
}

func resizes(pod *v1.Pod) []Finding {
	var out []Finding
	if c := condition(pod, v1.PodResizePending); c != nil {
		out = append(out, Finding{What: "waits for room for its new resources", Because: because(c.Reason, c.Message), Since: c.LastTransitionTime.Time,
			Remedy: "it goes on with what it has; when other pods on the node end or ask for less, it gets what it asks for"})
	}
	if c := condition(pod, v1.PodResizeInProgress); c != nil {
		out = append(out, Finding{What: "is being resized", Because: because(c.Reason, c.Message), Since: c.LastTransitionTime.Time})
	}
	return out
}

// abandoned: the pod is bound to a node that says nothing of it.
func abandoned(pod *v1.Pod, e *control.Explanation) []Finding {
	if pod.Spec.NodeName == "" || e != nil {
		return nil
	}
	what := "its node has not taken it on yet"
	if pod.DeletionTimestamp != nil {
		what = "is being deleted, and its node has not said that it ended"
	}
	return []Finding{{What: what, Because: "node " + pod.Spec.NodeName,
		Remedy: "is the node there? `kubectl get node " + pod.Spec.NodeName + "`; a pod of a node that is lost for good goes with `kubectl delete pod --force`"}}
}

func condition(pod *v1.Pod, kind v1.PodConditionType) *v1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

func statuses(pod *v1.Pod) []v1.ContainerStatus {
	return append(append([]v1.ContainerStatus(nil), pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

func container(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
