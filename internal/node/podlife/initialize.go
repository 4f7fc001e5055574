package podlife

import (
	"fmt"
	"time"
)

// initialize runs the init containers one after the other, each to success, a
// sidecar until it has started; true when the main containers may go. Sidecars
// that have their turn behind them are kept running from then on.
func (d *decision) initialize() bool {
	sb := d.sandbox()
	done := sb != nil && (d.mem.Initialized == sb.ID || d.mainHere())
	for _, v := range d.of(Init, Sidecar) {
		switch {
		case v.role == Sidecar:
			d.keep(v)
			if !done && !v.started() {
				d.wait(v.spec.Name, "the sidecar to start", time.Time{})
				return false
			}
		case done || d.succeeded(v):
		case v.alive():
			d.tend(v)
			d.wait(v.spec.Name, "the init container to end", time.Time{})
			return false
		default:
			d.bring(v)
			return false
		}
	}
	if sb == nil {
		return len(d.of(Init, Sidecar)) == 0 // images of the main containers may come already
	}
	if !done {
		if n := len(d.of(Init, Sidecar)); n > 0 {
			d.say("", "Initialized", fmt.Sprintf("all %d init containers are done", n))
		}
	}
	d.mem.Initialized = sb.ID
	return true
}

// succeeded: the init container ended well in this sandbox.
func (d *decision) succeeded(v *view) bool {
	return v.exited() && v.inst.ExitCode == 0 && d.here(v)
}

// mainHere: a main container was made in this sandbox, so initialization is over,
// whatever became of the init containers' records.
func (d *decision) mainHere() bool {
	for _, v := range d.of(Main) {
		if d.here(v) {
			return true
		}
	}
	return false
}
