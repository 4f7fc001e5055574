package podlife

import (
	"strings"
	"time"
)

// release gives back what the pod held, all at once: network, volumes, cgroup.
// The exit records and logs of a pod that only ended stay until it is deleted.
func (d *decision) release() {
	gone := d.mem.Stop.Delete || d.mem.Stop.Gone
	d.stopSandboxes()
	if d.in.Observed.Volumes != Absent && !d.busy(MountVolumes, "") && !d.halfMade() {
		d.act(Action{ID: "unmount", Kind: UnmountVolumes, Why: "no container is left to use them"})
	}
	if gone {
		d.removeRecords()
	}
	if d.sandboxesStopped() && d.in.Observed.Cgroup != Absent && !d.busy(EnsureCgroup, "") && (!gone || d.nothingLeft()) {
		d.act(Action{ID: "rmcgroup", Kind: RemoveCgroup, Why: "no process is left in it"})
	}
	d.deleteObject()
	d.forget()
}

// halfMade: a container was created and not started. Its process may be busy with
// its mounts until the sandbox is stopped.
func (d *decision) halfMade() bool {
	for _, s := range d.in.Observed.Sandboxes {
		for _, inst := range d.in.Observed.Instances {
			if inst.State == Created && inst.SandboxID == s.ID && !d.wasStopped(s.ID) {
				return true
			}
		}
	}
	return false
}

func (d *decision) stopSandboxes() {
	for _, s := range d.in.Observed.Sandboxes {
		if !d.wasStopped(s.ID) {
			d.act(Action{ID: "stop-sandbox:" + s.ID, Kind: StopSandbox, SandboxID: s.ID, Why: "no container is left in it"})
		}
	}
}

func (d *decision) sandboxesStopped() bool {
	for _, s := range d.in.Observed.Sandboxes {
		if !d.wasStopped(s.ID) {
			return false
		}
	}
	return true
}

// removeRecords removes sandboxes, and with them their containers, and
// containers whose sandbox is gone.
func (d *decision) removeRecords() {
	inSandbox := map[string]bool{}
	for _, s := range d.in.Observed.Sandboxes {
		inSandbox[s.ID] = true
		if d.wasStopped(s.ID) {
			d.act(Action{ID: "remove-sandbox:" + s.ID, Kind: RemoveSandbox, SandboxID: s.ID, Why: "the pod is deleted"})
		}
	}
	for _, inst := range d.in.Observed.Instances {
		if !inSandbox[inst.SandboxID] {
			d.remove(inst, "the pod is deleted")
		}
	}
}

func (d *decision) nothingLeft() bool {
	return len(d.in.Observed.Sandboxes) == 0 && len(d.in.Observed.Instances) == 0
}

// released: the pod holds nothing of the node but records and logs.
func (d *decision) released() bool {
	o := d.in.Observed
	if !d.sandboxesStopped() || o.Volumes != Absent {
		return false
	}
	if d.mem.Stop.Delete || d.mem.Stop.Gone {
		return d.nothingLeft() && o.Cgroup == Absent && d.mem.DataGone
	}
	return o.Cgroup == Absent
}

// deleteObject tells the API that the deletion is complete, as soon as nothing of
// the pod can be met from outside; the records are removed meanwhile.
func (d *decision) deleteObject() {
	s := d.mem.Stop
	if !s.Delete || s.Gone || d.mem.Deleted || !d.sandboxesStopped() || d.in.Observed.Volumes != Absent {
		return
	}
	d.act(Action{ID: "delete-object", Kind: DeleteAPIObject, Why: "no process is left, network and volumes are released"})
}

func (d *decision) forget() {
	if !d.mem.Stop.Delete && !d.mem.Stop.Gone {
		return
	}
	if !d.nothingLeft() || d.in.Observed.Volumes != Absent || d.in.Observed.Cgroup != Absent {
		return
	}
	if !d.mem.DataGone {
		d.act(Action{ID: "rmdata", Kind: RemoveData, Why: "nothing of the pod is left but its folder and logs"})
		return
	}
	if d.mem.Stop.Gone {
		d.out.Forget = true
		d.say("", "Forgotten", "nothing of the pod is left, nor is its object")
		return
	}
	d.wait("", "the API to drop the object (finalizers hold it)", time.Time{})
	if f := d.in.Pod.Finalizers; len(f) > 0 {
		d.hint("who set the finalizers must take them away: " + strings.Join(f, ", "))
	}
}
