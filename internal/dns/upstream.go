package dns

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// recheck is how often resolv.conf is looked at: a laptop that roams gets others.
const recheck = 2 * time.Second

// upstreams are the resolvers that the node itself asks, and nobody else.
type upstreams struct {
	path string
	own  []netip.Addr // ourselves: a node may use its cluster's resolver

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	servers []netip.AddrPort
}

// get reads the file again when it has changed.
func (u *upstreams) get(now time.Time) []netip.AddrPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.checked) < recheck {
		return u.servers
	}
	u.checked = now
	info, err := os.Stat(u.path)
	if err != nil {
		u.servers, u.changed = nil, time.Time{}
		return nil
	}
	if !info.ModTime().Equal(u.changed) {
		u.changed, u.servers = info.ModTime(), readServers(u.path, u.own)
	}
	return u.servers
}

func readServers(path string, own []netip.Addr) (servers []netip.AddrPort) {
	config, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	for _, s := range config.Servers {
		addr, err := netip.ParseAddr(s)
		if err == nil && !slices.Contains(own, addr) {
			servers = append(servers, netip.AddrPortFrom(addr, 53))
		}
	}
	return servers
}

// failed puts a server last that did not answer.
func (u *upstreams) failed(server netip.AddrPort) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.servers) > 1 && u.servers[0] == server {
		u.servers = append(slices.Clone(u.servers[1:]), server)
	}
}
