package proxy

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

const tcpListen = 10 // TCP_LISTEN of tcp_states.h

// takenPorts are those that programs of this node listen on, other than on
// loopback alone.
func takenPorts() (map[ProtocolPort]bool, error) {
	taken := map[ProtocolPort]bool{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, fmt.Errorf("list TCP sockets: %w", err)
		}
		for _, s := range tcp {
			if s.State == tcpListen && !s.ID.Source.IsLoopback() {
				taken[ProtocolPort{v1.ProtocolTCP, s.ID.SourcePort}] = true
			}
		}
		udp, err := netlink.SocketDiagUDP(family)
		if err != nil {
			return nil, fmt.Errorf("list UDP sockets: %w", err)
		}
		for _, s := range udp {
			if !s.ID.Source.IsLoopback() && isZero(s.ID.Destination) {
				taken[ProtocolPort{v1.ProtocolUDP, s.ID.SourcePort}] = true
			}
		}
	}
	return taken, nil
}

func isZero(ip net.IP) bool { return ip == nil || ip.IsUnspecified() }
