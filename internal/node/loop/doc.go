// Package loop is the only part of the node agent with goroutines of its own: one
// a pod, with one mailbox and one select.
//
//	informer, static pods ─┐
//	runtime events ────────┤            ┌─▶ journal (before anything is done)
//	probe results ─────────┼─▶ mailbox ─▶ Decide ─┼─▶ actions, each its own goroutine,
//	ends of actions ───────┤            │         whose end is mail again
//	the clock ─────────────┘            ├─▶ status (sent in the background, latest wins)
//	                                    └─▶ events, decision log, probe workers
//
// A pod's goroutine owns all that is known of the pod; nobody else writes it. It
// ends when nothing of the pod is left. Mail never blocks its sender: it is merged
// into the box, so that a burst costs one turn.
//
//	loop.go    the pods of the node: who gets which mail
//	mail.go    the mailbox
//	worker.go  a pod's goroutine: turn = take mail, decide, persist, act
//	flight.go  actions under way
//	want.go    PURE  the API object → what is wanted
//	record.go  the decision log, kept for an hour after the pod is gone
//	status.go  sends statuses to the API
//	mirror.go  mirror pods of static pods
package loop
