// Package cri is the container runtime as the CRI v1 shows it: sandboxes,
// containers, streams, statistics and events. Node agents in the process call
// the methods of [Service]; others, crictl for one, connect to its socket
// ([Service.Serve]).
//
//	CRI request ─▶ Service ─▶ spec.Build (pure) ─▶ Keeper   processes and namespaces
//	                  │ ▲                     ├──▶ Images   root file systems
//	                  │ └── follow ◀─ events ─┤
//	                  ▼                       └──▶ Network  addresses
//	            records in R/cri
//
// The keeper is the parent of all processes and the only one to know their
// state. Here is what it is not told: who asked for a sandbox and how (its
// config, its addresses), and what a container's root file system hangs on. That
// is one small record each below StateDir, written before anything is made and
// removed after everything is gone, so a crash between any two steps is found:
//
//	RunPodSandbox     record ─▶ keeper ─▶ network ─▶ record (complete)
//	CreateContainer   snapshot ─▶ mount ─▶ record ─▶ keeper
//	RemoveContainer   keeper ─▶ unmount ─▶ snapshot ─▶ record
//	RemovePodSandbox  keeper (stop) ─▶ network ─▶ containers ─▶ keeper ─▶ record
//
// At the start reconcile compares the records with what the keeper, the image
// store and the mount points say, and decides what is adopted and what is
// cleaned up (restore.go). From then on follow.go takes every change from the
// keeper's events; statuses only go forward (created → running → exited), so it
// does not matter whether a call's answer or its event comes first. Each step is
// told to subscribers with the statuses of the whole pod.
//
// Locks: Service.mu guards the maps and the values in them and is never held over
// a slow step; sandbox.op and container.op let one removal (start, update) at a
// time touch one thing, and are taken before Service.mu. Containers of one pod are
// created and started in parallel.
//
// The answers share their parts with what is kept: don't change them.
package cri
