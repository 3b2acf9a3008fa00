// Package dns is the resolver inside VPCs: it knows the names of what is in
// them and asks the host's resolvers for the rest.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Zone looks up a name, lower-case and without its final dot, as seen from a
// VPC. known is false for names that are not ours: they are asked for
// elsewhere. A known name may have no address.
type Zone func(ctx context.Context, vpcID, name string) (addrs []netip.Addr, known bool, err error)

type clientKey struct{}

// WithClient makes a context in which a Zone knows who asks.
func WithClient(ctx context.Context, client netip.Addr) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// Client is the address of who asks a Zone; the zero address where that is not
// known.
func Client(ctx context.Context) netip.Addr {
	a, _ := ctx.Value(clientKey{}).(netip.Addr)
	return a
}

// ErrOff is a Zone's answer for VPCs that have turned their resolver off.
var ErrOff = errors.New("the VPC has no DNS support")

// Config of a Resolver.
type Config struct {
	Zone Zone
	// Upstreams are the addresses with ports of the resolvers to ask; see
	// HostResolvers.
	Upstreams func() []string
	// Timeout bounds one question to one resolver; 0 means 2 s.
	Timeout time.Duration
	Log     *slog.Logger
}

// Resolver answers the questions of VPCs. Safe for concurrent use.
type Resolver struct {
	cfg  Config
	next atomic.Uint32
}

// ttl of our own answers. They change when load balancers do.
const ttl = 5

// New makes a Resolver.
func New(cfg Config) *Resolver {
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Upstreams == nil {
		cfg.Upstreams = func() []string { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Resolver{cfg: cfg}
}

// Handler answers the questions of one VPC.
func (r *Resolver) Handler(vpcID string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		ctx, cancel := context.WithTimeout(context.Background(), 4*r.cfg.Timeout)
		defer cancel()
		_, tcp := w.RemoteAddr().(*net.TCPAddr)
		if from, err := netip.ParseAddrPort(w.RemoteAddr().String()); err == nil {
			ctx = WithClient(ctx, from.Addr().Unmap())
		}
		m := r.Answer(ctx, vpcID, q, tcp)
		if !tcp {
			size := uint16(dns.MinMsgSize)
			if o := q.IsEdns0(); o != nil {
				size = max(size, o.UDPSize())
			}
			m.Truncate(int(size))
		}
		if err := w.WriteMsg(m); err != nil {
			r.cfg.Log.Debug("answer a DNS question", "vpc", vpcID, "error", err)
		}
	})
}

// Answer answers a question from a VPC.
func (r *Resolver) Answer(ctx context.Context, vpcID string, q *dns.Msg, tcp bool) *dns.Msg {
	if q.Opcode != dns.OpcodeQuery {
		return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)
	}
	if len(q.Question) != 1 {
		return new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
	}
	question := q.Question[0]
	if question.Qclass == dns.ClassINET {
		name := strings.ToLower(strings.TrimSuffix(question.Name, "."))
		addrs, known, err := r.cfg.Zone(ctx, vpcID, name)
		if errors.Is(err, ErrOff) {
			return new(dns.Msg).SetRcode(q, dns.RcodeRefused)
		}
		if err != nil {
			r.cfg.Log.Warn("look up a name of a VPC", "vpc", vpcID, "name", name, "error", err)
			return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
		if known {
			return r.own(q, question, addrs)
		}
		if name == "localhost" || strings.HasSuffix(name, ".localhost") {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		}
	}
	return r.forward(ctx, q, tcp)
}

// own makes an answer of addresses, in an order that turns.
func (r *Resolver) own(q *dns.Msg, question dns.Question, addrs []netip.Addr) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative, m.RecursionAvailable = true, true
	if len(addrs) == 0 {
		return m
	}
	first := int(r.next.Add(1)) % len(addrs)
	for i := range addrs {
		a := addrs[(first+i)%len(addrs)]
		header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET, Ttl: ttl}
		switch {
		case a.Is4() && (question.Qtype == dns.TypeA || question.Qtype == dns.TypeANY):
			header.Rrtype = dns.TypeA
			m.Answer = append(m.Answer, &dns.A{Hdr: header, A: a.AsSlice()})
		case a.Is6() && (question.Qtype == dns.TypeAAAA || question.Qtype == dns.TypeANY):
			header.Rrtype = dns.TypeAAAA
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header, AAAA: a.AsSlice()})
		}
	}
	return m
}

// forward asks the host's resolvers, one after the other, until one answers,
// by the protocol that the question came by: a client that reads that an
// answer was too long for UDP asks again over TCP.
func (r *Resolver) forward(ctx context.Context, q *dns.Msg, tcp bool) *dns.Msg {
	ask := q.Copy()
	ask.Id = dns.Id()
	for _, upstream := range r.cfg.Upstreams() {
		m, err := r.ask(ctx, ask, upstream, tcp)
		if err != nil {
			r.cfg.Log.Debug("ask the host's resolver", "resolver", upstream, "error", err)
			if ctx.Err() != nil {
				break
			}
			continue
		}
		m.Id = q.Id
		return m
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}

func (r *Resolver) ask(ctx context.Context, q *dns.Msg, upstream string, tcp bool) (*dns.Msg, error) {
	c := dns.Client{Net: "udp", Timeout: r.cfg.Timeout}
	if tcp {
		c.Net = "tcp"
	}
	m, _, err := c.ExchangeContext(ctx, q, upstream)
	if err == nil && m == nil {
		err = errors.New("no answer")
	}
	return m, err
}

// HostResolvers reads the resolvers to ask from a file in the form of
// resolv.conf, again for each call, so that changes of the host's network are
// followed. Of an unreadable file there are none.
func HostResolvers(path string) func() []string {
	return func() []string {
		c, err := dns.ClientConfigFromFile(path)
		if err != nil {
			return nil
		}
		var out []string
		for _, s := range c.Servers {
			out = append(out, net.JoinHostPort(s, c.Port))
		}
		return out
	}
}
