// Package register keeps this machine's Node object true: it makes the object, says what the machine has, whether it is ready
// and under pressure, and renews its lease.
//
// In: facts of the machine (/proc, /sys, statfs), what the container runtime says of itself, and what others report through
// SetProblem, SetPressure and SetAddresses. Out: one Node and one Lease in the API.
//
//	machine.go    the machine as a value, read from its file systems
//	runtime.go    PURE: the runtime's answers → health, version, handlers, images
//	node.go       PURE: Desired(config, machine, state) and Merge(existing, desired, now)
//	registrar.go  the shell: one goroutine; wakes for a nudge, a check every 10 s, a report every 5 min
//
// Nothing waits for a tick to become Ready: Nudge makes the next look at once, and until the node is Ready looks follow one
// another within milliseconds.
package register
