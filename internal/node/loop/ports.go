package loop

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/proa-project/proa/internal/node/podlife"
)

// Probes runs the probe workers of the pods on this node.
type Probes interface {
	// Run runs the workers until ctx ends; results go to sink, which never blocks.
	Run(ctx context.Context, sink func(podlife.ProbeResult)) error
	// Sync makes the pod's workers those of exactly these containers (all
	// running; init containers only if they are sidecars): new ones start, those
	// of an ID that is not listed end, the others go on undisturbed. An empty
	// list ends them all. Cheap when nothing changed; safe for concurrent use.
	Sync(pod *v1.Pod, containers []ProbedContainer)
}

// ProbedContainer is a running instance of a container.
type ProbedContainer struct {
	Name, ID  string
	PodIP     string // where httpGet, tcpSocket and grpc without a host go
	StartedAt time.Time
	// Started: the startup probe passed, or there is none. Until then only the
	// startup probe runs; afterwards only the others do.
	Started bool
	// Stopping: the pod is ending; liveness and startup probes are over, readiness
	// goes on, as upstream's does, so that endpoints drain truthfully.
	Stopping bool
}

// Source is where pods come from besides the API server: static pods.
type Source interface {
	// Run calls set with all pods of the source, each time that they changed,
	// until ctx ends. The pods are complete: defaulted, named NAME-NODE, with UID,
	// spec.nodeName, and the annotations kubernetes.io/config.{source,hash,seen}.
	Run(ctx context.Context, set func([]*v1.Pod)) error
}

// Mirrors keeps a mirror pod in the API server for each static pod.
type Mirrors interface {
	// Ensure makes the mirror of a static pod exist and match it; nil and no
	// error while that can't be (no API server). The returned pod carries the
	// UID that status patches need.
	Ensure(ctx context.Context, static *v1.Pod) (*v1.Pod, error)
	// Remove deletes the mirror of a static pod that has ended.
	Remove(ctx context.Context, uid types.UID, namespace, name string) error
}
