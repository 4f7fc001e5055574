// Package process watches processes by pidfd, our children and those that an
// earlier keeper has left behind, and tells how they ended. One goroutine
// sleeps for each in Go's poller; no thread is held.
package process
