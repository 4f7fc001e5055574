package podlife

import (
	"fmt"
	"time"
)

// start brings up the container's next instance once all that it needs is there.
func (d *decision) start(v *view, why string) {
	if d.busy(StartContainer, v.spec.Name) || v.alive() {
		return
	}
	if v.seen && v.inst.State == Created && v.mem.StartFailure == nil && d.here(v) {
		// A crash came between create and start: the instance is as good as new.
		if d.ready(v.spec.Name) {
			d.startIt(v, v.inst.Attempt, v.inst.ID, "it was created but not started")
		}
		return
	}
	if f := v.mem.StartFailure; f != nil && d.in.Now.Before(v.mem.StartRetry.At) {
		d.wait(v.spec.Name, "another try to start it, which failed: "+f.Message, v.mem.StartRetry.At)
		d.hint(f.Hint)
		return
	}
	attempt := v.attempts()
	// Images come while sandbox and volumes are made.
	image, volumes := d.image(v, attempt), d.imageVolumes()
	if !image || !volumes || !d.ready(v.spec.Name) {
		return
	}
	d.startIt(v, attempt, "", why)
}

func (d *decision) startIt(v *view, attempt int, id, why string) {
	before := len(d.out.Actions)
	d.act(Action{
		ID: fmt.Sprintf("start:%s:%d", v.spec.Name, attempt), Kind: StartContainer,
		Container: v.spec.Name, ContainerID: id, SandboxID: d.sandbox().ID,
		Attempt: uint32(attempt), Image: v.spec.Image, ImageRef: v.mem.Image.Ref, Why: why,
		Sized: d.outgrown(),
	})
	if len(d.out.Actions) == before {
		return
	}
	if id == "" {
		v.mem.Resources = v.spec.Resources.DeepCopy()
	}
	if postStart(v.spec) != nil && v.role != Init {
		v.mem.Hook = &Hook{Attempt: attempt}
	}
}

// bring decides about a container that should run and doesn't: never started,
// half made, or ended.
func (d *decision) bring(v *view) {
	switch {
	case v.alive():
	case v.inst == nil:
		d.start(v, "it has not run yet")
	case v.inst.State == Created:
		d.start(v, "its last start failed")
	case d.sandbox() == nil:
		d.wait(v.spec.Name, "the sandbox", time.Time{})
	case !d.here(v):
		d.startAfterSandbox(v)
	case d.goesOn(v):
		if why, ok := d.again(v); ok {
			d.start(v, why)
		}
	}
}

// startAfterSandbox: the instance ended with its sandbox, or before. Only what is
// done for good stays done.
func (d *decision) startAfterSandbox(v *view) {
	if v.role == Main && !d.goesOn(v) {
		return
	}
	if v.role == Init && v.inst.ExitCode == 0 {
		d.start(v, "the sandbox is new: initialization starts over")
		return
	}
	if why, ok := d.again(v); ok {
		d.start(v, why+"; the sandbox is new")
	}
}
