package app

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/proa-project/proa/internal/network"
	"github.com/proa-project/proa/internal/runtime/cri"
)

// podNetwork is the built-in network as the runtime wants it.
type podNetwork struct{ *network.Network }

var _ cri.Network = podNetwork{}

func (n podNetwork) Attach(ctx context.Context, r cri.AttachRequest) ([]netip.Addr, error) {
	ports := make([]network.HostPort, 0, len(r.PortMappings))
	for _, m := range r.PortMappings {
		p, err := hostPort(m)
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	addr, err := n.Network.Attach(ctx, r.SandboxID, r.NetNS, ports)
	if err != nil {
		return nil, err
	}
	return []netip.Addr{addr}, nil
}

func hostPort(m *runtimeapi.PortMapping) (network.HostPort, error) {
	p := network.HostPort{
		Protocol:      strings.ToLower(m.Protocol.String()),
		HostPort:      uint16(m.HostPort),
		ContainerPort: uint16(m.ContainerPort),
	}
	if m.HostIp == "" {
		return p, nil
	}
	var err error
	if p.HostIP, err = netip.ParseAddr(m.HostIp); err != nil {
		return p, fmt.Errorf("host port %d: host IP %q: %w", m.HostPort, m.HostIp, err)
	}
	return p, nil
}
