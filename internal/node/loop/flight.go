package loop

import (
	"context"
	"maps"
	"time"

	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/observe"
	"github.com/proa-project/proa/internal/node/podlife"
)

// flight is an action under way.
type flight struct {
	action podlife.Action
	since  time.Time
	cancel context.CancelFunc
}

func (w *worker) inFlight() map[string]podlife.Action {
	out := make(map[string]podlife.Action, len(w.flights))
	for id, f := range w.flights {
		out[id] = f.action
	}
	return out
}

// act gives up what has no use any more and begins what was decided.
func (w *worker) act(ctx context.Context, out podlife.Output) {
	for _, id := range out.Cancel {
		if f := w.flights[id]; f != nil {
			f.cancel()
		}
	}
	if len(out.Actions) == 0 {
		return
	}
	pod := *w.granted()
	pod.Status = w.status
	for _, a := range out.Actions {
		if a.Kind == podlife.DeleteAPIObject {
			w.loop.keep(w.pod, podlife.Memory{}) // before the scheduler may give the room to another
		}
		w.begin(ctx, execute.Request{Pod: &pod, Action: a, Observed: w.observed})
	}
}

// begin runs an action on a goroutine of its own. Its end comes back as mail,
// together with a look at what it changed: the machine is never told that
// something is done before it can see it.
func (w *worker) begin(ctx context.Context, r execute.Request) {
	ctx, cancel := context.WithCancel(ctx)
	w.flights[r.Action.ID] = &flight{action: r.Action, since: w.loop.cfg.Clock.Now(), cancel: cancel}
	w.loop.wg.Go(func() {
		e := end{outcome: w.loop.cfg.Executor.Do(ctx, r)}
		cancel()
		if inRuntime(r.Action.Kind) {
			if e.snapshot = w.lookAfter(); e.snapshot == nil {
				return // the agent ends: without having seen it, nothing may be concluded from the end
			}
		}
		w.box.put(func(m *mail) { m.ends = append(m.ends, e) })
	})
}

// lookAfter an action must succeed before the action counts as ended: its effect
// would be decided upon a second time.
func (w *worker) lookAfter() *observe.Snapshot {
	for w.loop.ctx.Err() == nil {
		s, err := w.loop.cfg.Observer.Pod(w.loop.ctx, w.uid)
		if err == nil {
			return &s
		}
		w.loop.cfg.Log.Warn("pod not seen in the runtime after an action, will be tried again", "pod", w.uid, "err", err)
		select {
		case <-w.loop.ctx.Done():
		case <-w.loop.cfg.Clock.After(time.Second):
		}
	}
	return nil
}

// inRuntime: the action changes what the runtime has.
func inRuntime(k podlife.Kind) bool {
	switch k {
	case podlife.CreateSandbox, podlife.StopSandbox, podlife.RemoveSandbox, podlife.StartContainer,
		podlife.StopContainer, podlife.RemoveContainer, podlife.ResizePod:
		return true
	}
	return false
}

// land takes the end of an action in.
func (w *worker) land(e end) {
	a := e.outcome.Action
	if f := w.flights[a.ID]; f != nil {
		if s, kept := endOfFlight(f, e.outcome); kept {
			w.ended(s)
		}
	}
	delete(w.flights, a.ID)
	w.see(e.snapshot)
	if e.outcome.Failed {
		w.loop.cfg.Log.Warn("action failed", "pod", w.uid, "action", a.ID, "reason", e.outcome.Reason, "err", e.outcome.Message)
		return
	}
	switch a.Kind {
	case podlife.EnsureCgroup:
		w.observed.Cgroup = podlife.Present
	case podlife.RemoveCgroup:
		w.observed.Cgroup = podlife.Absent
	case podlife.MountVolumes:
		w.observed.Volumes = podlife.Present
	case podlife.UnmountVolumes:
		w.observed.Volumes = podlife.Absent
	}
}

// refreshVolumes sets the volumes up once more when labels or annotations, which
// they may hold, have changed. To the machine it is like any other set-up.
func (w *worker) refreshVolumes(ctx context.Context) {
	now := map[string]map[string]string{"labels": w.pod.Labels, "annotations": w.pod.Annotations}
	if w.meta == nil {
		w.meta = now
	}
	const id = "refresh-volumes"
	same := maps.Equal(w.meta["labels"], w.pod.Labels) && maps.Equal(w.meta["annotations"], w.pod.Annotations)
	if same || w.observed.Volumes != podlife.Present || w.memory.Stop != nil || w.gone || w.flights[id] != nil {
		return
	}
	w.meta = now
	pod := *w.granted()
	w.begin(ctx, execute.Request{Pod: &pod, Action: podlife.Action{
		ID: id, Kind: podlife.MountVolumes, Why: "labels or annotations changed, which volumes may hold",
	}})
}
