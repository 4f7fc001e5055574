// Package cri is the container runtime as the CRI shows it: sandboxes,
// containers, streams, statistics and events.
package cri
