package podlife

import (
	"fmt"
	"time"
)

// containers brings up the main containers, all at once. Only one thing orders
// them: a container with a postStart hook is waited for by those after it, as
// people rely on (a proxy that must be up first).
func (d *decision) containers() {
	for _, v := range d.of(Main) {
		d.keep(v)
		if d.blocks(v) {
			d.wait(v.spec.Name, "its postStart hook, before the containers after it start", time.Time{})
			// Those that run already are tended all the same.
			for _, later := range d.after(v) {
				if later.alive() {
					d.keep(later)
				}
			}
			return
		}
	}
}

func (d *decision) after(v *view) []*view {
	mains := d.of(Main)
	for i, m := range mains {
		if m == v {
			return mains[i+1:]
		}
	}
	return nil
}

// blocks: the container's first start in this sandbox is under way and ends with
// a hook. One that failed holds nobody up.
func (d *decision) blocks(v *view) bool {
	if postStart(v.spec) == nil || v.mem.StartFailure != nil || v.mem.Image.Error != nil {
		return false
	}
	if d.here(v) {
		return v.running() && v.hookPending()
	}
	return v.inst == nil
}

// keep brings up a container that should run, and tends one that does.
func (d *decision) keep(v *view) {
	if v.alive() {
		d.tend(v)
		return
	}
	d.bring(v)
}

// tend looks after a running container: its hook, its probes, changes of its spec.
func (d *decision) tend(v *view) {
	if d.busy(StartContainer, v.spec.Name) {
		return // its start has not returned yet
	}
	due := d.in.Now.Add(d.grace())
	switch {
	case v.mem.Kill != nil:
	case v.inst.State == Lost:
		d.kill(v, ending{
			message: fmt.Sprintf("%s is in %q state, try killing it before restart", noun(v), "unknown"),
			why:     "the runtime can't tell its state", deadline: due,
		})
	case v.role == Init:
	case v.inst.Hash != "" && v.inst.Hash != HashContainer(v.spec):
		d.kill(v, ending{
			message: fmt.Sprintf("%s %s definition changed%s", noun(v), v.spec.Name, willRestart(v, true)),
			why:     "its image in the spec is now " + v.spec.Image, deadline: due, again: true,
		})
	case v.mem.Hook != nil && v.mem.Hook.Attempt == v.inst.Attempt && v.mem.Hook.Failed:
		d.kill(v, ending{message: "FailedPostStartHook", why: "its postStart hook failed", deadline: due})
	case v.probe().Startup.Verdict == Failure:
		d.killUnhealthy(v, Startup, v.probe().Startup)
	case v.probe().Liveness.Verdict == Failure && v.started():
		d.killUnhealthy(v, Liveness, v.probe().Liveness)
	case v.hookPending():
		d.act(Action{
			ID: fmt.Sprintf("poststart:%s", v.inst.ID), Kind: RunHook, Hook: PostStart,
			Container: v.spec.Name, ContainerID: v.inst.ID, Attempt: uint32(v.inst.Attempt),
			Why: "the container has just started",
		})
	}
	d.drive(v, true)
}

func noun(v *view) string {
	if v.role == Sidecar || v.role == Init {
		return "Init container"
	}
	return "Container"
}

// willRestart ends the message about a main container that will run again; of
// sidecars, which always do, stock messages don't say it.
func willRestart(v *view, again bool) string {
	if again && v.role == Main {
		return ", will be restarted"
	}
	return ""
}

// killUnhealthy: the policies alone tell whether the container runs again, there
// being no exit code of its own that a rule could match.
func (d *decision) killUnhealthy(v *view, kind ProbeKind, p ProbeState) {
	grace := d.grace()
	probe := v.spec.LivenessProbe
	word := "liveness"
	if kind == Startup {
		probe, word = v.spec.StartupProbe, "startup"
	}
	if probe != nil && probe.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
	}
	again := d.restartable(v)
	d.kill(v, ending{
		message: fmt.Sprintf("%s %s failed %s probe%s", noun(v), v.spec.Name, word, willRestart(v, again)),
		why: fmt.Sprintf("%s probe failed %d of %d at %s: %s",
			word, p.Run, p.Threshold, p.At.UTC().Format(time.TimeOnly), p.Output),
		deadline: d.in.Now.Add(grace), again: again,
	})
}
