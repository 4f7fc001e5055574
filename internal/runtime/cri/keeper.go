package cri

import (
	"context"
	"syscall"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/proa-project/proa/internal/runtime/keeper"
)

// Keeper is the parent of all processes, as far as this package needs it; its
// methods mean what they mean in keeper.Keeper.
type Keeper interface {
	SandboxKeeper
	ContainerKeeper
	StreamKeeper
	Watcher
}

// SandboxKeeper makes and ends the namespaces of pods.
type SandboxKeeper interface {
	StartSandbox(ctx context.Context, s keeper.Sandbox) (keeper.SandboxStatus, error)
	StopSandbox(ctx context.Context, id string) error
	RemoveSandbox(ctx context.Context, id string) error
}

// ContainerKeeper runs containers.
type ContainerKeeper interface {
	Create(ctx context.Context, c keeper.Container) (keeper.ContainerStatus, error)
	Start(ctx context.Context, id string) (keeper.ContainerStatus, error)
	Signal(ctx context.Context, id string, sig syscall.Signal, all bool) error
	Remove(ctx context.Context, id string) error
	ReopenLog(ctx context.Context, id string) error
	UpdateResources(ctx context.Context, id string, r *specs.LinuxResources) error
}

// StreamKeeper connects callers with processes.
type StreamKeeper interface {
	Exec(ctx context.Context, e keeper.Exec) (keeper.ExecSession, error)
	Attach(ctx context.Context, id string) (keeper.AttachSession, error)
}

// Watcher tells what is.
type Watcher interface {
	Sandbox(ctx context.Context, id string) (keeper.SandboxStatus, error)
	Sandboxes(ctx context.Context) ([]keeper.SandboxStatus, error)
	Container(ctx context.Context, id string) (keeper.ContainerStatus, error)
	Containers(ctx context.Context) ([]keeper.ContainerStatus, error)
	Events(ctx context.Context) (<-chan keeper.Event, error)
	Stats(ctx context.Context, ids ...string) ([]keeper.Stats, error)
	Version(ctx context.Context) (keeper.Version, error)
}

var _ Keeper = keeper.Keeper(nil)
