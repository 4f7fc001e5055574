package explain

import (
	"fmt"
	"io"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/control"
)

// Why writes the answer as text, with the last decisions, at most as many as limit.
func (a *Answer) Why(w io.Writer, s Style, now time.Time, limit int) {
	fmt.Fprintln(w, s.paint(bold, a.headline(now)))
	for _, f := range a.Findings {
		f.write(w, s, now)
	}
	e := a.Explanation
	if e == nil {
		return
	}
	a.writeDoing(w, s, now)
	if len(a.Findings)+len(e.InFlight) == 0 && e.GoneAt.IsZero() && a.Pod != nil {
		fmt.Fprintln(w, "  nothing holds it up")
	}
	writeLog(w, s, e.Log, limit)
}

func (a *Answer) headline(now time.Time) string {
	e := a.Explanation
	if a.Pod == nil {
		head := fmt.Sprintf("%s/%s is gone", e.Namespace, e.Name)
		if !e.GoneAt.IsZero() {
			head += " since " + Duration(now.Sub(e.GoneAt))
		}
		return head
	}
	pod := a.Pod
	head := fmt.Sprintf("%s/%s", pod.Namespace, pod.Name)
	if pod.Spec.NodeName != "" {
		head += " on node " + pod.Spec.NodeName
	}
	head += ": " + string(pod.Status.Phase)
	switch since := began(pod); {
	case pod.DeletionTimestamp != nil:
		head += ", being deleted for " + Duration(now.Sub(pod.DeletionTimestamp.Add(-grace(pod))))
	case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
	case !since.IsZero():
		head += " for " + Duration(now.Sub(since))
	}
	if pod.Status.Phase == v1.PodRunning && pod.DeletionTimestamp == nil {
		head += ", " + readiness(pod)
	}
	return head
}

func grace(pod *v1.Pod) time.Duration {
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		return time.Duration(*g) * time.Second
	}
	return 0
}

// began is when the pod was taken on, or made.
func began(pod *v1.Pod) time.Time {
	if pod.Status.StartTime != nil {
		return pod.Status.StartTime.Time
	}
	return pod.CreationTimestamp.Time
}

func readiness(pod *v1.Pod) string {
	if c := condition(pod, v1.PodReady); c != nil && c.Status == v1.ConditionTrue {
		return "ready"
	}
	return "not ready"
}

func (f Finding) write(w io.Writer, s Style, now time.Time) {
	subject := f.Subject
	if subject == "" {
		subject = "pod"
	}
	line := fmt.Sprintf("  %s %s", s.paint(cyan, subject), f.What)
	var times []string
	if !f.Until.IsZero() {
		times = append(times, "in "+Duration(f.Until.Sub(now)))
	}
	if !f.Since.IsZero() && f.Since.Before(now) {
		times = append(times, "since "+Duration(now.Sub(f.Since)))
	}
	if len(times) > 0 {
		line += s.paint(dim, " ("+strings.Join(times, ", ")+")")
	}
	fmt.Fprintln(w, line)
	if f.Because != "" {
		fmt.Fprintln(w, "    "+s.paint(red, f.Because))
	}
	if f.Remedy != "" {
		fmt.Fprintln(w, "    "+s.paint(green, s.arrow()+" "+f.Remedy))
	}
}

func (a *Answer) writeDoing(w io.Writer, s Style, now time.Time) {
	for _, i := range a.Explanation.InFlight {
		fmt.Fprintf(w, "  %s %s: %s\n", s.paint(blue, "now"), strings.TrimSpace(i.Kind+" "+i.Container)+s.paint(dim, " (for "+Duration(now.Sub(i.Since))+")"), i.Why)
	}
}

func writeLog(w io.Writer, s Style, log []control.Entry, limit int) {
	skipped := max(len(log)-limit, 0)
	log = log[skipped:]
	if len(log) == 0 {
		return
	}
	fmt.Fprintln(w, s.paint(bold, "Decisions"))
	if skipped > 0 {
		fmt.Fprintln(w, s.paint(dim, fmt.Sprintf("  … %d before these (--all)", skipped)))
	}
	subjects, whats := 3, 0
	for _, e := range log {
		subjects, whats = max(subjects, len(e.Subject)), max(whats, len(e.What))
	}
	for _, e := range log {
		subject := e.Subject
		if subject == "" {
			subject = "pod"
		}
		fmt.Fprintf(w, "  %s  %s  %s  %s\n", s.paint(dim, e.At.In(s.Zone).Format("15:04:05.000")),
			s.paint(cyan, pad(subject, subjects)), pad(e.What, whats), e.Why)
	}
}
