// Package podlife decides how a Pod lives on its node. It is pure: Decide takes
// a value (the pod's spec, what is wanted of it, what was observed, what is in
// flight, what is remembered, the policy, the time) and returns a value (what to
// remember, actions, events, the time to wake, and the reason for each in words).
// It has no clock, no context, no goroutine, no file and no client.
//
//	           ┌──────────── Want, Observed, Outcomes, now ───────────┐
//	           ▼                                                      │
//	Memory ─▶ Decide ─▶ Memory', Actions, Cancel, Events, WakeAt ─▶ the loop acts
//
// The rules of the game:
//
//   - Effects come back as observations: that an action is done does not change
//     anything here, what is observed after it does. An Outcome only tells what no
//     observation could (why it failed, how long a pull took).
//   - Unknown is not absent: nothing is started before the runtime was seen once.
//   - The loop persists Memory' before it acts, so that whatever is dropped by a
//     crash is decided again: actions are idempotent and their IDs stable.
//
// One concern a file, in the order in which Decide goes through them: fold
// (outcomes and probe results into memory), want (stop requests), admit,
// deadline, restartall, complete; then either prepare, initialize, run and
// ephemeral, or stop and release; garbage; waiting.
package podlife
