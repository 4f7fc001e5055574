package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
)

// refuseChain answers that nobody is there.
const refuseChain = "refuse"

// stage of a packet's way at which frontends are looked up.
type stage struct {
	name     string
	byPlace  map[Place]*nftables.Set // verdict maps
	verdicts func(Front) (expr.Verdict, bool)
}

// table is one family's, and the model of what is in it.
type table struct {
	family
	*model
	pods    []netip.Prefix // of all nodes
	options []nftables.ConnOption

	nft       *nftables.Table
	stages    []*stage // traffic, missed, firewall
	own       *nftables.Set
	hairpin   *nftables.Set
	installed bool
}

func tableName(clusterID string) string { return "proa-svc-" + clusterID }

func newTable(f family, clusterID string, pods []netip.Prefix, options ...nftables.ConnOption) *table {
	nft := &nftables.Table{Family: f.table, Name: tableName(clusterID)}
	t := &table{
		family: f, model: newModel(), pods: f.only(pods), nft: nft,
		own:     &nftables.Set{Table: nft, Name: "cluster_addresses", KeyType: f.addr},
		hairpin: &nftables.Set{Table: nft, Name: "hairpin", Concatenation: true, KeyType: nftables.MustConcatSetType(f.addr, f.addr)},
		// A large cluster's first transaction is megabytes, and so are its answers.
		options: append(options, nftables.WithSockOptions(func(c *netlink.Conn) error {
			return errors.Join(c.SetWriteBuffer(maxTransaction), c.SetReadBuffer(maxTransaction))
		})),
	}
	t.stages = []*stage{
		t.newStage("services", Front.traffic),
		t.newStage("missed", Front.missed),
		t.newStage("firewall", Front.filtered),
	}
	return t
}

// maxTransaction is a bound for socket buffers, in bytes: room for tens of
// thousands of services. Memory is taken only as it is used.
const maxTransaction = 128 << 20

func (t *table) newStage(name string, verdicts func(Front) (expr.Verdict, bool)) *stage {
	verdictMap := func(name string, key nftables.SetDatatype) *nftables.Set {
		return &nftables.Set{Table: t.nft, Name: name, IsMap: true, Concatenation: true, KeyType: key, DataType: nftables.TypeVerdict}
	}
	return &stage{name: name, verdicts: verdicts, byPlace: map[Place]*nftables.Set{
		AtAddress:      verdictMap(name, t.frontendType()),
		AtNode:         verdictMap(name+"_node_ports", portType),
		AtLoadBalancer: verdictMap(name+"_balancers", portType),
	}}
}

func (f Front) traffic() (expr.Verdict, bool) {
	return expr.Verdict{Kind: expr.VerdictGoto, Chain: f.chain()}, f.chain() != ""
}

func (f Front) missed() (expr.Verdict, bool) {
	switch f.Missed {
	case Refuse:
		return expr.Verdict{Kind: expr.VerdictGoto, Chain: refuseChain}, true
	case Drop:
		return expr.Verdict{Kind: expr.VerdictDrop}, true
	}
	return expr.Verdict{}, false
}

func (f Front) filtered() (expr.Verdict, bool) {
	return expr.Verdict{Kind: expr.VerdictGoto, Chain: f.firewall()}, f.Allow != ""
}

// sync brings the kernel's table to what the model says, in one transaction. A
// table that somebody else has changed is laid anew.
func (t *table) sync() error {
	if t.installed && !t.changed() {
		return nil
	}
	err := t.transact()
	if err != nil && t.installed {
		t.installed = false
		t.forget()
		err = t.transact()
	}
	if err != nil {
		return fmt.Errorf("table %s: %w", t.nft.Name, err)
	}
	t.installed = true
	t.commit()
	return nil
}

func (t *table) transact() error {
	conn, err := nftables.New(t.options...)
	if err != nil {
		return err
	}
	c := &transaction{Conn: conn, table: t}
	if !t.installed {
		t.forget()
		c.install()
	}
	c.update()
	if c.err != nil {
		return c.err
	}
	return conn.Flush()
}

// Remove takes a cluster's tables off the machine.
func Remove(clusterID string) error {
	var failed []error
	for _, f := range []family{ipv4, ipv6} {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		t := &nftables.Table{Family: f.table, Name: tableName(clusterID)}
		c.AddTable(t) // so that deleting it can't fail
		c.DelTable(t)
		failed = append(failed, c.Flush())
	}
	return errors.Join(failed...)
}

// transaction collects messages for one table.
type transaction struct {
	*nftables.Conn
	*table
	err error
}

// install replaces the table by one with its hooks and nothing else.
func (c *transaction) install() {
	c.AddTable(c.nft) // so that deleting it can't fail
	c.DelTable(c.nft)
	c.AddTable(c.nft)
	sets := []*nftables.Set{c.own, c.table.hairpin}
	for _, s := range c.stages {
		for _, place := range places {
			sets = append(sets, s.byPlace[place])
		}
	}
	for _, s := range sets {
		s.ID = 0 // another one than in the last transaction
		c.addSet(s)
	}
	c.addHooks()
}

var places = []Place{AtAddress, AtNode, AtLoadBalancer}

// update adds what others refer to before them, and removes it after.
func (c *transaction) update() {
	addClients, oldClients := c.clients.changes()
	addPools, oldPools := c.pools.changes()
	addExternals, oldExternals := c.externals.changes()
	addFirewalls, oldFirewalls := c.firewalls.changes()
	for name := range addClients {
		c.addSet(c.clientSet(name))
	}
	for _, p := range addPools {
		c.addPool(p)
	}
	for name, e := range addExternals {
		c.addExternal(name, e)
	}
	for name, ranges := range addFirewalls {
		c.addFirewall(name, ranges)
	}
	c.updateFronts()
	c.updateSet(c.table.own, c.model.own, addrKey)
	c.updateSet(c.table.hairpin, c.local, func(a netip.Addr) []byte { return slices.Concat(addrKey(a), addrKey(a)) })
	for name := range oldFirewalls {
		c.delChain(name)
	}
	for name := range oldExternals {
		c.delChain(name)
	}
	for _, p := range oldPools {
		c.delPool(p)
	}
	for name := range oldClients {
		c.DelSet(&nftables.Set{Table: c.nft, Name: name})
	}
}

func addrKey(a netip.Addr) []byte { return a.AsSlice() }

// updateFronts takes entries out before it puts others in: one that moves to
// another chain is both.
func (c *transaction) updateFronts() {
	add, remove := c.fronts.changes()
	for _, s := range c.stages {
		for _, place := range places {
			out, in := s.elements(remove, place), s.elements(add, place)
			for key, e := range out {
				if same, ok := in[key]; ok && *same.VerdictData == *e.VerdictData {
					delete(out, key)
					delete(in, key)
				}
			}
			c.delElements(s.byPlace[place], slices.Collect(maps.Values(out)))
			c.addElements(s.byPlace[place], slices.Collect(maps.Values(in)))
		}
	}
}

// elements of a stage's map for one place.
func (s *stage) elements(fronts map[Frontend]Front, place Place) map[string]nftables.SetElement {
	found := map[string]nftables.SetElement{}
	for at, f := range fronts {
		if v, ok := s.verdicts(f); ok && at.Place == place {
			found[string(frontendKey(at))] = nftables.SetElement{Key: frontendKey(at), VerdictData: &v}
		}
	}
	return found
}

func (c *transaction) updateSet(s *nftables.Set, p *parts[netip.Addr, none], key func(netip.Addr) []byte) {
	add, remove := p.changes()
	elements := func(addrs map[netip.Addr]none) (all []nftables.SetElement) {
		for a := range addrs {
			all = append(all, nftables.SetElement{Key: key(a)})
		}
		return all
	}
	c.delElements(s, elements(remove))
	c.addElements(s, elements(add))
}

// perMessage: the list of elements in a message may have 64 KiB.
const perMessage = 200

func (c *transaction) addElements(s *nftables.Set, elements []nftables.SetElement) {
	for part := range slices.Chunk(elements, perMessage) {
		c.note(c.SetAddElements(s, part))
	}
}

func (c *transaction) delElements(s *nftables.Set, elements []nftables.SetElement) {
	for part := range slices.Chunk(elements, perMessage) {
		c.note(c.SetDeleteElements(s, part))
	}
}

func (c *transaction) addSet(s *nftables.Set) { c.note(c.AddSet(s, nil)) }

func (c *transaction) addChain(name string) *nftables.Chain {
	return c.AddChain(&nftables.Chain{Table: c.nft, Name: name})
}

func (c *transaction) delChain(name string) {
	c.DelChain(&nftables.Chain{Table: c.nft, Name: name})
}

func (c *transaction) rule(chain *nftables.Chain, parts ...exprs) {
	c.AddRule(&nftables.Rule{Table: c.nft, Chain: chain, Exprs: slices.Concat(parts...)})
}

func (c *transaction) note(err error) { c.err = errors.Join(c.err, err) }
