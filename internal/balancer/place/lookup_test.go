package place

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"roadstead.dev/internal/network"
)

// A load balancer resolves names by its VPC's resolver.
func TestLookup(t *testing.T) {
	w := newWorld(t)
	p := New(w.n)
	if err := p.Make(t.Context(), w.lb); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Remove(t.Context(), w.lb.ID) })
	l, err := network.ListenIn(t.Context(), w.n.VPCNetns(w.vpc.ID), net.JoinHostPort(network.ResolverAddr.String(), "53"))
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		header := dns.RR_Header{Name: "real.test.", Rrtype: dns.TypeA, Class: dns.ClassINET}
		switch q.Question[0].Name {
		case "idp.test.":
			m.Answer = []dns.RR{
				&dns.CNAME{Hdr: dns.RR_Header{Name: "idp.test.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "real.test."},
				&dns.A{Hdr: header, A: net.IPv4(10, 78, 0, 9)}, &dns.A{Hdr: header, A: net.IPv4(10, 78, 0, 8)},
			}
		case "none.test.":
		default:
			m.SetRcode(q, dns.RcodeNameError)
		}
		_ = rw.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = l.Close(); <-done })
	got, err := p.Lookup(t.Context(), w.lb.ID, "idp.test")
	if want := []netip.Addr{netip.MustParseAddr("10.78.0.9"), netip.MustParseAddr("10.78.0.8")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v", got, err)
	}
	for _, name := range []string{"none.test", "unknown.test"} {
		if got, err := p.Lookup(t.Context(), w.lb.ID, name); err == nil {
			t.Errorf("%s has %v", name, got)
		}
	}
}
