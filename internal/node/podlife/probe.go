package podlife

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ProbeKind names which of a container's probes is meant.
type ProbeKind string

// The three probes of a container.
const (
	Startup   ProbeKind = "Startup"
	Liveness  ProbeKind = "Liveness"
	Readiness ProbeKind = "Readiness"
)

// Verdict is what a probe says of a container once its thresholds are applied.
type Verdict string

// Unknown means that nothing was found out yet: neither passed nor failed.
const (
	Unknown Verdict = ""
	Success Verdict = "Success"
	Failure Verdict = "Failure"
)

// ProbeResult is one observation by a probe worker. It is sent when the verdict
// changes, and for every attempt that did not succeed (each is an event that the
// user sees).
type ProbeResult struct {
	UID         types.UID
	Container   string
	ContainerID string // as in CRI, no scheme; a result of an older instance is dropped by it
	Kind        ProbeKind

	// Verdict after successThreshold and failureThreshold.
	Verdict Verdict
	// Attempt alone: Success, Failure, or Unknown when the prober itself erred.
	Attempt Verdict
	// Warning: a success that the user should hear of.
	Warning bool
	// Output says why: "HTTP probe failed with statuscode: 503", or the error.
	Output string
	// Run is the number of consecutive attempts with this outcome, Threshold the
	// number needed ("failed 2 of 3").
	Run, Threshold int
	At             time.Time
}
