package scheduler

import (
	"context"

	v1 "k8s.io/api/core/v1"
)

// Volumes knows where pods' volumes can be. The scheduler asks it for every pod
// that has claims; a scheduler without it lets them be anywhere.
type Volumes interface {
	// Need works out what a pod's volumes ask of its node. nowhere, if not empty,
	// is why they can be on none ("persistentvolumeclaim "x" not found").
	Need(pod *v1.Pod) (need VolumeNeed, nowhere string, err error)
	// OnChange has f called, from any goroutine, when something changed that may
	// let a pod be placed that was refused for its volumes.
	OnChange(f func())
}

// VolumeNeed is what one pod's volumes ask.
type VolumeNeed interface {
	// Refuse says why they can't be on a node, in stock wording; empty: they can.
	Refuse(node *v1.Node) []Reason
	// Reserve takes for the pod what it will use on the node, before another pod
	// is looked at. It is called on the scheduler's goroutine: it may not wait.
	Reserve(nodeName string) (Reservation, error)
}

// Reservation holds volumes for a pod that is on its way to a node.
type Reservation interface {
	// Bind makes claims and volumes belong together and returns when the pod may
	// go to the node. It is called beside the scheduler: it may wait.
	Bind(ctx context.Context) error
	// Release lets go of what was not bound.
	Release()
}
