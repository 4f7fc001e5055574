// Package podstatus says what the API shows of a pod. It is pure: what was
// observed, and what the pod machine remembers, goes in; a v1.PodStatus comes
// out, with the reasons and messages that clients of Kubernetes know.
//
// Generate starts from the API's own status, so that what belongs to others (the
// scheduler's nomination, readiness gates, claims) stays, and replaces all that
// is the node's.
package podstatus
