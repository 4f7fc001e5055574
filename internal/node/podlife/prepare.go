package podlife

import (
	"fmt"
	"time"
)

// prepare makes what all containers need: cgroup, volumes, sandbox. They are made
// at the same time, but for the sandbox, which lives in the cgroup.
func (d *decision) prepare() {
	o := d.in.Observed
	if o.Cgroup != Present {
		d.act(Action{ID: "cgroup", Kind: EnsureCgroup, Sized: d.mem.Sized, Why: "the pod's limits hold for all its containers"})
	}
	if o.Volumes != Present {
		d.act(Action{ID: "volumes", Kind: MountVolumes, Why: "containers mount them"})
	}
	if d.busy(CreateSandbox, "") {
		d.wait("", "the sandbox", time.Time{})
		return // what is seen of it is not to be trusted before it is done
	}
	if !d.clearOldSandboxes() || d.sandbox() != nil || o.Cgroup != Present {
		return
	}
	attempt := d.nextSandbox()
	why := "the pod has none"
	if attempt > 0 {
		why = "the last one is gone"
	}
	d.act(Action{ID: fmt.Sprintf("sandbox:%d", attempt), Kind: CreateSandbox, Attempt: attempt, Why: why})
}

// nextSandbox is one more than any attempt that was seen.
func (d *decision) nextSandbox() uint32 {
	var next uint32
	for _, s := range d.in.Observed.Sandboxes {
		next = max(next, s.Attempt+1)
	}
	return next
}

// clearOldSandboxes ends what lives in sandboxes other than the current one and
// releases those; true once nothing does.
func (d *decision) clearOldSandboxes() bool {
	current := d.sandbox()
	clear := true
	for _, s := range d.in.Observed.Sandboxes {
		if current != nil && s.ID == current.ID {
			continue
		}
		if !d.wasStopped(s.ID) {
			clear = false
			d.tellLost(s)
			if d.killIn(s.ID) {
				continue // the network stays until the last process is gone
			}
			d.act(Action{ID: "stop-sandbox:" + s.ID, Kind: StopSandbox, SandboxID: s.ID, Why: "it is not ready any more"})
		}
	}
	if current == nil && d.mem.Initialized != "" {
		d.mem.Initialized = ""
	}
	return clear
}

func (d *decision) tellLost(s Sandbox) {
	if d.mem.LostSandbox == s.ID {
		return
	}
	d.mem.LostSandbox = s.ID
	d.event(false, "", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	d.say("", "Sandbox lost", "the sandbox is not ready: its pause process ended")
}

// killIn ends all that lives in a sandbox; true while something does.
func (d *decision) killIn(sandbox string) bool {
	busy := d.busy(StartContainer, "")
	for _, v := range d.views {
		if v.alive() && v.inst.SandboxID == sandbox {
			busy = true
			e := stopping(v, "its sandbox is gone", d.in.Now.Add(d.grace()))
			e.again = v.role == Main && d.restartable(v)
			d.kill(v, e)
			d.drive(v, true)
		}
	}
	if busy {
		d.wait("", "the containers of the lost sandbox to end", time.Time{})
	}
	return busy
}
