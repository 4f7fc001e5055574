package alloc

import (
	"iter"
	"math/big"
	"net/netip"
)

// candidates are the addresses of a range in the order they are tried: from a
// random start in the upper part, around, then the lower part, which is left to
// addresses that users pick themselves (KEP-3070).
func candidates(p netip.Prefix, random func(n uint64) uint64) iter.Seq[netip.Addr] {
	size := usable(p)
	static := staticBand(size)
	return func(yield func(netip.Addr) bool) {
		for _, band := range [][2]uint64{{static, size}, {0, static}} {
			n := band[1] - band[0]
			if n == 0 {
				continue
			}
			start := random(n)
			for i := range n {
				if !yield(nth(p, band[0]+(start+i)%n)) {
					return
				}
			}
		}
	}
}

// usable is how many addresses can be given: the network's own is not, nor is
// IPv4's broadcast. Of vast ranges the first 2^16 are enough.
func usable(p netip.Prefix) uint64 {
	bits := p.Addr().BitLen() - p.Bits()
	if bits > 16 {
		bits = 16
	}
	n := uint64(1)<<bits - 1
	if p.Addr().Is4() && n > 0 && p.Addr().BitLen()-p.Bits() <= 16 {
		n--
	}
	return n
}

// staticBand is the size of the lower part: a sixteenth, from 16 to 256.
func staticBand(size uint64) uint64 {
	if size <= 16 {
		return 0
	}
	return min(max(size/16, 16), 256)
}

// nth is the i-th usable address, from 0.
func nth(p netip.Prefix, i uint64) netip.Addr {
	a := p.Masked().Addr()
	v := new(big.Int).SetBytes(a.AsSlice())
	v.Add(v, new(big.Int).SetUint64(i+1))
	b := make([]byte, a.BitLen()/8)
	v.FillBytes(b)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// First is the address that the "kubernetes" service has.
func First(p netip.Prefix) netip.Addr { return nth(p, 0) }

// given tells whether an address of p may be given to a service.
func given(p netip.Prefix, a netip.Addr) bool {
	if !p.Contains(a) || a == p.Masked().Addr() {
		return false
	}
	return !p.Addr().Is4() || p.Bits() >= 31 || a != nth(p, uint64(1)<<(32-p.Bits())-2)
}
