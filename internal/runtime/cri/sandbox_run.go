package cri

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/runtime/cri/spec"
	"github.com/proa-project/proa/internal/runtime/keeper"
)

// cleanupTimeout bounds the undoing of what failed: it must happen also when the
// caller has gone, but not hang for ever.
const cleanupTimeout = 30 * time.Second

// undoContext is for undoing after a failure, which a cancelled caller must not stop.
func undoContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
}

// RunPodSandbox makes a sandbox and attaches it to the network. The record is on
// disk before anything is made, so that a crash leaves nothing that is not found.
func (s *Service) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if err := checkSandbox(req); err != nil {
		return nil, err
	}
	config := proto.CloneOf(req.Config)
	sb := &sandbox{id: newID(), containers: map[string]*container{}}
	sb.record = sandboxRecord{ID: sb.id, Config: config, Created: time.Now()}
	name := podName(config.Metadata)
	s.mu.Lock()
	err := s.reserve(name, sb.id)
	s.mu.Unlock()
	if err != nil {
		return nil, fail(codes.AlreadyExists, "pod sandbox: %w", err)
	}
	err = s.makeSandbox(ctx, sb)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sandboxes[sb.id] = sb
		s.emit(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, sb.id, sb)
		s.emit(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, sb.id, sb)
		return &runtimeapi.RunPodSandboxResponse{PodSandboxId: sb.id}, nil
	}
	undo, cancel := undoContext(ctx)
	defer cancel()
	if left := s.dropSandbox(undo, sb); left != nil {
		// It can't be taken back now: show it as not ready, so that the caller
		// sees and removes it.
		s.cfg.Log.Error("undo a failed sandbox", "sandbox", sb.id, "err", left)
		s.mu.Lock()
		sb.status.Running = false
		s.sandboxes[sb.id] = sb
		s.mu.Unlock()
	} else {
		s.release(name)
	}
	return nil, wrap(err, "run pod sandbox %s/%s", config.Metadata.Namespace, config.Metadata.Name)
}

func checkSandbox(req *runtimeapi.RunPodSandboxRequest) error {
	m := req.GetConfig().GetMetadata()
	switch {
	case m.GetName() == "" || m.GetNamespace() == "" || m.GetUid() == "":
		return fail(codes.InvalidArgument, "sandbox config must name the pod: metadata needs name, namespace and uid")
	case req.RuntimeHandler != "":
		return fail(codes.InvalidArgument, "no runtime for %q is configured", req.RuntimeHandler)
	}
	sc := req.Config.GetLinux().GetSecurityContext()
	if sc.GetRunAsGroup() != nil && sc.GetRunAsUser() == nil {
		return fail(codes.InvalidArgument, "runAsGroup is specified without runAsUser")
	}
	return checkUserNamespace(namespaceOptions(req.Config).GetUsernsOptions())
}

// checkUserNamespace: a pod is in the node's user namespace, or in one of its own
// with a range of the node's users that is told in one piece.
func checkUserNamespace(u *runtimeapi.UserNamespace) error {
	switch {
	case u == nil:
		return nil
	case u.Mode == runtimeapi.NamespaceMode_NODE && len(u.Uids)+len(u.Gids) > 0:
		return fail(codes.InvalidArgument, "user namespace mode NODE takes no mappings")
	case u.Mode == runtimeapi.NamespaceMode_POD && (len(u.Uids) != 1 || len(u.Gids) != 1):
		return fail(codes.InvalidArgument, "user namespace of the pod: want one mapping of users and one of groups, got %d and %d", len(u.Uids), len(u.Gids))
	case u.Mode != runtimeapi.NamespaceMode_NODE && u.Mode != runtimeapi.NamespaceMode_POD:
		return fail(codes.InvalidArgument, "unsupported user namespace mode %s", u.Mode)
	}
	return nil
}

func (s *Service) makeSandbox(ctx context.Context, sb *sandbox) error {
	config := sb.config()
	if err := s.store.saveSandbox(&sb.record); err != nil {
		return err
	}
	var err error
	if sb.status, err = s.cfg.Keeper.StartSandbox(ctx, s.keeperSandbox(sb)); err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	if !hostNetwork(config) {
		if sb.record.IPs, err = s.cfg.Network.Attach(ctx, attachRequest(sb)); err != nil {
			return fmt.Errorf("set up pod network: %w", err)
		}
	}
	if err := s.writeEtc(sb); err != nil {
		return err
	}
	sb.record.Complete = true
	return s.store.saveSandbox(&sb.record)
}

func (s *Service) keeperSandbox(sb *sandbox) keeper.Sandbox {
	config, ns := sb.config(), namespaceOptions(sb.config())
	hostNet := hostNetwork(config)
	out := keeper.Sandbox{
		ID: sb.id, Hostname: config.Hostname,
		HostNetwork: hostNet,
		HostIPC:     ns.GetIpc() == runtimeapi.NamespaceMode_NODE,
		HostPID:     ns.GetPid() == runtimeapi.NamespaceMode_NODE,
		SharePID:    ns.GetPid() == runtimeapi.NamespaceMode_POD,
		Sysctls:     config.GetLinux().GetSysctls(),
		Cgroup:      filepath.Join(s.cgroupParent(config), sb.id),
	}
	if u := ns.GetUsernsOptions(); u.GetMode() == runtimeapi.NamespaceMode_POD && u != nil {
		out.UIDMappings, out.GIDMappings = spec.IDMappings(u.Uids), spec.IDMappings(u.Gids)
	}
	return out
}

func attachRequest(sb *sandbox) AttachRequest {
	c := sb.config()
	req := AttachRequest{
		SandboxID: sb.id, NetNS: sb.status.NetNS, Namespace: c.Metadata.Namespace, Name: c.Metadata.Name,
		UID: c.Metadata.Uid, Hostname: c.Hostname, Labels: c.Labels, Annotations: c.Annotations,
	}
	for _, p := range c.PortMappings {
		if p.HostPort != 0 {
			req.PortMappings = append(req.PortMappings, p)
		}
	}
	return req
}

// dropSandbox undoes makeSandbox, from any point of it. The network goes first
// while the namespace is there, the record last.
func (s *Service) dropSandbox(ctx context.Context, sb *sandbox) error {
	if err := s.cfg.Keeper.StopSandbox(ctx, sb.id); err != nil {
		return err
	}
	if !hostNetwork(sb.config()) {
		if err := s.cfg.Network.Detach(ctx, sb.id); err != nil {
			return err
		}
	}
	if err := s.cfg.Keeper.RemoveSandbox(ctx, sb.id); err != nil {
		return err
	}
	return s.store.removeSandbox(sb.id)
}

// writeEtc makes the files that containers of the pod find below /etc. The node
// agent brings /etc/hosts itself; ours is for other clients.
func (s *Service) writeEtc(sb *sandbox) error {
	config, dir := sb.config(), s.store.etc(sb.id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	resolv, err := resolvConf(config.DnsConfig)
	if err != nil {
		return err
	}
	hostname := config.Hostname
	if hostname == "" {
		hostname = s.host.Hostname
	}
	hosts := hostsFile(hostname, sb.record.IPs)
	if hostNetwork(config) {
		if hosts, err = os.ReadFile("/etc/hosts"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for name, data := range map[string][]byte{"resolv.conf": resolv, "hostname": []byte(hostname + "\n"), "hosts": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// resolvConf is what the config says, or the host's own file if it says nothing.
func resolvConf(c *runtimeapi.DNSConfig) ([]byte, error) {
	if len(c.GetServers())+len(c.GetSearches())+len(c.GetOptions()) == 0 {
		data, err := os.ReadFile("/etc/resolv.conf")
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return data, err
	}
	var b strings.Builder
	if len(c.Searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(c.Searches, " "))
	}
	for _, ns := range c.Servers {
		fmt.Fprintf(&b, "nameserver %s\n", ns)
	}
	if len(c.Options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(c.Options, " "))
	}
	return []byte(b.String()), nil
}

func hostsFile(hostname string, ips []netip.Addr) []byte {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, ip := range ips {
		fmt.Fprintf(&b, "%s\t%s\n", ip, hostname)
	}
	return []byte(b.String())
}
