package loop

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/proa-project/proa/internal/node/history"
	"github.com/proa-project/proa/internal/node/podlife"
)

// spanKinds: what an action under way is in the pod's history.
var spanKinds = map[podlife.Kind]history.Kind{
	podlife.EnsureCgroup: history.Cgroup, podlife.MountVolumes: history.Volumes, podlife.CreateSandbox: history.Sandbox,
	podlife.PullImage: history.Pull, podlife.StartContainer: history.Start, podlife.StopContainer: history.Stop,
	podlife.ResizePod: history.Resize, podlife.RemoveContainer: "", // of no interest to anybody
	podlife.StopSandbox: history.Release, podlife.RemoveSandbox: history.Release, podlife.UnmountVolumes: history.Release,
	podlife.RemoveCgroup: history.Release, podlife.RemoveData: history.Release, podlife.DeleteAPIObject: history.Release,
}

// states that the pod is in, for its history.
func (w *worker) states() []history.Span {
	out := []history.Span{{Kind: history.Phase, ID: "phase " + string(w.memory.Phase), Note: string(w.memory.Phase)}}
	for _, f := range w.flights {
		if kind := flightKind(f.action); kind != "" {
			out = append(out, history.Span{
				Lane: lane(f.action), Kind: kind, ID: f.action.ID, From: f.since, Note: flightNote(f.action),
			})
		}
	}
	for i := range w.observed.Instances {
		inst := &w.observed.Instances[i]
		if inst.State == podlife.Live {
			out = append(out, history.Span{
				Lane: inst.Name, Kind: history.Run, ID: runID(inst), From: inst.StartedAt, Note: fmt.Sprintf("#%d", inst.Attempt),
			})
		}
	}
	return append(out, w.containerStates()...)
}

// containerStates: ready, or backing off.
func (w *worker) containerStates() []history.Span {
	var out []history.Span
	for _, list := range [][]v1.ContainerStatus{w.status.InitContainerStatuses, w.status.ContainerStatuses} {
		for i := range list {
			s := &list[i]
			switch waiting := s.State.Waiting; {
			case s.Ready && s.State.Running != nil:
				out = append(out, history.Span{Lane: s.Name, Kind: history.Ready, ID: "ready " + s.ContainerID})
			case waiting != nil && strings.HasSuffix(waiting.Reason, "BackOff"):
				out = append(out, history.Span{
					Lane: s.Name, Kind: history.BackOff, ID: fmt.Sprintf("%s %s %d", waiting.Reason, s.Name, s.RestartCount), Note: waiting.Reason,
				})
			}
		}
	}
	return out
}

// tellEnds of instances that were not known to have ended.
func (w *worker) tellEnds(before, now []podlife.Instance) {
	for i := range now {
		inst := &now[i]
		if inst.State != podlife.Exited || inst.StartedAt.IsZero() {
			continue
		}
		known := slices.ContainsFunc(before, func(b podlife.Instance) bool { return b.ID == inst.ID && b.State == podlife.Exited })
		if !known {
			k := w.memory.Containers[inst.Name].Kill
			w.ended(endOfRun(inst, k != nil && k.ID == inst.ID))
		}
	}
}

// endOfRun: what we ended has not failed.
func endOfRun(inst *podlife.Instance, ours bool) history.Span {
	note := fmt.Sprintf("#%d exit %d", inst.Attempt, inst.ExitCode)
	if inst.Reason != "Completed" && inst.Reason != "Error" {
		note += " " + inst.Reason
	}
	return history.Span{
		Lane: inst.Name, Kind: history.Run, ID: runID(inst), From: inst.StartedAt, To: inst.FinishedAt, Note: note, Failed: inst.ExitCode != 0 && !ours,
	}
}

// endOfFlight is the span of an action that has ended; false if none is kept of it.
func endOfFlight(f *flight, o podlife.Outcome) (history.Span, bool) {
	s := history.Span{
		Lane: lane(f.action), Kind: flightKind(f.action), ID: f.action.ID, From: f.since, To: o.At, Note: flightNote(f.action),
		Failed: o.Failed && o.Reason != podlife.Cancelled,
	}
	return s, s.Kind != ""
}

func (w *worker) ended(s history.Span) {
	if err := w.loop.records.ended(w.uid, s); err != nil {
		w.loop.cfg.Log.Warn("pod history not kept", "pod", w.uid, "err", err)
	}
}

func flightKind(a podlife.Action) history.Kind {
	switch a.Hook {
	case podlife.PostStart:
		return history.PostStart
	case podlife.PreStop:
		return history.PreStop
	}
	return spanKinds[a.Kind]
}

func lane(a podlife.Action) string {
	if spanKinds[a.Kind] == history.Release {
		return ""
	}
	return a.Container
}

func flightNote(a podlife.Action) string {
	switch a.Kind {
	case podlife.PullImage:
		return a.Image
	case podlife.StartContainer:
		return fmt.Sprintf("#%d", a.Attempt)
	case podlife.EnsureCgroup, podlife.MountVolumes, podlife.CreateSandbox, podlife.RunHook, podlife.StopContainer, podlife.ResizePod:
		return ""
	}
	return string(a.Kind)
}

func runID(i *podlife.Instance) string { return "run " + i.ID }
