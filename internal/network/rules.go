package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rules is the cluster's nft table:
//
//	prerouting, output   host ports → pods, by two maps
//	postrouting          pods → outside take the node's address;
//	                     so do clients on loopback, and a pod that reaches itself
//	raw                  nothing from a pod may reach the node's 127/8
//	unknown              a cluster address that nobody has, or that has no such
//	                     port, is refused, not tried
type rules struct {
	config Config

	mu       sync.Mutex // one netlink transaction at a time
	table    *nftables.Table
	byPort   *nftables.Set // protocol . port → address . port
	byIPPort *nftables.Set // host address . protocol . port → address . port
	hairpin  *nftables.Set // address . address
}

func tableName(clusterID string) string { return "proa-" + clusterID }

func newRules(c Config) *rules {
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(c.ClusterID)}
	target := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	return &rules{
		config: c,
		table:  table,
		byPort: &nftables.Set{
			Table: table, Name: "hostports", IsMap: true, Concatenation: true,
			KeyType:  nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
			DataType: target,
		},
		byIPPort: &nftables.Set{
			Table: table, Name: "hostports_by_ip", IsMap: true, Concatenation: true,
			KeyType:  nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService),
			DataType: target,
		},
		hairpin: &nftables.Set{
			Table: table, Name: "hairpin", Concatenation: true,
			KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr),
		},
	}
}

// install replaces the table, in one transaction, by one for the given pods.
func (r *rules) install(pods map[string]attachment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.AddTable(r.table) // so that deleting it can't fail
	c.DelTable(r.table)
	c.AddTable(r.table)
	for _, set := range []*nftables.Set{r.byPort, r.byIPPort, r.hairpin} {
		if err := c.AddSet(set, nil); err != nil {
			return err
		}
	}
	r.addChains(c)
	for _, a := range pods {
		if err := r.change(c.SetAddElements, a); err != nil {
			return err
		}
	}
	return c.Flush()
}

func (r *rules) add(a attachment) error    { return r.transact(a, (*nftables.Conn).SetAddElements) }
func (r *rules) remove(a attachment) error { return r.transact(a, (*nftables.Conn).SetDeleteElements) }

func (r *rules) transact(a attachment, op func(*nftables.Conn, *nftables.Set, []nftables.SetElement) error) error {
	if len(a.HostPorts) == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := nftables.New()
	if err != nil {
		return err
	}
	apply := func(s *nftables.Set, e []nftables.SetElement) error { return op(c, s, e) }
	if err := r.change(apply, a); err != nil {
		return err
	}
	return c.Flush()
}

// change adds or deletes the elements of one pod.
func (r *rules) change(op func(*nftables.Set, []nftables.SetElement) error, a attachment) error {
	if len(a.HostPorts) == 0 {
		return nil
	}
	addr := a.Addr.AsSlice()
	if err := op(r.hairpin, []nftables.SetElement{{Key: append(append([]byte{}, addr...), addr...)}}); err != nil {
		return err
	}
	for _, p := range a.HostPorts {
		set, key, err := r.keyOf(p)
		if err != nil {
			return err
		}
		element := nftables.SetElement{Key: key, Val: append(append([]byte{}, addr...), port(p.ContainerPort)...)}
		if err := op(set, []nftables.SetElement{element}); err != nil {
			return err
		}
	}
	return nil
}

func (r *rules) keyOf(p HostPort) (*nftables.Set, []byte, error) {
	protocol, ok := map[string]byte{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP}[p.Protocol]
	if !ok {
		return nil, nil, fmt.Errorf("host port %d: protocol %q: want tcp, udp or sctp", p.HostPort, p.Protocol)
	}
	key := append([]byte{protocol, 0, 0, 0}, port(p.HostPort)...)
	if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
		return r.byIPPort, append(p.HostIP.AsSlice(), key...), nil
	}
	return r.byPort, key, nil
}

// port in a concatenation takes a whole register of four bytes.
func port(p uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, p), 0, 0)
}

func (r *rules) addChains(c *nftables.Conn) {
	nat := func(name string, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Table: r.table, Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: prio})
	}
	filter := func(name string, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Table: r.table, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: prio})
	}
	rule := func(chain *nftables.Chain, exprs ...[]expr.Any) {
		var all []expr.Any
		for _, e := range exprs {
			all = append(all, e...)
		}
		c.AddRule(&nftables.Rule{Table: r.table, Chain: chain, Exprs: all})
	}

	rule(filter("raw", nftables.ChainHookPrerouting, nftables.ChainPriorityRaw),
		fromLink(linkPrefix(r.config.ClusterID)), to(netip.MustParsePrefix("127.0.0.0/8"), true), verdict(expr.VerdictDrop))

	for name, hook := range map[string]*nftables.ChainHook{"prerouting": nftables.ChainHookPrerouting, "output": nftables.ChainHookOutput} {
		chain := nat(name, hook, nftables.ChainPriorityNATDest)
		rule(chain, toThisNode(), dnatByIPPort(r.byIPPort))
		rule(chain, toThisNode(), dnatByPort(r.byPort))
	}

	post := nat("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	rule(post, inHairpin(r.hairpin), masquerade())
	rule(post, from(netip.MustParsePrefix("127.0.0.0/8")), wasTranslated(), masquerade())
	rule(post, from(r.config.PodCIDR), to(r.config.ClusterCIDR, false), masquerade())

	anchor := anchorName(r.config.ClusterID)
	for name, hook := range map[string]*nftables.ChainHook{"unknown_forward": nftables.ChainHookForward, "unknown_output": nftables.ChainHookOutput} {
		chain := filter(name, hook, nftables.ChainPriorityFilter)
		// To a hook on output, a packet of the node's own that was translated to a
		// pod's address still leaves by the link it had before.
		rule(chain, wasTranslated(), verdict(expr.VerdictAccept))
		rule(chain, toLink(anchor), to(r.config.ServiceCIDR, true), reject(portUnreachable)) // a service has no such port
		rule(chain, toLink(anchor), reject(hostUnreachable))
	}
}

func removeRules(clusterID string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(clusterID)}
	c.AddTable(table)
	c.DelTable(table)
	return c.Flush()
}

// Offsets in the IPv4 header.
const (
	sourceOffset      = 12
	destinationOffset = 16
)

func address(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

func inRange(offset uint32, p netip.Prefix, in bool) []expr.Any {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	op := expr.CmpOpEq
	if !in {
		op = expr.CmpOpNeq
	}
	return []expr.Any{
		address(offset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func from(p netip.Prefix) []expr.Any        { return inRange(sourceOffset, p, true) }
func to(p netip.Prefix, in bool) []expr.Any { return inRange(destinationOffset, p, in) }

func fromLink(prefix string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte(prefix)}, // shorter than a name: a prefix match
	}
}

func toLink(name string) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(name), 0)},
	}
}

func toThisNode() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

// Four-byte registers of a concatenation: 8 is the first half of register 1.
func dnatByPort(m *nftables.Set) []expr.Any {
	return append(protocolAndPort(8, 9), lookupTarget(m)...)
}

func dnatByIPPort(m *nftables.Set) []expr.Any {
	return append(append([]expr.Any{address(destinationOffset, 8)}, protocolAndPort(9, 10)...), lookupTarget(m)...)
}

func protocolAndPort(protocol, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: protocol},
		&expr.Payload{DestRegister: port, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

func lookupTarget(m *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: 8, DestRegister: 8, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 8, RegProtoMin: 9, Specified: true},
	}
}

func inHairpin(s *nftables.Set) []expr.Any {
	return []expr.Any{
		address(sourceOffset, 8),
		address(destinationOffset, 9),
		&expr.Lookup{SourceRegister: 8, SetName: s.Name, SetID: s.ID},
	}
}

// wasTranslated: the connection's destination was rewritten (IPS_DST_NAT).
func wasTranslated() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(1 << 5), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func masquerade() []expr.Any                { return []expr.Any{&expr.Masq{}} }
func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

// Codes of ICMP "destination unreachable".
const (
	hostUnreachable = 1
	portUnreachable = 3
)

func reject(code uint8) []expr.Any {
	return []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: code}}
}
