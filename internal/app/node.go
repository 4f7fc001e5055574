package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/record"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/kit/version"
	"github.com/proa-project/proa/internal/node"
	"github.com/proa-project/proa/internal/node/cgroup"
	nodecri "github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/evict"
	"github.com/proa-project/proa/internal/node/httpapi"
	"github.com/proa-project/proa/internal/node/imagegc"
	"github.com/proa-project/proa/internal/node/logrotate"
	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/probe"
	"github.com/proa-project/proa/internal/node/register"
	"github.com/proa-project/proa/internal/node/static"
	"github.com/proa-project/proa/internal/node/stats"
	"github.com/proa-project/proa/internal/node/volume"
	"github.com/proa-project/proa/internal/runtime/cri"
	"github.com/proa-project/proa/internal/runtime/images"
)

// nodeParts are what the node agent is joined from.
type nodeParts struct {
	*server
	hub       *hub
	runtime   node.Runtime
	images    node.Images
	volumes   *volume.Manager
	registrar *register.Registrar
	agent     *node.Agent
	stats     *stats.Provider
	recorder  record.EventRecorder
}

// startNode starts the node agent and all around it; the channel is closed when
// the node is Ready.
func (s *server) startNode(ctx context.Context, h *hub, components *errgroup.Group) (<-chan struct{}, error) {
	p := &nodeParts{server: s, hub: h, recorder: h.recorder("kubelet", s.cluster.Node)}
	if err := p.startRuntime(ctx, components); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, fmt.Errorf("node's HTTPS server: %w", err)
	}
	for _, make := range []func() error{
		func() error { return p.makeRegistrar(listener.Addr().(*net.TCPAddr).Port) },
		p.makeAgent,
		p.makeStats,
	} {
		if err := make(); err != nil {
			listener.Close()
			return nil, err
		}
	}
	web, err := p.makeHTTP()
	if err != nil {
		listener.Close()
		return nil, err
	}
	components.Go(func() error { return web.Serve(ctx, listener) })
	components.Go(func() error { return p.registrar.Run(ctx) })
	components.Go(func() error { return p.agent.Run(ctx) })
	return p.registrar.Ready(), p.startHousekeeping(ctx, components)
}

// startRuntime serves our own container runtime, or connects to another.
func (p *nodeParts) startRuntime(ctx context.Context, components *errgroup.Group) error {
	if socket := p.config.CRISocket; socket != "" {
		conn, err := grpc.NewClient(socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return fmt.Errorf("container runtime %s: %w", socket, err)
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		remote := nodecri.NewRemote(conn)
		p.runtime, p.images = remote, remote
		return nil
	}
	service, err := cri.New(ctx, cri.Config{
		Keeper: p.keeper, Images: containerImages{p.server.images}, Network: podNetwork{p.network},
		StateDir: filepath.Join(p.layout.Run, "cri"), ContainersDir: filepath.Join(p.layout.Run, "containers"),
		CgroupParent: p.layout.Cgroup() + "/cri", Version: version.Proa, Log: p.log,
	})
	if err != nil {
		return err
	}
	store := images.NewCRIServer(p.server.images)
	components.Go(func() error { return service.Serve(ctx, p.layout.CRI(), store, nil) })
	components.Go(func() error { return images.Serve(ctx, p.server.images, p.layout.ImagesSocket()) })
	p.runtime, p.images = nodecri.InProcess(service), store
	p.closers = append(p.closers, service.Close)
	return nil
}

func (p *nodeParts) makeRegistrar(port int) (err error) {
	p.registrar, err = register.New(register.Config{
		Name:      p.cluster.Node,
		Addresses: []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: p.cluster.nodeAddr().String()}},
		Port:      int32(port),
		Version:   version.Kubernetes + "+proa",
		PodCIDRs:  []string{p.cluster.podRange().String()},
		Reserve:   register.DefaultReserve(),
		DataDir:   p.layout.Data,
		Client:    p.hub.client,
		Runtime:   p.runtime,
		Images:    p.images,
		Events: func(n *v1.Node, reason, message string) {
			// Node events are found by name: upstream uses it in place of the UID.
			p.recorder.Event(&v1.ObjectReference{Kind: "Node", Name: n.Name, UID: n.UID}, v1.EventTypeNormal, reason, message)
		},
		Log: p.log,
	})
	return err
}

func (p *nodeParts) makeAgent() (err error) {
	p.volumes, err = volume.New(volume.Config{
		Root: p.layout.Pods(), Client: p.hub.client, Allocatable: p.registrar.Allocatable,
		RecursiveReadOnly: func(string) bool { return true }, Log: p.log,
	})
	if err != nil {
		return err
	}
	probes, err := probe.New(probe.Config{Executor: p.runtime, Options: probe.Options{Eager: true}, Log: p.log})
	if err != nil {
		return err
	}
	cgroups, err := cgroup.Open("/sys/fs/cgroup", p.layout.Cgroup()+"/kubepods")
	if err != nil {
		return err
	}
	addr := p.cluster.nodeAddr().String()
	p.agent, err = node.New(node.Config{
		NodeName:  p.cluster.Node,
		Client:    p.hub.client,
		Informers: p.hub.informers,
		Runtime:   p.runtime,
		Images:    p.images,
		Volumes:   p.volumes,
		Probes:    podProbes{probes},
		Cgroups:   cgroups,
		Source: static.NewSource(static.Config{
			NodeName: p.cluster.Node, Path: p.layout.Manifests(), Rules: staticRules(), Log: p.log,
		}),
		Mirrors:    &static.Mirrors{Client: p.hub.client, Node: p.registrar.Node},
		Node:       p.registrar.Node,
		HostIPs:    func() []string { return []string{addr} },
		DataDir:    p.layout.Data,
		ResolvConf: "/etc/resolv.conf",
		Clock:      p.hub.clock,
		Log:        p.log,
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.agent = p.agent
	return err
}

func (p *nodeParts) makeStats() (err error) {
	p.stats, err = stats.New(stats.Config{
		NodeName: p.cluster.Node, Runtime: p.runtime, Images: p.images, Pods: p.agent.Pods,
		DataDir: p.layout.Data, PodsDir: p.layout.Pods(), LogsDir: p.layout.PodLogs(), Log: p.log,
	})
	return err
}

func (p *nodeParts) makeHTTP() (*httpapi.Server, error) {
	return httpapi.New(httpapi.Config{
		NodeName:     p.cluster.Node,
		ServingCert:  func() (*tls.Certificate, error) { return &p.credentials.kubelet, nil },
		ClientCA:     p.credentials.authority.Pool(),
		Authenticate: httpapi.TokenReviews(p.hub.client),
		Authorize:    httpapi.SubjectAccessReviews(p.hub.client),
		Pods:         p.agent,
		Runtime:      p.runtime,
		Stats:        p.stats.Summary,
		Metrics:      map[string]http.Handler{"/resource": p.stats.Resource(), "/cadvisor": p.stats.CAdvisor()},
		NodeLogs:     p.layout.Logs(),
		Log:          p.log,
	})
}

// startHousekeeping keeps the node's disk and memory in bounds.
func (p *nodeParts) startHousekeeping(ctx context.Context, components *errgroup.Group) error {
	collector, err := imagegc.New(imagegc.Config{Images: p.images, Runtime: p.runtime, Dir: p.layout.Images(), Log: p.log})
	if err != nil {
		return err
	}
	rotator, err := logrotate.New(logrotate.Config{Runtime: p.runtime, Log: p.log})
	if err != nil {
		return err
	}
	evictor, err := evict.New(evict.Config{
		Node:    p.stats.Node,
		Summary: func(ctx context.Context) (*statsapi.Summary, error) { return p.stats.Summary(ctx, false) },
		Pods:    p.agent.Pods,
		Evict:   func(e evict.Eviction) { p.agent.Evict(e.UID, "Evicted", e.Message, e.Grace) },
		Reclaim: func(ctx context.Context) error {
			_, err := collector.RemoveUnused(ctx)
			return err
		},
		Pressure: func(c map[v1.NodeConditionType]bool) {
			p.registrar.SetPressure(register.Pressure{Memory: c[v1.NodeMemoryPressure], Disk: c[v1.NodeDiskPressure], PID: c[v1.NodePIDPressure]})
		},
		Log: p.log,
	})
	if err != nil {
		return err
	}
	for _, run := range []func(context.Context) error{collector.Run, rotator.Run, evictor.Run} {
		components.Go(func() error { return run(ctx) })
	}
	return nil
}

// podProbes is the prober as the node agent's loop wants it.
type podProbes struct{ *probe.Runner }

func (p podProbes) Run(ctx context.Context, sink func(podlife.ProbeResult)) error {
	return p.Runner.Run(ctx, func(r probe.Result) {
		sink(podlife.ProbeResult{
			UID: r.UID, Container: r.Container, ContainerID: r.ContainerID, Kind: podlife.ProbeKind(r.Kind),
			Verdict: podlife.Verdict(r.Verdict), Attempt: podlife.Verdict(r.Attempt),
			Output: r.Output, Run: r.Run, Threshold: r.Threshold, At: r.At,
		})
	})
}

func (p podProbes) Sync(pod *v1.Pod, containers []loop.ProbedContainer) {
	probed := make([]probe.Container, len(containers))
	for i, c := range containers {
		probed[i] = probe.Container(c)
	}
	p.Runner.Sync(pod, probed)
}

// staticRules hold manifests on disk to what the API server would ask of them.
func staticRules() static.Rules {
	pods := core.Pods()
	return static.Rules{
		Default:  func(pod *v1.Pod) { pods.Default(pod) },
		Validate: func(pod *v1.Pod) field.ErrorList { return pods.Check(context.Background(), pod) },
	}
}
