// Package execute carries out what the pod machine asks for: one file a kind of
// action, all of the shape (context, Request) → Outcome. It decides nothing; what
// it can't do it says, with the reason that a container's status shows.
//
//	resize.go    ResizePod, EnsureCgroup
//	volumes.go   MountVolumes, UnmountVolumes
//	sandbox.go   CreateSandbox, StopSandbox, RemoveSandbox
//	image.go     PullImage (credentials.go: which secrets are for which registry)
//	start.go     StartContainer (files.go: what the agent writes for it)
//	hook.go      RunHook
//	stop.go      StopContainer, RemoveContainer
//	data.go      RemoveData
//	delete.go    DeleteAPIObject
package execute
