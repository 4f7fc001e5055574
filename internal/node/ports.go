package node

import (
	"github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/loop"
)

// The ports of the agent, each declared by the package that calls it. They are
// named here again so that there is one place to see all that must be plugged in.
type (
	// Runtime and Images: package cri (in process: cri.InProcess, a socket: cri.Dial).
	Runtime = cri.Runtime
	Images  = cri.Images
	// Volumes: package volume.
	Volumes = execute.Volumes
	// Probes: package probe.
	Probes = loop.Probes
	// Source and Mirrors: package static.
	Source  = loop.Source
	Mirrors = loop.Mirrors
)
