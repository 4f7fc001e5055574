package proxy

import (
	"cmp"
	"net/netip"
	"slices"
)

// External is how packets from outside go on to pools, see Front.
type External struct {
	Pool, Inside string
	Masquerade   bool
}

// Name of its chain, by contents.
func (e External) Name() string { return "ext-" + hash(e.Pool, e.Inside, e.Masquerade) }

// none: the key says it all.
type none = struct{}

// model is what the table of one family must say, and which of it is not there
// yet.
type model struct {
	pools     *parts[string, Pool]
	clients   *parts[string, none]
	externals *parts[string, External]
	firewalls *parts[string, string] // by chain: source ranges
	fronts    *parts[Frontend, Front]
	own       *parts[netip.Addr, none]
	local     *parts[netip.Addr, none]

	rules  map[string]ranked // by service
	claims map[Frontend][]claim
}

// claim of a service on a frontend. Several may want one, by their outside
// addresses: the first in order has it until it lets go.
type claim struct {
	order string
	front Front
}

func newModel() *model {
	return &model{
		pools: newParts[string, Pool](nil), clients: newParts[string, none](nil), externals: newParts[string, External](nil),
		firewalls: newParts[string, string](nil), fronts: newParts[Frontend](func(a, b Front) bool { return a == b }),
		own: newParts[netip.Addr, none](nil), local: newParts[netip.Addr, none](nil),
		rules: map[string]ranked{}, claims: map[Frontend][]claim{},
	}
}

// ranked rules of a service.
type ranked struct {
	Rules
	order string
}

// put replaces what a service says; order ranks it where services want the same.
// Added before the old is taken away, what both say is never missed.
func (m *model) put(service, order string, r Rules) {
	m.change(ranked{r, order}, true)
	m.change(m.rules[service], false)
	if len(r.Fronts) == 0 {
		delete(m.rules, service)
		return
	}
	m.rules[service] = ranked{r, order}
}

// change adds what r says, or takes it away.
func (m *model) change(r ranked, add bool) {
	for name, p := range r.Pools {
		m.pools.count(name, p, add)
		if p.Clients != "" {
			m.clients.count(p.Clients, none{}, add)
		}
	}
	for _, a := range r.Own {
		m.own.count(a, none{}, add)
	}
	for _, a := range r.Local {
		m.local.count(a, none{}, add)
	}
	for at, f := range r.Fronts {
		m.claim(at, claim{r.order, f}, add)
	}
}

// claim adds or takes away one, and moves the frontend over if that makes
// another one first.
func (m *model) claim(at Frontend, c claim, add bool) {
	before := m.claims[at]
	after := slices.Clone(before)
	if add {
		i, _ := slices.BinarySearchFunc(after, c, func(a, b claim) int { return cmp.Compare(a.order, b.order) })
		after = slices.Insert(after, i, c)
	} else if i := slices.Index(after, c); i >= 0 {
		after = slices.Delete(after, i, i+1)
	}
	if len(after) == 0 {
		delete(m.claims, at)
	} else {
		m.claims[at] = after
	}
	m.move(at, before, after)
}

func (m *model) move(at Frontend, before, after []claim) {
	if len(after) > 0 {
		m.supports(after[0].front, true)
		m.fronts.set(at, after[0].front)
	} else {
		m.fronts.unset(at)
	}
	if len(before) > 0 {
		m.supports(before[0].front, false)
	}
}

// supports are the chains that a front needs besides its pool.
func (m *model) supports(f Front, add bool) {
	if e, ok := f.external(); ok {
		m.externals.count(e.Name(), e, add)
	}
	if f.Allow != "" {
		m.firewalls.count(f.firewall(), f.Allow, add)
	}
}

// external is false where packets go straight to the pool.
func (f Front) external() (External, bool) {
	e := External{f.Pool, f.Inside, f.Masquerade}
	return e, f.Inside != "" || f.Masquerade && f.Pool != ""
}

// chain that a front's packets are sent to; "" if they are missed.
func (f Front) chain() string {
	if e, ok := f.external(); ok {
		return e.Name()
	}
	return f.Pool
}

func (f Front) firewall() string { return "fw-" + hash(f.Allow) }

// kind is what all kinds of parts can do.
type kind interface {
	changed() bool
	commit()
	forget()
}

func (m *model) kinds() []kind {
	return []kind{m.pools, m.clients, m.externals, m.firewalls, m.fronts, m.own, m.local}
}

func (m *model) changed() bool { return slices.ContainsFunc(m.kinds(), kind.changed) }

// commit: the table says all of it now.
func (m *model) commit() {
	for _, k := range m.kinds() {
		k.commit()
	}
}

// forget: the table says nothing of it.
func (m *model) forget() {
	for _, k := range m.kinds() {
		k.forget()
	}
}
