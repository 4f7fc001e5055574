package cri

import (
	"errors"
	"log/slog"
)

// Config of a Service.
type Config struct {
	Keeper  Keeper
	Images  Images
	Network Network
	// StateDir is R/cri: the records of sandboxes and containers and the files
	// that pods have mounted below /etc. It may be lost at a reboot, with the
	// processes that it tells of.
	StateDir string
	// ContainersDir is R/containers: mount points, nothing else.
	ContainersDir string
	// LayersDir is where the image store keeps what containers write, for the
	// statistics. Default ContainersDir.
	LayersDir string
	// CgroupParent is for pods whose config names none, like "/proa-1a2b3c4d/cri".
	CgroupParent string
	// Version of proa, told as the runtime's.
	Version string
	// StreamAddr is where exec, attach and port-forward are served; it should be
	// on loopback. Default 127.0.0.1:0.
	StreamAddr string
	Log        *slog.Logger // nil = discard
}

func (c *Config) complete() error {
	switch {
	case c.Keeper == nil, c.Images == nil, c.Network == nil:
		return errors.New("cri: config needs keeper, images and network")
	case c.StateDir == "", c.ContainersDir == "":
		return errors.New("cri: config needs the state and containers folders")
	case c.CgroupParent == "":
		return errors.New("cri: config needs a cgroup parent")
	}
	if c.LayersDir == "" {
		c.LayersDir = c.ContainersDir
	}
	if c.Version == "" {
		c.Version = "0.0.0"
	}
	if c.StreamAddr == "" {
		c.StreamAddr = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
