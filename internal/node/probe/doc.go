// Package probe asks containers whether they have started, live, and are ready.
//
// In: which containers of which pods run (Sync). Out: Results, when a verdict changes and for each attempt that did not
// succeed. What follows from a verdict (a restart, endpoints) is decided by whoever gets it.
//
//	schedule.go   PURE: what is due when, and attempts → verdicts by the thresholds
//	runner.go     the shell: one goroutine with one timer for all probes; an attempt in flight is a goroutine, at most MaxInFlight
//	attempt.go    one attempt: which prober, its port, its retries
//	http.go, tcp.go, grpc.go, exec.go
//
// A probe's life:
//
//	waiting ──due──▶ in flight ──success, failure──▶ waiting (next period)
//	                     │ verdict of startup, failed liveness
//	                     ▼
//	                   held: the container is about to be replaced, or startup is over
//
// The first attempt comes the moment a container is announced (after its initial delay). A network probe of a container that
// isn't up yet is repeated quickly within its first periods (Options.Eager): such extra attempts count only if they succeed, so
// that thresholds mean what they say, and a server that needs 50 ms to listen is not unready for 10 s.
package probe
