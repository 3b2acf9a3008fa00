package place

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"roadstead.dev/internal/network"
)

// Lookup resolves a name to IPv4 addresses by the resolver of the load
// balancer's VPC.
func (p *Netns) Lookup(ctx context.Context, lb, host string) ([]netip.Addr, error) {
	// Over TCP, which truncates nothing and loses nothing.
	conn, err := p.Dial(ctx, lb, net.JoinHostPort(network.ResolverAddr.String(), "53"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	q := new(dns.Msg).SetQuestion(dns.Fqdn(host), dns.TypeA)
	m, _, err := new(dns.Client).ExchangeWithConnContext(ctx, q, &dns.Conn{Conn: conn})
	if err != nil {
		return nil, err
	}
	if m.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("%s: %s", host, dns.RcodeToString[m.Rcode])
	}
	var out []netip.Addr
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			if addr, ok := netip.AddrFromSlice(a.A.To4()); ok {
				out = append(out, addr)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New(host + " has no IPv4 address")
	}
	return out, nil
}
