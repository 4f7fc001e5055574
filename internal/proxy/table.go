package proxy

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// table is the kernel's, as far as we know what is in it.
type table struct {
	table    *nftables.Table
	byAddr   *nftables.Set // address . protocol . port → chain
	byPort   *nftables.Set // protocol . port → chain, on the node's own addresses
	refused  *nftables.Set // address . protocol . port
	hairpin  *nftables.Set // address . address, of endpoints
	applied  Ruleset
	affinity map[string]*nftables.Set // by chain
}

func tableName(clusterID string) string { return "proa-svc-" + clusterID }

func newTable(clusterID string) *table {
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(clusterID)}
	frontend := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)
	return &table{
		table:    t,
		byAddr:   &nftables.Set{Table: t, Name: "services", IsMap: true, Concatenation: true, KeyType: frontend, DataType: nftables.TypeVerdict},
		byPort:   &nftables.Set{Table: t, Name: "node_ports", IsMap: true, Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService), DataType: nftables.TypeVerdict},
		refused:  &nftables.Set{Table: t, Name: "refused", Concatenation: true, KeyType: frontend},
		hairpin:  &nftables.Set{Table: t, Name: "hairpin", Concatenation: true, KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)},
		affinity: map[string]*nftables.Set{},
	}
}

// install makes the table, empty, in place of what an earlier run left.
func (t *table) install() error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.AddTable(t.table) // so that deleting it can't fail
	c.DelTable(t.table)
	c.AddTable(t.table)
	for _, s := range []*nftables.Set{t.byAddr, t.byPort, t.refused, t.hairpin} {
		if err := c.AddSet(s, nil); err != nil {
			return err
		}
	}
	t.addHooks(c)
	return c.Flush()
}

// Remove takes a cluster's table off the machine.
func Remove(clusterID string) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: tableName(clusterID)}
	c.AddTable(t)
	c.DelTable(t)
	return c.Flush()
}

// apply brings the table from what was applied last to want, in one transaction.
func (t *table) apply(want Ruleset) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	affinity := maps.Clone(t.affinity)
	for name, chain := range want.Chains {
		if _, have := t.applied.Chains[name]; !have {
			if err := t.addChain(c, chain, affinity); err != nil {
				return err
			}
		}
	}
	if err := t.moveFrontends(c, want); err != nil {
		return err
	}
	if err := change(c, t.refused, t.applied.Refused, want.Refused, key); err != nil {
		return err
	}
	if err := change(c, t.hairpin, addrsOf(t.applied), addrsOf(want), pair); err != nil {
		return err
	}
	for name, chain := range t.applied.Chains {
		if _, keep := want.Chains[name]; !keep {
			t.delChain(c, chain, affinity)
		}
	}
	if err := c.Flush(); err != nil {
		return err
	}
	t.applied, t.affinity = want, affinity
	return nil
}

// moveFrontends takes entries out before it puts others in: one that moves to
// another chain is both.
func (t *table) moveFrontends(c *nftables.Conn, want Ruleset) error {
	for f, chain := range t.applied.Frontends {
		if want.Frontends[f] != chain {
			if err := c.SetDeleteElements(t.mapOf(f), []nftables.SetElement{entry(f, chain)}); err != nil {
				return err
			}
		}
	}
	for f, chain := range want.Frontends {
		if t.applied.Frontends[f] != chain {
			if err := c.SetAddElements(t.mapOf(f), []nftables.SetElement{entry(f, chain)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *table) mapOf(f Frontend) *nftables.Set {
	if f.Addr.IsValid() {
		return t.byAddr
	}
	return t.byPort
}

func entry(f Frontend, chain string) nftables.SetElement {
	return nftables.SetElement{Key: key(f), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// change adds and deletes the elements in which two sets differ.
func change[K comparable](c *nftables.Conn, s *nftables.Set, from, to map[K]bool, key func(K) []byte) error {
	var add, del []nftables.SetElement
	for k := range from {
		if !to[k] {
			del = append(del, nftables.SetElement{Key: key(k)})
		}
	}
	for k := range to {
		if !from[k] {
			add = append(add, nftables.SetElement{Key: key(k)})
		}
	}
	if len(del) > 0 {
		if err := c.SetDeleteElements(s, del); err != nil {
			return err
		}
	}
	if len(add) > 0 {
		return c.SetAddElements(s, add)
	}
	return nil
}

func addrsOf(r Ruleset) map[netip.Addr]bool {
	addrs := map[netip.Addr]bool{}
	for _, c := range r.Chains {
		for _, e := range c.Endpoints {
			addrs[e.Addr()] = true
		}
	}
	return addrs
}

// key of a frontend: each part takes a whole register of four bytes.
func key(f Frontend) []byte {
	k := []byte{protocolNumber(f.Protocol), 0, 0, 0}
	k = append(k, port(f.Port)...)
	if f.Addr.IsValid() {
		return append(f.Addr.AsSlice(), k...)
	}
	return k
}

func pair(a netip.Addr) []byte { return slices.Concat(a.AsSlice(), a.AsSlice()) }

func port(p uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, p), 0, 0) }

func protocolNumber(p v1.Protocol) byte {
	switch p {
	case v1.ProtocolUDP:
		return unix.IPPROTO_UDP
	case v1.ProtocolSCTP:
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

// addChain sends packets on to one of the endpoints, by chance or as before.
func (t *table) addChain(c *nftables.Conn, chain Chain, affinity map[string]*nftables.Set) error {
	if chain.Affinity > 0 {
		return t.addStickyChain(c, chain, affinity)
	}
	to := c.AddChain(&nftables.Chain{Table: t.table, Name: chain.Name})
	targets := &nftables.Set{
		Table: t.table, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, KeyByteOrder: binaryutil.NativeEndian,
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
	var elements []nftables.SetElement
	for i, e := range chain.Endpoints {
		elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: target(e)})
	}
	if err := c.AddSet(targets, elements); err != nil {
		return err
	}
	t.rule(c, to, choose(len(chain.Endpoints)),
		[]expr.Any{&expr.Lookup{SourceRegister: 1, DestRegister: 8, IsDestRegSet: true, SetName: targets.Name, SetID: targets.ID}}, dnat(8))
	return nil
}

// addStickyChain remembers which endpoint each client was given. An endpoint has
// a chain of its own there, since remembering and choosing must agree.
func (t *table) addStickyChain(c *nftables.Conn, chain Chain, affinity map[string]*nftables.Set) error {
	to := c.AddChain(&nftables.Chain{Table: t.table, Name: chain.Name})
	seen := &nftables.Set{
		Table: t.table, Name: "clients-" + chain.Name, IsMap: true, Dynamic: true, HasTimeout: true, Timeout: chain.Affinity,
		KeyType: nftables.TypeIPAddr, DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService), Size: 65535,
	}
	if err := c.AddSet(seen, nil); err != nil {
		return err
	}
	affinity[chain.Name] = seen
	t.rule(c, to, []expr.Any{source(1), &expr.Lookup{SourceRegister: 1, DestRegister: 8, IsDestRegSet: true, SetName: seen.Name, SetID: seen.ID}}, dnat(8))
	choice := &nftables.Set{Table: t.table, Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, KeyByteOrder: binaryutil.NativeEndian, DataType: nftables.TypeVerdict}
	var elements []nftables.SetElement
	for i, e := range chain.Endpoints {
		one := c.AddChain(&nftables.Chain{Table: t.table, Name: stickyName(chain, i)})
		t.rule(c, one,
			[]expr.Any{source(1)}, load(12, e),
			[]expr.Any{&expr.Dynset{SrcRegKey: 1, SrcRegData: 12, SetName: seen.Name, SetID: seen.ID, Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: chain.Affinity}},
			dnat(12))
		elements = append(elements, nftables.SetElement{
			Key: binaryutil.NativeEndian.PutUint32(uint32(i)), VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: one.Name},
		})
	}
	if err := c.AddSet(choice, elements); err != nil {
		return err
	}
	t.rule(c, to, choose(len(chain.Endpoints)), []expr.Any{&expr.Lookup{SourceRegister: 1, IsDestRegSet: true, SetName: choice.Name, SetID: choice.ID}})
	return nil
}

func stickyName(chain Chain, i int) string { return fmt.Sprintf("%s-%d", chain.Name, i) }

func (t *table) delChain(c *nftables.Conn, chain Chain, affinity map[string]*nftables.Set) {
	c.DelChain(&nftables.Chain{Table: t.table, Name: chain.Name})
	if seen, ok := affinity[chain.Name]; ok {
		for i := range chain.Endpoints {
			c.DelChain(&nftables.Chain{Table: t.table, Name: stickyName(chain, i)})
		}
		c.DelSet(seen)
		delete(affinity, chain.Name)
	}
}

func target(e netip.AddrPort) []byte { return append(e.Addr().AsSlice(), port(e.Port())...) }

func (t *table) rule(c *nftables.Conn, chain *nftables.Chain, parts ...[]expr.Any) {
	c.AddRule(&nftables.Rule{Table: t.table, Chain: chain, Exprs: slices.Concat(parts...)})
}
