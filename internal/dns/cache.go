package dns

import (
	"math"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxCached entries; beyond it any one makes room for the new one.
	maxCached = 4096
	// Upstream's own lifetimes count up to these bounds (RFC 8767, RFC 2308).
	maxPositive = 5 * time.Minute
	maxNegative = 30 * time.Second
)

// cacheKey is all of a question that an answer depends on.
type cacheKey struct {
	name            string // lower case
	qtype, qclass   uint16
	dnssec, noCheck bool
}

type cached struct {
	answer        *dns.Msg
	since, expiry time.Time
}

// answers is a cache of what upstream said.
type answers struct {
	mu      sync.Mutex
	entries map[cacheKey]cached
}

func newAnswers() *answers { return &answers{entries: map[cacheKey]cached{}} }

// get gives a copy, its lifetimes shortened by the time it was here.
func (c *answers) get(k cacheKey, now time.Time) (*dns.Msg, bool) {
	c.mu.Lock()
	e, ok := c.entries[k]
	if ok && !now.Before(e.expiry) {
		delete(c.entries, k)
		ok = false
	}
	c.mu.Unlock()
	if !ok {
		return nil, false
	}
	m := e.answer.Copy()
	age := uint32(now.Sub(e.since) / time.Second)
	for _, rr := range records(m) {
		h := rr.Header()
		h.Ttl -= min(age, h.Ttl)
	}
	return m, true
}

func (c *answers) put(k cacheKey, m *dns.Msg, now time.Time) {
	life := lifetime(m)
	if life <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, have := c.entries[k]; !have && len(c.entries) >= maxCached {
		for other := range c.entries { // the map's order is as good as any
			delete(c.entries, other)
			break
		}
	}
	c.entries[k] = cached{m.Copy(), now, now.Add(life)}
}

// lifetime of an answer, 0 if it is not to be kept.
func lifetime(m *dns.Msg) time.Duration {
	switch {
	case m.Truncated:
		return 0
	case m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0:
		return min(seconds(shortest(m.Answer)), maxPositive)
	case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok {
				return min(seconds(min(soa.Minttl, soa.Hdr.Ttl)), maxNegative)
			}
		}
	}
	return 0
}

func shortest(records []dns.RR) uint32 {
	ttl := uint32(math.MaxUint32)
	for _, rr := range records {
		ttl = min(ttl, rr.Header().Ttl)
	}
	return ttl
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// records of an answer whose Ttl is a lifetime: OPT's is not.
func records(m *dns.Msg) []dns.RR {
	all := make([]dns.RR, 0, len(m.Answer)+len(m.Ns)+len(m.Extra))
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				all = append(all, rr)
			}
		}
	}
	return all
}
