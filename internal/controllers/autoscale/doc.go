// Package autoscale keeps HorizontalPodAutoscalers: it looks at what pods use and
// how much there is to do, and sets the replicas of what the autoscaler names.
//
//	scale + metrics + pods + history ──Decide──▶ replicas, status, events, history
//
//	decide.go   PURE: the whole of it
//	propose.go  PURE: one metric → how many replicas
//	pods.go     PURE: which pods count
//	limits.go   PURE: how fast and how far
//	read.go     metrics from the API: the built-in one, custom and external ones
//	scale.go    the scale of whatever kind
//	controller.go  the loop
package autoscale
