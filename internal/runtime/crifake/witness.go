package crifake

import (
	"maps"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// What a test may know without asking as a client does: these are no calls, fail
// never and are cheap.

// Running are the IDs of all containers that run, in order of creation.
func (r *Runtime) Running() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for id, c := range r.containers {
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Ends are the exit codes of all containers that ever ended, by ID.
func (r *Runtime) Ends() map[string]int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.ends)
}

// Heal ends all faults that were asked for.
func (r *Runtime) Heal() {
	r.faults.mu.Lock()
	r.faults.before, r.faults.after, r.faults.always, r.faults.delay = nil, nil, nil, nil
	r.faults.mu.Unlock()
	r.DropEvents(false)
}
