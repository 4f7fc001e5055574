package app

import (
	"context"

	hostapparmor "github.com/containerd/containerd/v2/pkg/apparmor"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/proa-project/proa/internal/node/apparmor"
	"github.com/proa-project/proa/internal/node/evict"
	"github.com/proa-project/proa/internal/node/imagegc"
	"github.com/proa-project/proa/internal/node/logrotate"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/register"
	"github.com/proa-project/proa/internal/node/shutdown"
	"github.com/proa-project/proa/internal/node/sysctl"
)

// startHousekeeping keeps the node's disk and memory in bounds.
func (p *nodeParts) startHousekeeping(ctx context.Context, components *errgroup.Group) error {
	collector, err := imagegc.New(imagegc.Config{
		Images: p.images, Runtime: p.runtime, Dir: p.layout.Images(), Policy: p.settings.Images, Log: p.log,
		Report: func(reason, message string) { p.nodeEvent(v1.EventTypeWarning, reason, message) },
	})
	if err != nil {
		return err
	}
	logs := p.settings.Logs
	logs.Runtime, logs.Log = p.runtime, p.log
	rotator, err := logrotate.New(logs)
	if err != nil {
		return err
	}
	evictor, err := evict.New(p.eviction(collector))
	if err != nil {
		return err
	}
	for _, run := range []func(context.Context) error{collector.Run, rotator.Run, evictor.Run} {
		components.Go(func() error { return run(ctx) })
	}
	return nil
}

func (p *nodeParts) eviction(images *imagegc.Collector) evict.Config {
	c := p.settings.Eviction
	c.Node = p.stats.Node
	c.Summary = func(ctx context.Context) (*statsapi.Summary, error) { return p.stats.Summary(ctx, false) }
	c.Pods = p.agent.Pods
	c.Evict = func(pod *v1.Pod, e evict.Eviction) {
		p.recorder.Event(pod, v1.EventTypeWarning, evict.Reason, e.Message)
		p.agent.Evict(e.UID, evict.Reason, e.Message, e.Grace)
	}
	c.Reclaim = func(ctx context.Context) error {
		_, err := images.RemoveUnused(ctx)
		return err
	}
	c.Pressure = func(pressure map[v1.NodeConditionType]bool) {
		p.pressure.Store(&pressure)
		p.registrar.SetPressure(register.Pressure{
			Memory: pressure[v1.NodeMemoryPressure], Disk: pressure[v1.NodeDiskPressure], PID: pressure[v1.NodePIDPressure],
		})
	}
	c.Event = func(reason, message string) { p.nodeEvent(v1.EventTypeWarning, reason, message) }
	c.Log = p.log
	return c
}

// guard refuses pods that the node has room for, and can't or won't run.
func (p *nodeParts) guard(pod *v1.Pod) *podlife.Admission {
	if p.shutdown.Active() {
		return &podlife.Admission{Reason: shutdown.RefusedReason, Message: shutdown.RefusedMessage}
	}
	if why := p.settings.Sysctls.Refuse(pod); why != "" {
		return &podlife.Admission{Reason: sysctl.Reason, Message: why}
	}
	if why := apparmor.Refuse(hostapparmor.HostSupports(), pod); why != "" {
		return &podlife.Admission{Reason: apparmor.Reason, Message: why}
	}
	if pressure := p.pressure.Load(); pressure != nil {
		if why := evict.Refuse(*pressure, pod); why != "" {
			return &podlife.Admission{Reason: evict.Reason, Message: why}
		}
	}
	return nil
}
