// Package job runs the pods of Jobs to completion.
//
// Every pod carries a finalizer until it is counted, so that none is counted
// twice or lost, wherever the controller stops:
//
//	pod ended ─▶ its UID in status.uncountedTerminatedPods ─▶ finalizer removed ─▶ UID out, counter up
//
//	decide   what the Job's end is, if it has come, and which pods to make or delete
//	track    which pods are to be counted: status 1, then their finalizers go
//	settle   those without finalizer are counted: status 2, with the end if nothing is left
//
// A Job ends in two steps as well: the condition FailureTarget or
// SuccessCriteriaMet says what its end will be, Failed or Complete comes when no
// pod is left that could change a thing.
package job
