package network

import "net/netip"

// ipam hands out the addresses of a range. It goes round the range, so that an
// address just freed is the last to be given again: a client that still holds
// it meets nobody instead of a stranger.
type ipam struct {
	pod   netip.Prefix
	last  netip.Addr
	taken map[netip.Addr]bool
}

func newIPAM(r netip.Prefix) *ipam {
	own := nodeAddr(r)
	return &ipam{pod: r.Masked(), last: own, taken: map[netip.Addr]bool{own: true}}
}

func (p *ipam) take(a netip.Addr) {
	p.taken[a] = true
	if a.Compare(p.last) > 0 {
		p.last = a
	}
}

func (p *ipam) free(a netip.Addr) { delete(p.taken, a) }

// next is the first free address after the last one given.
func (p *ipam) next() (netip.Addr, bool) {
	for a := p.after(p.last); ; a = p.after(a) {
		if !p.taken[a] {
			p.taken[a], p.last = true, a
			return a, true
		}
		if a == p.last {
			return netip.Addr{}, false // all the way round
		}
	}
}

// after goes round the range, leaving out its last address, the broadcast's.
func (p *ipam) after(a netip.Addr) netip.Addr {
	if a = a.Next(); p.pod.Contains(a.Next()) {
		return a
	}
	return nodeAddr(p.pod)
}
