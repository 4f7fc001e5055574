// Package controllers holds the loops that bring the cluster's objects to what
// their specs say, one folder a kind. Each has the same shape: New registers
// with the shared informers and returns a reconcile.Loop; what is to be done is
// decided by pure functions in plan.go where there is anything to decide.
package controllers
