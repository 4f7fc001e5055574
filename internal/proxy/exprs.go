package proxy

import (
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of four bytes. A concatenation takes several in a row; the first
// four are one register of sixteen bytes too, and so on.
const (
	regKey    = 8  // what a map is asked for, and what it answers
	regClient = 16 // a client's address
	regIndex  = 20 // a number below the count of endpoints
)

// masqueradeMark is the bit by which Kubernetes' proxies mark packets whose
// source is to be rewritten on the way out.
const masqueradeMark = 0x4000

type exprs = []expr.Any

func (f family) load(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.size}
}

// portOf the packet, after its protocol.
func loadPort(register uint32) exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{DestRegister: register + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func (f family) loadFrontend() exprs {
	return append(exprs{f.load(f.destination, regKey)}, loadPort(regKey+f.registers())...)
}

// in a set: the rule goes on only if what the registers hold is there.
func in(s *nftables.Set, register uint32) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: s.Name, SetID: s.ID}
}

// answer of a map is put into to; a verdict map's (to = 0) is followed.
func answer(m *nftables.Set, from, to uint32) expr.Any {
	return &expr.Lookup{SourceRegister: from, DestRegister: to, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}
}

// within or outside of a range.
func (f family) within(offset uint32, p netip.Prefix, op expr.CmpOp) exprs {
	mask := net.CIDRMask(p.Bits(), int(f.size)*8)
	return exprs{
		f.load(offset, regKey),
		&expr.Bitwise{SourceRegister: regKey, DestRegister: regKey, Len: f.size, Mask: mask, Xor: make([]byte, f.size)},
		&expr.Cmp{Op: op, Register: regKey, Data: p.Masked().Addr().AsSlice()},
	}
}

func toThisNode() exprs {
	return fib(&expr.Fib{Register: regKey, FlagDADDR: true, ResultADDRTYPE: true})
}

func fromThisNode() exprs {
	return fib(&expr.Fib{Register: regKey, FlagSADDR: true, ResultADDRTYPE: true})
}

func fib(e *expr.Fib) exprs {
	return exprs{e, &expr.Cmp{Op: expr.CmpOpEq, Register: regKey, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)}}
}

// isNew: the packet is the first of a connection, as far as anybody answered.
func isNew() exprs {
	return exprs{
		&expr.Ct{Key: expr.CtKeySTATE, Register: regKey},
		&expr.Bitwise{SourceRegister: regKey, DestRegister: regKey, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regKey, Data: make([]byte, 4)},
	}
}

func isTCP() exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: regKey},
		&expr.Cmp{Op: expr.CmpOpEq, Register: regKey, Data: []byte{unix.IPPROTO_TCP}},
	}
}

// mark sets the bit, or takes it off.
func mark(on bool) exprs {
	mask, xor := ^uint32(masqueradeMark), uint32(0)
	if on {
		xor = masqueradeMark
	}
	return exprs{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regKey},
		&expr.Bitwise{SourceRegister: regKey, DestRegister: regKey, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: binaryutil.NativeEndian.PutUint32(xor)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: regKey},
	}
}

func isMarked() exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: regKey},
		&expr.Bitwise{SourceRegister: regKey, DestRegister: regKey, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(masqueradeMark), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: regKey, Data: make([]byte, 4)},
	}
}

func masquerade() exprs { return exprs{&expr.Masq{FullyRandom: true}} }

// choose a number below n.
func choose(n int) expr.Any {
	return &expr.Numgen{Register: regIndex, Modulus: uint32(n), Type: unix.NFT_NG_RANDOM}
}

// dnat to the target that the registers hold.
func (f family) dnat() expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: f.nat, RegAddrMin: regKey, RegProtoMin: regKey + f.registers(), Specified: true}
}

func (f family) reject() (tcp, other exprs) {
	return exprs{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}, exprs{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.unreachable}}
}

func jump(kind expr.VerdictKind, chain string) exprs {
	return exprs{&expr.Verdict{Kind: kind, Chain: chain}}
}
