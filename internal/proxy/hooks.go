package proxy

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers: 8 to 11 are the four-byte quarters of register 1, 12 to 15 those of
// register 2. A concatenation takes several in a row.

// addHooks makes the base chains, where packets enter the table.
func (t *table) addHooks(c *nftables.Conn) {
	for name, hook := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{Table: t.table, Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest})
		t.rule(c, chain, frontend(), []expr.Any{&expr.Lookup{SourceRegister: 8, IsDestRegSet: true, SetName: t.byAddr.Name, SetID: t.byAddr.ID}})
		t.rule(c, chain, toThisNode(), portOnly(), []expr.Any{&expr.Lookup{SourceRegister: 8, IsDestRegSet: true, SetName: t.byPort.Name, SetID: t.byPort.ID}})
	}
	// Before the network's own rule for addresses that nobody has.
	early := nftables.ChainPriorityRef(-10)
	for name, hook := range map[string]*nftables.ChainHook{"refuse_forward": nftables.ChainHookForward, "refuse_output": nftables.ChainHookOutput} {
		chain := c.AddChain(&nftables.Chain{Table: t.table, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: early})
		none := []expr.Any{&expr.Lookup{SourceRegister: 8, SetName: t.refused.Name, SetID: t.refused.ID}}
		t.rule(c, chain, frontend(), none, isTCP(), []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}})
		t.rule(c, chain, frontend(), none, []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3}}) // port unreachable
	}
	post := c.AddChain(&nftables.Chain{Table: t.table, Name: "postrouting", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	// A pod that reaches itself by a service must not see its own address, or it
	// would answer itself past the translation.
	t.rule(c, post, []expr.Any{source(8), destination(9), &expr.Lookup{SourceRegister: 8, SetName: t.hairpin.Name, SetID: t.hairpin.ID}, &expr.Masq{}})
}

func source(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4}
}

func destination(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
}

func protocolAndPort(protocol, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: protocol},
		&expr.Payload{DestRegister: port, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func frontend() []expr.Any { return append([]expr.Any{destination(8)}, protocolAndPort(9, 10)...) }
func portOnly() []expr.Any { return protocolAndPort(8, 9) }

func isTCP() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
}

func toThisNode() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// choose puts a number below n into register 1.
func choose(n int) []expr.Any {
	return []expr.Any{&expr.Numgen{Register: 1, Modulus: uint32(n), Type: unix.NFT_NG_RANDOM}}
}

// load puts an endpoint into two registers.
func load(register uint32, e netip.AddrPort) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: e.Addr().AsSlice()},
		&expr.Immediate{Register: register + 1, Data: binaryutil.BigEndian.PutUint16(e.Port())},
	}
}

// dnat to what two registers hold.
func dnat(register uint32) []expr.Any {
	return []expr.Any{&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register, RegProtoMin: register + 1, Specified: true}}
}
