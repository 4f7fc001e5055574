package proxy

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// addPool sends packets on to one of the endpoints, by chance or as before.
func (c *transaction) addPool(p Pool) {
	chain := c.addChain(p.Name)
	if p.Clients != "" {
		c.addKnownClients(chain, p)
	}
	targets := c.targets(p)
	c.addSet(targets)
	elements := make([]nftables.SetElement, len(p.Endpoints))
	for i, e := range p.Endpoints {
		elements[i] = nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: targetKey(e)}
	}
	c.addElements(targets, elements)
	chosen := exprs{choose(len(p.Endpoints)), answer(targets, regIndex, regKey)}
	if p.Clients != "" {
		c.rule(chain, chosen, c.learn(p), exprs{c.dnat()})
	}
	// Of a sticky pool these are the clients that there was no room to remember.
	c.rule(chain, chosen, exprs{c.dnat()})
}

func (c *transaction) delPool(p Pool) {
	c.delChain(p.Name)
	c.DelSet(c.targets(p))
	if p.Clients != "" {
		c.DelSet(c.alive(p))
	}
}

// targets of a pool by number, and alive, those of a sticky pool by themselves.
// They have names, since the library fills anonymous sets by one message, which
// holds a thousand endpoints and no more; and their size is told, for that gets
// the kernel's small kind of hash table instead of one that grows.
func (c *transaction) targets(p Pool) *nftables.Set {
	return &nftables.Set{
		Table: c.nft, Name: "targets-" + p.Name, Constant: true, IsMap: true, Size: uint32(len(p.Endpoints)),
		KeyType: nftables.TypeInteger, KeyByteOrder: binaryutil.NativeEndian, DataType: c.targetType(),
	}
}

func (c *transaction) alive(p Pool) *nftables.Set {
	return &nftables.Set{Table: c.nft, Name: "alive-" + p.Name, Constant: true, Concatenation: true, KeyType: c.targetType(), Size: uint32(len(p.Endpoints))}
}

func (c *transaction) clientSet(name string) *nftables.Set {
	return &nftables.Set{
		Table: c.nft, Name: name, IsMap: true, Dynamic: true, HasTimeout: true, Size: maxClients,
		KeyType: c.addr, DataType: c.targetType(),
	}
}

// maxClients of one service's port that are remembered.
const maxClients = 65535

// Operations of a dynset besides those that the library names (nf_tables.h).
const dynsetDelete = 2

// dynset changes what is known of the client in regClient: that it has the
// endpoint in regKey.
func dynset(p Pool, operation uint32, timeout time.Duration) expr.Any {
	return &expr.Dynset{SrcRegKey: regClient, SrcRegData: regKey, SetName: p.Clients, Operation: operation, Timeout: timeout}
}

// learn that a client has another endpoint now. An update alone would leave it
// the one that it had. What is deleted stays in the kernel's table until it is
// swept, each second, and 16 of one client are the most that fit: so this is for a
// client that is new or has lost its endpoint, and not for every connection.
func (c *transaction) learn(p Pool) exprs {
	return exprs{c.load(c.source, regClient), dynset(p, dynsetDelete, 0), dynset(p, unix.NFT_DYNSET_OP_UPDATE, p.Affinity)}
}

// addKnownClients sends a client to the endpoint it had, if that is still there,
// and remembers it anew with each connection.
func (c *transaction) addKnownClients(chain *nftables.Chain, p Pool) {
	alive := c.alive(p)
	elements := make([]nftables.SetElement, len(p.Endpoints))
	for i, e := range p.Endpoints {
		elements[i] = nftables.SetElement{Key: targetKey(e)}
	}
	c.addSet(alive)
	c.addElements(alive, elements)
	c.rule(chain,
		exprs{c.load(c.source, regClient), answer(&nftables.Set{Name: p.Clients}, regClient, regKey), in(alive, regKey)},
		exprs{dynset(p, unix.NFT_DYNSET_OP_UPDATE, p.Affinity), c.dnat()})
}

// addExternal: see Front.
func (c *transaction) addExternal(name string, e External) {
	chain := c.addChain(name)
	if e.Inside != "" {
		for _, pods := range c.pods {
			c.rule(chain, c.within(c.source, pods, expr.CmpOpEq), jump(expr.VerdictGoto, e.Inside))
		}
		c.rule(chain, fromThisNode(), mark(true), jump(expr.VerdictGoto, e.Inside))
	}
	switch {
	case e.Pool == "":
	case e.Masquerade:
		c.rule(chain, mark(true), jump(expr.VerdictGoto, e.Pool))
	default:
		c.rule(chain, jump(expr.VerdictGoto, e.Pool))
	}
}

// addFirewall lets only some sources through.
func (c *transaction) addFirewall(name, ranges string) {
	chain := c.addChain(name)
	for text := range strings.SplitSeq(ranges, ",") {
		c.rule(chain, c.within(c.source, netip.MustParsePrefix(text), expr.CmpOpEq), jump(expr.VerdictReturn, ""))
	}
	c.rule(chain, jump(expr.VerdictDrop, ""))
}

// addHooks makes the base chains, where packets enter the table.
func (c *transaction) addHooks() {
	tcp, other := c.reject()
	refuse := c.addChain(refuseChain)
	c.rule(refuse, isTCP(), tcp)
	c.rule(refuse, other)

	traffic, missed, firewall := c.stages[0], c.stages[1], c.stages[2]
	chain := c.base("firewall", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, beforeNAT)
	c.lookUp(chain, firewall, isNew())
	c.base("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	c.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	for _, name := range []string{"prerouting", "output"} {
		chain := &nftables.Chain{Table: c.nft, Name: name}
		c.rule(chain, c.fromOutside(), exprs{c.load(c.destination, regKey), in(c.table.own, regKey)}, mark(true))
		c.lookUp(chain, traffic, nil)
	}
	for name, hook := range map[string]*nftables.ChainHook{
		"missed_forward": nftables.ChainHookForward, "missed_input": nftables.ChainHookInput, "missed_output": nftables.ChainHookOutput,
	} {
		c.lookUp(c.base(name, nftables.ChainTypeFilter, hook, beforeFilter), missed, isNew())
	}
	post := c.base("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	c.rule(post, isMarked(), mark(false), masquerade())
	// A pod that reaches itself by a service must not see its own address, or it
	// would answer itself past the translation.
	c.rule(post, exprs{c.load(c.source, regKey), c.load(c.destination, regKey+c.registers()), in(c.table.hairpin, regKey)}, masquerade())
}

var (
	beforeNAT    = nftables.ChainPriorityRef(*nftables.ChainPriorityNATDest - 10)
	beforeFilter = nftables.ChainPriorityRef(*nftables.ChainPriorityFilter - 10) // the network's rule for addresses that nobody has
)

func (c *transaction) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return c.AddChain(&nftables.Chain{Table: c.nft, Name: name, Type: kind, Hooknum: hook, Priority: priority})
}

// fromOutside: not from a pod, nor by the node's pod address.
func (c *transaction) fromOutside() (all exprs) {
	for _, pods := range c.pods {
		all = append(all, c.within(c.source, pods, expr.CmpOpNeq)...)
	}
	return all
}

// lookUp a packet in the three maps of a stage.
func (c *transaction) lookUp(chain *nftables.Chain, s *stage, first exprs) {
	verdict := func(p Place) exprs { return exprs{answer(s.byPlace[p], regKey, 0)} }
	c.rule(chain, first, c.loadFrontend(), verdict(AtAddress))
	c.rule(chain, first, toThisNode(), loadPort(regKey), verdict(AtNode))
	c.rule(chain, first, c.within(c.destination, c.loopback, expr.CmpOpNeq), toThisNode(), loadPort(regKey), verdict(AtLoadBalancer))
}
