package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Port that resolvers listen on.
const Port = 53

// ttl of cluster names in seconds: short, so that a service that moved is soon
// found, and a name that is not there yet is asked for again.
const ttl = 5

// Config of a Server. All fields are required, but for those that say so.
type Config struct {
	Addr       netip.Addr   // of this node; the server listens here alone
	ServiceIPs []netip.Addr // where pods ask
	Domain     string       // of the cluster
	Own        []netip.Prefix
	ResolvConf string // names the resolvers for all other names
	Informers  informers.SharedInformerFactory
	Log        *slog.Logger
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	_, domain := dns.IsDomainName(c.Domain)
	switch {
	case !c.Addr.IsValid():
		return errors.New("dns: Addr is missing")
	case len(c.ServiceIPs) == 0:
		return errors.New("dns: ServiceIPs are missing")
	case c.Domain == "" || !domain:
		return fmt.Errorf("dns: Domain %q: want a domain name", c.Domain)
	case c.ResolvConf == "" || c.Informers == nil || c.Log == nil:
		return errors.New("dns: ResolvConf, Informers and Log are required")
	}
	return nil
}

// Server answers on UDP and TCP.
type Server struct {
	zone    *Zone
	synced  []cache.InformerSynced
	forward *forwarder
	udp     net.PacketConn
	tcp     net.Listener
	log     *slog.Logger
}

// New listens, and registers with the informers. Nothing is answered before Run.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	catalog, err := newCatalog(c.Informers)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	udp, tcp, err := listen(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	return &Server{
		zone:    &Zone{Domain: c.Domain, Servers: c.ServiceIPs, Own: c.Own, TTL: ttl, Catalog: catalog},
		synced:  catalog.synced,
		forward: newForwarder(&upstreams{path: c.ResolvConf, own: append(slices.Clone(c.ServiceIPs), c.Addr)}),
		udp:     udp, tcp: tcp, log: c.Log,
	}, nil
}

// listen on the resolvers' port, or on any other if somebody has that one on all
// of the node's addresses: pods come by way of the service and never know.
func listen(addr netip.Addr) (net.PacketConn, net.Listener, error) {
	udp, tcp, err := listenOn(netip.AddrPortFrom(addr, Port))
	for range 10 { // a free UDP port need not be a free TCP port
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		udp, tcp, err = listenOn(netip.AddrPortFrom(addr, 0))
	}
	return udp, tcp, err
}

func listenOn(addr netip.AddrPort) (net.PacketConn, net.Listener, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, nil, err
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

// Addr is where it listens.
func (s *Server) Addr() netip.AddrPort { return s.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Run answers until ctx ends. Questions that come before the caches are full
// wait in the socket.
func (s *Server) Run(ctx context.Context) error {
	defer s.udp.Close()
	defer s.tcp.Close()
	if !cache.WaitForCacheSync(ctx.Done(), s.synced...) {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { s.serve(ctx, w, q) })
	servers := []*dns.Server{{PacketConn: s.udp, Handler: handler}, {Listener: s.tcp, Handler: handler}}
	for _, server := range servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		g.Go(server.ActivateAndServe)
		g.Go(func() error {
			<-ctx.Done()
			<-started
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = server.ShutdownContext(bounded) // what is still being answered ends with its sockets
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	return nil
}

func (s *Server) serve(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	answer := s.answer(ctx, q)
	size := dns.MaxMsgSize
	if _, isUDP := w.RemoteAddr().(*net.UDPAddr); isUDP {
		size = dns.MinMsgSize
	}
	if o := q.IsEdns0(); o != nil {
		answer.SetEdns0(udpSize, o.Do())
		size = min(max(size, int(o.UDPSize())), dns.MaxMsgSize)
	}
	answer.Compress = true
	answer.Truncate(size)
	if err := w.WriteMsg(answer); err != nil {
		s.log.Debug("A DNS answer was not sent", "to", w.RemoteAddr(), "err", err)
	}
}

func (s *Server) answer(ctx context.Context, q *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	switch {
	case q.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case len(q.Question) != 1 || q.Question[0].Qclass != dns.ClassINET || isTransfer(q.Question[0].Qtype):
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	question := q.Question[0]
	found, ours := s.zone.Resolve(question)
	if !ours {
		s.fill(reply, s.upstream(ctx, q, question))
		return reply
	}
	reply.Authoritative = true
	reply.Rcode, reply.Answer, reply.Extra = found.Rcode, found.Records, found.Extra
	if found.Outside != "" {
		reply.Authoritative = false
		s.fill(reply, s.upstream(ctx, q, dns.Question{Name: found.Outside, Qtype: question.Qtype, Qclass: question.Qclass}))
		return reply
	}
	if len(reply.Answer) == 0 || reply.Rcode != dns.RcodeSuccess {
		reply.Ns = []dns.RR{s.zone.SOA()}
	}
	shuffle(reply.Answer)
	return reply
}

func isTransfer(qtype uint16) bool { return qtype == dns.TypeAXFR || qtype == dns.TypeIXFR }

// upstream's answer; a failure to get one is one too.
func (s *Server) upstream(ctx context.Context, q *dns.Msg, question dns.Question) *dns.Msg {
	o := q.IsEdns0()
	m, err := s.forward.ask(ctx, question, o != nil && o.Do(), q.CheckingDisabled)
	if err != nil {
		s.log.Debug("A name was not resolved upstream", "name", question.Name, "err", err)
		return &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	}
	return m
}

// fill adds what upstream said to what is known already.
func (s *Server) fill(reply, m *dns.Msg) {
	reply.Rcode = m.Rcode
	reply.AuthenticatedData = m.AuthenticatedData
	reply.Answer = append(reply.Answer, m.Answer...)
	reply.Ns = m.Ns
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			reply.Extra = append(reply.Extra, rr)
		}
	}
}

// shuffle spreads clients that take the first of several addresses. Aliases stay
// in front.
func shuffle(records []dns.RR) {
	first := slices.IndexFunc(records, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeCNAME })
	if first < 0 {
		return
	}
	rest := records[first:]
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
}
