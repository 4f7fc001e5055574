package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

const (
	// attempt is how long one upstream has to answer, patience how long all have
	// together: less than a stub resolver waits for us (resolv.conf(5): 5 s).
	attempt  = 2 * time.Second
	patience = 4500 * time.Millisecond
	// maxInFlight questions to upstream; more are refused rather than queued.
	maxInFlight = 1000
	// udpSize that passes everywhere without being cut in pieces (DNS flag day 2020).
	udpSize = 1232
)

var (
	errNoUpstream = errors.New("the node's resolv.conf names no resolver")
	errTooMany    = errors.New("too many questions to upstream")
)

// forwarder asks upstream what is not ours to answer.
type forwarder struct {
	servers *upstreams
	answers *answers
	flights singleflight.Group
	slots   chan struct{}
	now     func() time.Time
}

func newForwarder(servers *upstreams) *forwarder {
	return &forwarder{servers: servers, answers: newAnswers(), slots: make(chan struct{}, maxInFlight), now: time.Now}
}

// ask answers one question from the cache or upstream.
func (f *forwarder) ask(ctx context.Context, q dns.Question, dnssec, noCheck bool) (*dns.Msg, error) {
	if isLocalName(q) {
		return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeNameError}}, nil
	}
	k := cacheKey{strings.ToLower(q.Name), q.Qtype, q.Qclass, dnssec, noCheck}
	if m, ok := f.answers.get(k, f.now()); ok {
		return m, nil
	}
	answer, err, _ := f.flights.Do(fmt.Sprint(k), func() (any, error) {
		m, err := f.exchange(ctx, k)
		if err == nil {
			f.answers.put(k, m, f.now())
		}
		return m, err
	})
	if err != nil {
		return nil, err
	}
	return answer.(*dns.Msg).Copy(), nil
}

// isLocalName: a name of one label is a host's own. Search lists make pods ask
// for many of them, and none of upstream's business is which services we have.
func isLocalName(q dns.Question) bool {
	return (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA) && dns.CountLabel(q.Name) == 1
}

func (f *forwarder) exchange(ctx context.Context, k cacheKey) (*dns.Msg, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, errTooMany
	}
	// The first one who asked may go away; the others still want to know.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	servers := f.servers.get(f.now())
	if len(servers) == 0 {
		return nil, errNoUpstream
	}
	var failures []error
	for i := 0; ctx.Err() == nil && i < 2*len(servers); i++ {
		server := servers[i%len(servers)]
		m, err := exchangeWith(ctx, server, k)
		if err == nil {
			return m, nil
		}
		f.servers.failed(server)
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func exchangeWith(ctx context.Context, server netip.AddrPort, k cacheKey) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	m := new(dns.Msg).SetQuestion(k.name, k.qtype)
	m.Question[0].Qclass = k.qclass
	m.CheckingDisabled = k.noCheck
	m.SetEdns0(udpSize, k.dnssec)
	answer, _, err := (&dns.Client{Net: "udp", UDPSize: udpSize}).ExchangeContext(ctx, m, server.String())
	if err == nil && answer.Truncated {
		answer, _, err = (&dns.Client{Net: "tcp"}).ExchangeContext(ctx, m, server.String())
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", server, err)
	case len(answer.Question) != 1 || !strings.EqualFold(answer.Question[0].Name, k.name) || answer.Question[0].Qtype != k.qtype:
		return nil, fmt.Errorf("ask %s: it answers another question", server)
	case answer.Rcode == dns.RcodeServerFailure || answer.Rcode == dns.RcodeRefused:
		return nil, fmt.Errorf("ask %s: %s", server, dns.RcodeToString[answer.Rcode])
	}
	return answer, nil
}
