// Package crifake is a behaving container runtime in memory, for the tests of
// whatever drives a runtime through the CRI.
//
// It holds sandboxes, containers and images with the states, filters, errors and
// idempotency that the CRI asks for, and runs containers by script: a [Program]
// says what a container does after its start (how long it runs, what it prints,
// how it takes a TERM). Programs are found by container name, then by image, so
// that the third run of "app" can behave unlike the first.
//
// Time comes from one clock: with a fake clock nothing ends until the test steps
// it. The transitions that a step makes due happen at their own due time, on a
// goroutine of their own, as the events of a real runtime do: wait for the event
// or the status, never for a duration.
//
// Faults are set by method name: an error before or after the effect, a delay,
// or a gate that holds callers until the test opens it. Every call is recorded.
//
//	rt := crifake.New(crifake.Config{Clock: clock})
//	rt.AddImage("docker.io/library/busybox:1.36", crifake.Image{})
//	rt.Script("app", crifake.Program{ExitAfter: 3 * time.Second, ExitCode: 1})
//	rt.Fail("CreateContainer", errors.New("no space left on device"), 1)
package crifake
