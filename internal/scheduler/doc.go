// Package scheduler gives every pod a node, once.
//
// In: nodes and pods, by the shared informers. Out: a Binding for each pod that
// fits somewhere; for each that fits nowhere a PodScheduled condition and an
// event that say why. State: none beyond the process — the cluster as the
// informers show it, plus the pods that were bound a moment ago and are not yet
// seen on their node ("assumed").
//
//	pending ──Place──▶ assumed ──Bind──▶ bound (seen by the informer)
//	   ▲   └─fits nowhere─▶ waiting ──anything that may help changed──┐
//	   └──────────────────────────────────────────────────────────────┘
//
// cluster.go, place.go and explain.go are pure; scheduler.go is the only file
// with a goroutine in it.
package scheduler
