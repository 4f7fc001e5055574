package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/record"

	"github.com/proa-project/proa/internal/apiserver/core"
	"github.com/proa-project/proa/internal/control"
	"github.com/proa-project/proa/internal/controllers/clusterdns"
	provisioner "github.com/proa-project/proa/internal/kit/localpath"
	"github.com/proa-project/proa/internal/kit/version"
	"github.com/proa-project/proa/internal/node"
	"github.com/proa-project/proa/internal/node/cgroup"
	nodecri "github.com/proa-project/proa/internal/node/cri"
	"github.com/proa-project/proa/internal/node/csi"
	"github.com/proa-project/proa/internal/node/httpapi"
	"github.com/proa-project/proa/internal/node/localpath"
	"github.com/proa-project/proa/internal/node/loop"
	"github.com/proa-project/proa/internal/node/podlife"
	"github.com/proa-project/proa/internal/node/probe"
	"github.com/proa-project/proa/internal/node/register"
	"github.com/proa-project/proa/internal/node/static"
	"github.com/proa-project/proa/internal/node/stats"
	"github.com/proa-project/proa/internal/node/volume"
	"github.com/proa-project/proa/internal/pki"
)

// nodeParts are what the node agent is joined from.
type nodeParts struct {
	*server
	hub       *hub
	runtime   node.Runtime
	images    node.Images
	csi       *csi.Manager
	volumes   *volume.Manager
	storage   *localpath.Provisioner
	registrar *register.Registrar
	agent     *node.Agent
	stats     *stats.Provider
	pressure  atomic.Pointer[map[v1.NodeConditionType]bool] // nil: not known yet
	recorder  record.EventRecorder
}

// startNode starts the node agent and all around it; the channel is closed when
// the node is Ready.
func (s *server) startNode(ctx context.Context, h *hub, components *errgroup.Group) (<-chan struct{}, error) {
	p := &nodeParts{server: s, hub: h, recorder: h.recorder("kubelet", s.cluster.Node)}
	if err := p.startRuntime(ctx, components); err != nil {
		return nil, err
	}
	listener, err := listenNode(int(s.settings.Port))
	if err != nil {
		return nil, fmt.Errorf("node's HTTPS server: %w", err)
	}
	for _, make := range []func() error{
		func() error { return p.makeRegistrar(listener.Addr().(*net.TCPAddr).Port) },
		p.makeShutdown,
		p.makeAgent,
		p.makeStorage,
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
	components.Go(func() error { return p.storage.Run(ctx) })
	components.Go(func() error { return p.csi.Run(ctx) })
	if err := p.startWays(ctx, components); err != nil {
		return nil, err
	}
	p.watchShutdown(ctx, components)
	return p.registrar.Ready(), p.startHousekeeping(ctx, components)
}

// nodePort is where clients that don't look at the node's object look for it.
const nodePort = 10250

// listenNode at a port; 0 = the usual one, or any if another cluster has it.
func listenNode(port int) (net.Listener, error) {
	if port == 0 {
		if listener, err := net.Listen("tcp", ":"+strconv.Itoa(nodePort)); err == nil {
			return listener, nil
		}
	}
	return net.Listen("tcp", ":"+strconv.Itoa(port))
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
	service, store, err := p.serveRuntime(ctx, components, nil)
	if err != nil {
		return err
	}
	p.runtime, p.images = nodecri.InProcess(service), store
	return nil
}

func (p *nodeParts) makeRegistrar(port int) (err error) {
	c := p.settings.Register
	c.Name = p.cluster.Node
	c.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: p.cluster.nodeAddr().String()}}
	c.Port = int32(port)
	c.Version = version.Kubernetes + "+proa"
	c.PodCIDRs = []string{p.cluster.podRange().String()}
	c.Annotations = map[string]string{clusterdns.Annotation: p.server.dns.Addr().String()}
	if machine := p.machine(context.Background()).own; machine.IsValid() {
		c.Annotations[machineAnnotation] = machine.String()
	}
	c.DataDir = p.layout.Data
	c.Client, c.Runtime, c.Images = p.hub.client, p.runtime, p.images
	c.Events = func(_ *v1.Node, reason, message string) { p.nodeEvent(v1.EventTypeNormal, reason, message) }
	c.Log = p.log
	p.registrar, err = register.New(c)
	return err
}

// nodeEvent tells of something that happened to the node. Its events are found by
// name: upstream uses it in place of the UID.
func (p *nodeParts) nodeEvent(kind, reason, message string) {
	name := p.cluster.Node
	p.recorder.Event(&v1.ObjectReference{Kind: "Node", Name: name, UID: types.UID(name)}, kind, reason, message)
}

func (p *nodeParts) makeAgent() (err error) {
	p.csi, err = csi.New(csi.Config{
		Node: p.cluster.Node, Registry: p.layout.Registry(), Plugins: p.layout.Plugins(), Pods: p.layout.Pods(), Client: p.hub.client, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.volumes, err = volume.New(volume.Config{
		Root: p.layout.Pods(), Client: p.hub.client, Allocatable: p.registrar.Allocatable,
		RecursiveReadOnly: func(string) bool { return true }, CSI: p.csi, Node: p.registrar.Node, Log: p.log,
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
	cgroups.LimitPIDs(p.settings.PodPIDs)
	addr := p.cluster.nodeAddr().String()
	p.agent, err = node.New(node.Config{
		NodeName:      p.cluster.Node,
		Client:        p.hub.client,
		Informers:     p.hub.informers,
		Runtime:       p.runtime,
		Images:        p.images,
		Volumes:       p.volumes,
		Probes:        podProbes{probes},
		Cgroups:       cgroups,
		Source:        static.NewSource(p.manifests()),
		Mirrors:       &static.Mirrors{Client: p.hub.client, Node: p.registrar.Node},
		Node:          p.registrar.Node,
		Own:           p.registrar.Own,
		HostIPs:       func() []string { return []string{addr} },
		DataDir:       p.layout.Data,
		ResolvConf:    p.settings.ResolvConf,
		ClusterDomain: p.settings.ClusterDomain,
		ClusterDNS:    p.clusterDNS(),
		Policy:        p.settings.Policy,
		Limits:        p.settings.Limits,
		Guard:         p.guard,
		Clock:         p.hub.clock,
		Log:           p.log,
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server.agent = p.agent
	return err
}

// clusterDNS are the servers that pods ask: the cluster's, unless the user names others.
func (p *nodeParts) clusterDNS() []string {
	if len(p.settings.ClusterDNS) > 0 {
		return p.settings.ClusterDNS
	}
	return texts(p.cluster.dnsAddrs())
}

// manifests are where static pods come from.
func (p *nodeParts) manifests() static.Config {
	c := p.settings.Static
	c.NodeName, c.Rules, c.Log = p.cluster.Node, staticRules(), p.log
	c.Cache = filepath.Join(p.layout.Node(), "manifests.json")
	c.Event = func(reason, message string) { p.nodeEvent(v1.EventTypeWarning, reason, message) }
	return c
}

// makeStorage provides for claims of the built-in storage class.
func (p *nodeParts) makeStorage() (err error) {
	p.storage, err = localpath.New(localpath.Config{
		Node: p.cluster.Node, Root: p.layout.Storage(), Client: p.hub.services, Informers: p.hub.informers,
		Recorder: p.hub.recorder(provisioner.Provisioner, p.cluster.Node), InUse: p.volumes.InUse, Log: p.log,
	})
	return err
}

func (p *nodeParts) makeStats() (err error) {
	p.stats, err = stats.New(stats.Config{
		NodeName: p.cluster.Node, Runtime: p.runtime, Images: p.images, Pods: p.agent.Pods,
		DataDir: p.layout.Data, ImagesDir: p.layout.Images(), PodsDir: p.layout.Pods(), LogsDir: p.layout.PodLogs(), Log: p.log,
	})
	return err
}

func (p *nodeParts) makeHTTP() (*httpapi.Server, error) {
	explain := http.NewServeMux()
	control.HandleWhy(explain, p.why)
	return httpapi.New(httpapi.Config{
		NodeName:     p.cluster.Node,
		ServingCert:  p.servingCert,
		ClientCA:     pki.Pool(p.authority()),
		Authenticate: httpapi.TokenReviews(p.hub.client),
		Authorize:    httpapi.SubjectAccessReviews(p.hub.client),
		Pods:         p.agent,
		Runtime:      p.runtime,
		Stats:        p.stats.Summary,
		Metrics:      map[string]http.Handler{"": p.stats.Agent(), "/resource": p.stats.Resource(), "/cadvisor": p.stats.CAdvisor()},
		Configz:      p.settings.Configuration,
		Explain:      explain,
		NodeLogs:     p.layout.Logs(),
		Log:          p.log,
	})
}

// servingCert is of the node's HTTPS server.
func (s *server) servingCert() (*tls.Certificate, error) {
	if s.member != nil {
		return s.member.ServingCert()
	}
	return &s.credentials.kubelet, nil
}

// authority that signs for everybody in the cluster.
func (s *server) authority() *x509.Certificate {
	if s.member != nil {
		return s.member.Authority()
	}
	return s.credentials.authority.Certificate()
}

// podProbes is the prober as the node agent's loop wants it.
type podProbes struct{ *probe.Runner }

func (p podProbes) Run(ctx context.Context, sink func(podlife.ProbeResult)) error {
	return p.Runner.Run(ctx, func(r probe.Result) {
		sink(podlife.ProbeResult{
			UID: r.UID, Container: r.Container, ContainerID: r.ContainerID, Kind: podlife.ProbeKind(r.Kind),
			Verdict: podlife.Verdict(r.Verdict), Attempt: podlife.Verdict(r.Attempt),
			Warning: r.Warning, Output: r.Output, Run: r.Run, Threshold: r.Threshold, At: r.At,
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

func texts[T fmt.Stringer](values []T) (out []string) {
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}
