package podlife

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"sort"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// Role is what a container is to its pod.
type Role string

const (
	Init      Role = "init container"
	Sidecar   Role = "sidecar" // an init container with restartPolicy Always
	Main      Role = "container"
	Ephemeral Role = "ephemeral container"
)

// view is a container of the spec with all that is known of it.
type view struct {
	spec *v1.Container
	role Role
	// inst is the newest instance, seen or remembered; nil: there never was one.
	inst *Instance
	// seen: the runtime has inst.
	seen bool
	mem  *ContainerMemory
}

// IsSidecar tells whether an init container of the spec goes on beside the others.
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// HashContainer identifies what of a container may be changed in place, as far
// as the change needs a new instance.
func HashContainer(c *v1.Container) string {
	b, _ := json.Marshal([2]string{c.Name, c.Image}) // strings always marshal
	h := fnv.New32a()
	h.Write(b)
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// EphemeralContainer gives an ephemeral container the shape of any other.
func EphemeralContainer(e *v1.EphemeralContainer) *v1.Container {
	return (*v1.Container)(&e.EphemeralContainerCommon)
}

// look pairs the containers of the spec with what was observed and remembered.
func (d *decision) look() {
	pod := d.in.Pod
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		role := Init
		if IsSidecar(c) {
			role = Sidecar
		}
		d.addView(c, role)
	}
	for i := range pod.Spec.Containers {
		d.addView(&pod.Spec.Containers[i], Main)
	}
	for i := range pod.Spec.EphemeralContainers {
		d.addView(EphemeralContainer(&pod.Spec.EphemeralContainers[i]), Ephemeral)
	}
}

func (d *decision) addView(c *v1.Container, role Role) {
	mem := d.mem.Containers[c.Name]
	v := &view{spec: c, role: role, mem: &mem}
	for i := range d.in.Observed.Instances {
		inst := &d.in.Observed.Instances[i]
		if inst.Name == c.Name && (v.inst == nil || newer(inst, v.inst)) {
			v.inst, v.seen = inst, true
		}
	}
	switch {
	case mem.Last != nil && (v.inst == nil || mem.Last.Attempt > v.inst.Attempt):
		v.inst, v.seen = d.vanished(mem.Last), false
		mem.Last = v.inst
	case v.seen:
		last := *v.inst
		mem.Last = &last
		mem.NextAttempt = max(mem.NextAttempt, v.inst.Attempt+1)
	}
	d.views = append(d.views, v)
}

// vanished is the record of an instance that the runtime forgot: its end, if that
// was seen, or one that says that it was not.
func (d *decision) vanished(last *Instance) *Instance {
	inst := *last
	if inst.State != Exited {
		inst.State, inst.ExitCode, inst.FinishedAt = Exited, 137, d.in.Now
		inst.Reason = "ContainerStatusUnknown"
		inst.Message = "The container could not be located when the pod was terminated"
	}
	return &inst
}

// newer orders two instances of one container.
func newer(a, b *Instance) bool {
	if a.Attempt != b.Attempt {
		return a.Attempt > b.Attempt
	}
	return a.CreatedAt.After(b.CreatedAt)
}

// remember puts the views' memories back.
func (d *decision) remember() {
	for _, v := range d.views {
		d.mem.Containers[v.spec.Name] = *v.mem
	}
}

// of lists the views with one of the roles, in the order of the spec.
func (d *decision) of(roles ...Role) []*view {
	var out []*view
	for _, v := range d.views {
		for _, r := range roles {
			if v.role == r {
				out = append(out, v)
			}
		}
	}
	return out
}

// sandbox is the newest that is ready, or nil, also while one is in the making.
func (d *decision) sandbox() *Sandbox {
	var best *Sandbox
	for _, a := range d.in.InFlight {
		if a.Kind == CreateSandbox {
			return nil
		}
	}
	for i := range d.in.Observed.Sandboxes {
		s := &d.in.Observed.Sandboxes[i]
		if s.Ready && !d.wasStopped(s.ID) && (best == nil || s.Attempt > best.Attempt) {
			best = s
		}
	}
	return best
}

func (d *decision) wasStopped(id string) bool {
	for _, s := range d.mem.StoppedSandboxes {
		if s == id {
			return true
		}
	}
	return false
}

// here tells whether the instance runs, or ran, in the current sandbox.
func (d *decision) here(v *view) bool {
	sb := d.sandbox()
	return v.inst != nil && sb != nil && v.inst.SandboxID == sb.ID
}

// alive tells whether the container may have a process.
func (v *view) alive() bool { return v.seen && v.inst.Alive() }

// running is alive and known to be so.
func (v *view) running() bool { return v.seen && v.inst.State == Live }

// replaced tells whether we ended the newest instance for another to take its place.
func (v *view) replaced() bool { return v.inst != nil && v.inst.ID == v.mem.Again.ID }

// exited tells whether the newest instance has ended.
func (v *view) exited() bool { return v.inst != nil && v.inst.State == Exited }

// Started tells whether the container has come up: it runs, its postStart hook is
// done, and its startup probe, if any, has passed.
func (v *view) started() bool {
	if !v.running() || v.hookPending() {
		return false
	}
	return v.spec.StartupProbe == nil || v.probe().Startup.Verdict == Success
}

// hookPending tells whether the postStart hook of the running instance is not over.
func (v *view) hookPending() bool {
	return v.mem.Hook != nil && v.inst != nil && v.mem.Hook.Attempt == v.inst.Attempt && !v.mem.Hook.Done
}

// probe is what the probes said of the newest instance.
func (v *view) probe() Probe {
	if v.inst == nil || v.mem.Probe.ID != v.inst.ID {
		return Probe{}
	}
	return v.mem.Probe
}

// attempts is the number of the next instance.
func (v *view) attempts() int { return v.mem.NextAttempt }

func postStart(c *v1.Container) *v1.LifecycleHandler {
	if c.Lifecycle == nil {
		return nil
	}
	return c.Lifecycle.PostStart
}

func preStop(c *v1.Container) *v1.LifecycleHandler {
	if c.Lifecycle == nil {
		return nil
	}
	return c.Lifecycle.PreStop
}

// strays are instances alive that no container of the spec owns as its newest.
func (d *decision) strays() []Instance {
	current := map[string]bool{}
	for _, v := range d.views {
		if v.seen {
			current[v.inst.ID] = true
		}
	}
	var out []Instance
	for _, inst := range d.in.Observed.Instances {
		if !current[inst.ID] {
			out = append(out, inst)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return newer(&out[i], &out[j]) })
	return out
}

func ended(i *Instance) string {
	if i.Reason != "" && i.Reason != "Error" && i.Reason != "Completed" {
		return fmt.Sprintf("%s, exit code %d", i.Reason, i.ExitCode)
	}
	return fmt.Sprintf("exit code %d", i.ExitCode)
}
