package node

import (
	"github.com/proa-project/proa/internal/node/cgroup"
	"github.com/proa-project/proa/internal/node/execute"
	"github.com/proa-project/proa/internal/node/static"
	"github.com/proa-project/proa/internal/node/volume"
)

// What is plugged into the agent fits its ports.
var (
	_ Volumes               = (*volume.Manager)(nil)
	_ execute.VolumeChanges = (*volume.Manager)(nil)
	_ Source                = (*static.Source)(nil)
	_ Mirrors               = (*static.Mirrors)(nil)
	_ execute.Cgroups       = (*cgroup.Tree)(nil)
)
