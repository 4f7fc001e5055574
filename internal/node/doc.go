// Package node is the node agent: it runs the pods that are bound to its node.
//
//	API server ── pods ──▶ loop ── podlife.Decide ──▶ actions ──▶ execute ──▶ runtime (CRI), volumes, cgroups
//	     ▲                  ▲                                                        │
//	     └── podstatus ─────┴──────────────────── observe ◀──────────────────────────┘
//
// The life of a pod is decided by package podlife, which is pure; what the API
// shows of it by package podstatus, which is pure too; package loop has a
// goroutine a pod that feeds the one and sends the other. Memory that must survive
// the agent is kept by package journal, before anything is done because of it.
//
// An Agent may be killed at any moment and started again: containers belong to the
// runtime and go on; the agent finds them by their labels.
//
//	agent.go    New, Run: how the parts hang together
//	config.go   what must be plugged in
//	pods.go     where pods come from: the API, static pods, leftovers
//	objects.go  what pods refer to in the API
//	ports.go    all ports in one place
package node
