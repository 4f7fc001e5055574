// Package controllers holds the loops that bring the cluster's objects to what
// their specs say, one folder a kind. Each has the same shape: New registers
// with the shared informers and returns a reconcile.Loop; what is to be done is
// decided by pure functions in plan.go where there is anything to decide. All
// makes every one of them.
//
// What several share has a folder of its own:
//
//	reconcile   the loop, and own writes laid over a cache that lags (Recent, Latest)
//	podcontrol  whose pods are whose, in which order they go, making and ending them
//	replicas    ReplicaSets and ReplicationControllers as one
//	podclaims   which pods use a claim
//	revision    the templates of DaemonSets and StatefulSets over time
package controllers
