package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func zone(_ context.Context, vpcID, name string) ([]netip.Addr, bool, error) {
	switch vpcID + " " + name {
	case "vpc-1 web.us-east-1.elb.localhost":
		return []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.1.4")}, true, nil
	case "vpc-1 empty.localhost":
		return nil, true, nil
	case "vpc-1 broken.localhost":
		return nil, false, errors.New("the store is closed")
	}
	return nil, false, nil
}

// serve starts a resolver on a loopback port, over UDP and TCP.
func serve(t *testing.T, h dns.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: h}, {PacketConn: p, Handler: h}} {
		up, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { defer close(done); _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown(); <-done })
	}
	return l.Addr().String()
}

func ask(t *testing.T, server, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 5 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype), server)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addrs(m *dns.Msg) map[string]bool {
	out := map[string]bool{}
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out[a.A.String()] = true
		}
	}
	return out
}

func TestResolver(t *testing.T) {
	upstream := serve(t, dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		_, tcp := w.RemoteAddr().(*net.TCPAddr)
		switch {
		case q.Question[0].Name == "long.example." && !tcp:
			m.Truncated = true
		case q.Question[0].Name == "none.example.":
			m.Rcode = dns.RcodeNameError
		default:
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
		}
		_ = w.WriteMsg(m)
	}))
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dead.Close() }()
	r := New(Config{
		Zone: zone, Timeout: 200 * time.Millisecond,
		Upstreams: func() []string { return []string{dead.LocalAddr().String(), upstream} },
	})
	one, two := serve(t, r.Handler("vpc-1")), serve(t, r.Handler("vpc-2"))

	tests := []struct {
		name, server, network, query string
		qtype                        uint16
		rcode                        int
		want                         map[string]bool
	}{
		{"a name of the VPC", one, "udp", "web.us-east-1.elb.localhost.", dns.TypeA, dns.RcodeSuccess, map[string]bool{"10.0.0.4": true, "10.0.1.4": true}},
		{"in any case, over TCP", one, "tcp", "WEB.us-east-1.ELB.localhost.", dns.TypeA, dns.RcodeSuccess, map[string]bool{"10.0.0.4": true, "10.0.1.4": true}},
		{"it has no IPv6 address", one, "udp", "web.us-east-1.elb.localhost.", dns.TypeAAAA, dns.RcodeSuccess, map[string]bool{}},
		{"another VPC does not know it", two, "udp", "web.us-east-1.elb.localhost.", dns.TypeA, dns.RcodeNameError, map[string]bool{}},
		{"known, without address", one, "udp", "empty.localhost.", dns.TypeA, dns.RcodeSuccess, map[string]bool{}},
		{"a failed look-up", one, "udp", "broken.localhost.", dns.TypeA, dns.RcodeServerFailure, map[string]bool{}},
		{"forwarded past a dead resolver", one, "udp", "www.example.", dns.TypeA, dns.RcodeSuccess, map[string]bool{"192.0.2.1": true}},
		{"forwarded over TCP", one, "tcp", "long.example.", dns.TypeA, dns.RcodeSuccess, map[string]bool{"192.0.2.1": true}},
		{"upstream's refusal is passed on", one, "tcp", "none.example.", dns.TypeA, dns.RcodeNameError, map[string]bool{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := ask(t, tt.server, tt.network, tt.query, tt.qtype)
			if m.Rcode != tt.rcode {
				t.Errorf("rcode %s, want %s", dns.RcodeToString[m.Rcode], dns.RcodeToString[tt.rcode])
			}
			if diff := cmp.Diff(tt.want, addrs(m)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("what is truncated stays so over UDP", func(t *testing.T) {
		if !ask(t, one, "udp", "long.example.", dns.TypeA).Truncated {
			t.Error("the client is not told to ask over TCP")
		}
	})
	t.Run("addresses take turns", func(t *testing.T) {
		first := map[string]bool{}
		for range 4 {
			m := ask(t, one, "udp", "web.us-east-1.elb.localhost.", dns.TypeA)
			first[m.Answer[0].(*dns.A).A.String()] = true
		}
		if len(first) != 2 {
			t.Errorf("only %v come first", first)
		}
	})
}

// A zone knows who asks, over both protocols.
func TestZoneKnowsItsClient(t *testing.T) {
	r := New(Config{Zone: func(ctx context.Context, _, _ string) ([]netip.Addr, bool, error) {
		return []netip.Addr{Client(ctx)}, true, nil
	}})
	server := serve(t, r.Handler("vpc-1"))
	for _, network := range []string{"udp", "tcp"} {
		if got := addrs(ask(t, server, network, "web.example.", dns.TypeA)); !got["127.0.0.1"] {
			t.Errorf("over %s it is %v", network, got)
		}
	}
	if Client(t.Context()).IsValid() {
		t.Error("nobody has an address")
	}
}

func TestNoResolverAnswers(t *testing.T) {
	r := New(Config{Zone: zone})
	q := new(dns.Msg).SetQuestion("www.example.", dns.TypeA)
	if m := r.Answer(t.Context(), "vpc-1", q, false); m.Rcode != dns.RcodeServerFailure || m.Id != q.Id {
		t.Errorf("got %v", m)
	}
}

func TestHostResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	get := HostResolvers(path)
	if got := get(); got != nil {
		t.Errorf("of no file: %v", got)
	}
	if err := os.WriteFile(path, []byte("search x\nnameserver 192.0.2.53\nnameserver 2001:db8::1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"192.0.2.53:53", "[2001:db8::1]:53"}, get()); diff != "" {
		t.Error(diff)
	}
}

// Any message gets an answer to it.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.us-east-1.elb.localhost.", "x.", "."} {
		b, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r := New(Config{Zone: zone})
	f.Fuzz(func(t *testing.T, b []byte) {
		q := new(dns.Msg)
		if q.Unpack(b) != nil {
			return
		}
		m := r.Answer(t.Context(), "vpc-1", q, false)
		if m == nil || m.Id != q.Id || !m.Response {
			t.Errorf("%v got %v", q, m)
		}
	})
}
