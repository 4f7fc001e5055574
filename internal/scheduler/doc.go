// Package scheduler gives every pod a node, once.
//
// In: nodes, pods and namespaces, by the shared informers. Out: a Binding for
// each pod that fits somewhere; for each that fits nowhere a PodScheduled
// condition and an event that say why, and, if its priority is worth that, the
// end of lesser pods on one node, which is nominated for it. State: none beyond
// the process — the cluster as the informers show it, plus the pods that were
// bound a moment ago and are not yet seen on their node ("assumed").
//
//	            ┌──Place──▶ assumed ──Bind──▶ bound (seen by the informer)
//	queue ──Pop─┤
//	  ▲         └─fits nowhere─▶ Preempt ─▶ waiting ──a change of what it failed by──┐
//	  └──────────────────────────────────────────────────────────────────────────────┘
//
// Pure, and readable each by itself:
//
//	cluster.go   the picture: nodes and what takes room on them, with its indexes
//	pod.go       a pod with everything worked out that is asked of it often
//	wish.go      a pod that is to be placed, held against the picture
//	filter.go    what a node must satisfy, in order; spread.go, affinity.go the larger ones
//	score.go     which of the nodes that fit is best; score_pods.go by the pods there
//	place.go     the search; explain.go its words
//	preempt.go   which pods to end, and where
//	queue.go     who is tried next, and when again
//	change.go    what a change of the cluster may help
//
// scheduler.go has the only loop; listen.go feeds it, bind.go, unfit.go and
// tell.go carry out what it decides. What volumes ask of a node is known beyond
// ports.go.
package scheduler
