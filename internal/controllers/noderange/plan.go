package noderange

import (
	"encoding/binary"
	"net/netip"

	v1 "k8s.io/api/core/v1"
)

// next is the first range of so many bits after last, round the whole, that
// overlaps none of taken.
func next(whole netip.Prefix, bits int, last netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	count := uint32(1) << (bits - whole.Bits())
	begin := uint32(0)
	if last.IsValid() {
		begin = index(whole, bits, last.Addr()) + 1
	}
	for i := range count {
		p := nth(whole, bits, (begin+i)%count)
		if !overlaps(p, taken) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func index(whole netip.Prefix, bits int, a netip.Addr) uint32 {
	return (number(a) - number(whole.Addr())) >> (32 - bits)
}

func nth(whole netip.Prefix, bits int, i uint32) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], number(whole.Addr())+i<<(32-bits))
	return netip.PrefixFrom(netip.AddrFrom4(a), bits)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func overlaps(p netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(p) {
			return true
		}
	}
	return false
}

// rangesOf what nodes have; what is no range takes nothing.
func rangesOf(nodes []*v1.Node) (taken []netip.Prefix) {
	for _, n := range nodes {
		for _, text := range n.Spec.PodCIDRs {
			if p, err := netip.ParsePrefix(text); err == nil {
				taken = append(taken, p)
			}
		}
	}
	return taken
}
