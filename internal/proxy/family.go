package proxy

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// family is what IPv4 and IPv6 differ in.
type family struct {
	table       nftables.TableFamily
	nat         uint32
	addr        nftables.SetDatatype
	size        uint32 // of an address, bytes
	source      uint32 // offsets in the header
	destination uint32
	unreachable uint8 // ICMP code: port unreachable
	loopback    netip.Prefix
}

var (
	ipv4 = family{nftables.TableFamilyIPv4, unix.NFPROTO_IPV4, nftables.TypeIPAddr, 4, 12, 16, 3, netip.MustParsePrefix("127.0.0.0/8")}
	ipv6 = family{nftables.TableFamilyIPv6, unix.NFPROTO_IPV6, nftables.TypeIP6Addr, 16, 8, 24, 4, netip.MustParsePrefix("::1/128")}
)

func (f family) has(a netip.Addr) bool { return a.Is4() == (f.size == 4) }

func (f family) only(prefixes []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return !f.has(p.Addr()) })
}

// registers that an address takes: a part of a concatenation begins in a
// register of its own, of four bytes.
func (f family) registers() uint32 { return f.size / 4 }

// Keys of maps.

func (f family) frontendType() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addr, nftables.TypeInetProto, nftables.TypeInetService)
}

func (f family) targetType() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addr, nftables.TypeInetService)
}

var portType = nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)

func frontendKey(f Frontend) []byte {
	k := append([]byte{protocolNumber(f.Protocol), 0, 0, 0}, portKey(f.Port)...)
	if f.Place == AtAddress {
		return slices.Concat(f.Addr.AsSlice(), k)
	}
	return k
}

func targetKey(e netip.AddrPort) []byte { return slices.Concat(e.Addr().AsSlice(), portKey(e.Port())) }

func portKey(p uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, p), 0, 0) }

func protocolNumber(p v1.Protocol) byte {
	switch p {
	case v1.ProtocolUDP:
		return unix.IPPROTO_UDP
	case v1.ProtocolSCTP:
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}
