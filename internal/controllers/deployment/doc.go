// Package deployment rolls the pods of Deployments from one template to the
// next, through ReplicaSets: one a template, the new one growing while the old
// ones shrink within what maxSurge and maxUnavailable allow.
//
//	                  ┌ being deleted: status only
//	Deployment ─▶ what ┤ paused, or its size changed: all ReplicaSets in proportion
//	                  ├ rollback annotation: an older template becomes the Deployment's
//	                  └ else RollingUpdate or Recreate, one step; the next follows the event of this one
//
// plan decides on copies of the ReplicaSets; what differs from the originals is
// then written. Every write carries the resource version that was decided on,
// so a decision from an old cache fails and is taken again.
package deployment
