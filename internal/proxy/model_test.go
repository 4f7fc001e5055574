package proxy

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// However services came to be as they are, the table says the same as one that
// never saw anything else, and refers to nothing that is not there.
func TestOnlyTheLastWordCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, last := newModel(), map[string]*v1.Service{}
		endpoints := map[string][]string{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "service")
			s := service(name, fmt.Sprintf("10.43.0.%d", name[0]))
			if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
				s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
			}
			for _, change := range rapid.SliceOf(rapid.SampledFrom([]func(*v1.Service){nodePort, localOnly, sticky, balancer(), balancer("192.0.2.0/24")})).Draw(t, "changes") {
				change(s)
			}
			last[name] = s
			endpoints[name] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{podAddr(0), podAddr(1), podAddr(2) + "@there"}), 0, 3, rapid.ID).Draw(t, "endpoints")
			m.put(name, name, Compile(s, slicesFor(endpoints[name]), here).of(ipv4))
			if rapid.Bool().Draw(t, "sync") {
				checkReferences(t, m)
				m.commit()
			}
		}
		checkReferences(t, m)
		m.commit()
		fresh := newModel()
		for name, s := range last {
			fresh.put(name, name, Compile(s, slicesFor(endpoints[name]), here).of(ipv4))
		}
		fresh.commit()
		if !reflect.DeepEqual(m.fronts.have, fresh.fronts.have) || !reflect.DeepEqual(m.pools.have, fresh.pools.have) {
			t.Fatalf("fronts %v\nwant %v\npools %v\nwant %v", m.fronts.have, fresh.fronts.have, m.pools.have, fresh.pools.have)
		}
		if !maps.Equal(m.externals.have, fresh.externals.have) || !maps.Equal(m.firewalls.have, fresh.firewalls.have) ||
			!maps.Equal(m.clients.have, fresh.clients.have) || !maps.Equal(m.own.have, fresh.own.have) || !maps.Equal(m.local.have, fresh.local.have) {
			t.Fatalf("%+v\nwant %+v", m, fresh)
		}
	})
}

func checkReferences(t *rapid.T, m *model) {
	for at, f := range m.fronts.want {
		for _, name := range []string{f.Pool, f.Inside} {
			if _, ok := m.pools.want[name]; name != "" && !ok {
				t.Fatalf("%v goes to pool %s, which is not there", at, name)
			}
		}
		if e, ok := f.external(); ok && m.externals.want[e.Name()] != e {
			t.Fatalf("%v goes by %v, which is not there", at, e)
		}
		if f.Allow != "" && m.firewalls.want[f.firewall()] != f.Allow {
			t.Fatalf("%v is guarded by %s, which is not there", at, f.firewall())
		}
	}
	for name, p := range m.pools.want {
		if _, ok := m.clients.want[p.Clients]; p.Clients != "" && !ok {
			t.Fatalf("%s remembers in %s, which is not there", name, p.Clients)
		}
	}
}
