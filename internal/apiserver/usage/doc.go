// Package usage serves metrics.k8s.io: what nodes and pods use of CPU and memory.
//
// Nothing is collected while nobody asks. Who asks makes nodes be asked for their
// counters (/stats/summary); CPU is the difference of two looks. The look before
// the last is kept for that; when it is too old, a fresh one is taken a second
// before the answer.
//
//	sampler.go  one node's two looks
//	rate.go     PURE: two looks → usage
//	storage.go  NodeMetrics and PodMetrics
package usage
