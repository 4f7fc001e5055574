// Package observe turns what the container runtime says into snapshots of pods.
//
// In: CRI lists, statuses and events. Out: a Snapshot a pod, numbered in the order
// in which the looks began, so that an older one never replaces a newer; and
// nudges, which say that a pod is worth a look. A runtime that does not answer
// gives no snapshot at all: unknown is never told as absent.
//
// Events only nudge. They may come late, twice, or not at all: the relist every
// few seconds compares what is there with what was, and nudges too.
package observe
