// Package evict ends pods before the node runs out of memory, disk or process IDs, and pods that use more local storage than
// they said.
//
// In: signals (how much is left), thresholds, what each pod uses. Out: the node's pressure conditions, what to reclaim first,
// and which pod to evict why.
//
//	threshold.go   PURE: signals against thresholds, with grace periods and the time a condition lingers
//	rank.go        PURE: which pod goes first
//	limits.go      PURE: pods over their own local-storage limits
//	decide.go      PURE: Decide(Input) Output puts them together
//	observe.go     PURE: a stats summary → Input
//	manager.go     the shell: every 10 s; pods are measured only when there is a reason to
//
// One pod at most goes in a turn, so that the next turn sees what that brought.
package evict
