package balancer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/sslpolicy"
)

// protocolTLS is that of listeners and groups of network load balancers.
const protocolTLS = "TLS"

// tcpIdle is how long a connection may say nothing where no attribute tells.
const tcpIdle = 350 * time.Second

// alpn are the protocols that each ALPN policy offers.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-listeners.html#alpn-policies
var alpn = map[string][]string{
	"HTTP1Only":      {"http/1.1", "http/1.0"},
	"HTTP2Only":      {"h2"},
	"HTTP2Optional":  {"http/1.1", "http/1.0", "h2"},
	"HTTP2Preferred": {"h2", "http/1.1", "http/1.0"},
}

// streamPort is a port that this process serves.
type streamPort struct {
	listener *conduit.Listener
	// stop ends accepting; done is closed when it has ended.
	stop context.CancelFunc
	done chan struct{}
}

func (in *instance) newStreams() *conduit.Server {
	return conduit.NewServer(func(ctx context.Context, own netip.Addr, client, target netip.AddrPort) (net.Conn, error) {
		return in.b.cfg.Forwarder.Connect(ctx, in.id, own, client, target)
	}, &in.stats, in.b.cfg.Log.With("loadBalancer", in.id))
}

// streams tells whether a listener's bytes must be read or written.
func (in *instance) streams(l balance.Listener) bool {
	if l.Protocol == protocolTLS {
		return true
	}
	for _, w := range forwardsTo(l) {
		if g := in.groups[w.TargetGroupARN]; g != nil && proxies(g.spec) {
			return true
		}
	}
	return false
}

// proxies tells whether a group's targets are told their clients by the proxy
// protocol.
func proxies(g balance.TargetGroup) bool { return g.Attributes["proxy_protocol_v2.enabled"] == "true" }

// streamTables are what the ports do that this process serves.
func (in *instance) streamTables() (map[int32]*conduit.Table, error) {
	lb := in.forwarding.spec
	out := map[int32]*conduit.Table{}
	for _, l := range lb.Listeners {
		if !in.streams(l) {
			continue
		}
		t := &conduit.Table{Idle: tcpIdle, Sticky: sticky(l), Pools: map[netip.Addr][]conduit.Pool{}}
		if n := idleSeconds(l); n > 0 {
			t.Idle = time.Duration(n) * time.Second
		}
		t.Nodes = in.counters(&in.plain)
		if l.Protocol == protocolTLS {
			t.Nodes = in.counters(&in.nodes)
			policy, ok := sslpolicy.Lookup(l.SSLPolicy)
			if !ok {
				return nil, fmt.Errorf("listener on port %d: SSL policy %q is unknown", l.Port, l.SSLPolicy)
			}
			t.TLS = &conduit.TLS{Policy: policy, Certificates: sni.New(l.Certificate, l.Certificates), Names: l.CertificateARNs, Protocols: alpn[l.ALPNPolicy]}
			if in.log != nil {
				t.Sessions, t.Listener = in.log.Secure(), l.ID
			}
		}
		for _, eni := range lb.Interfaces {
			address, err := netip.ParsePrefix(eni.Address)
			if err != nil {
				return nil, fmt.Errorf("interface %s: %w", eni.ID, err)
			}
			t.Pools[address.Addr()] = in.streamPools(l, eni.Zone)
		}
		out[l.Port] = t
	}
	return out, nil
}

func (in *instance) streamPools(l balance.Listener, zone string) []conduit.Pool {
	var pools []conduit.Pool
	for _, w := range forwardsTo(l) {
		g := in.groups[w.TargetGroupARN]
		if g == nil {
			continue
		}
		p := conduit.Pool{
			Name: g.spec.ARN, Weight: int(w.Weight), Targets: in.pool(g, zone), Preserve: preserves(g.spec),
			BySource: g.spec.Attributes["stickiness.enabled"] == "true",
		}
		if proxies(g.spec) {
			p.Header = conduit.ProxyV2
		}
		if g.spec.Protocol == protocolTLS {
			p.TLS = targetTLS
		}
		pools = append(pools, p)
	}
	return pools
}

// targetTLS is shared by all targets of network load balancers: 0 keeps the
// standard library's number of sessions.
var targetTLS = targetConfig(0)

// openStreams makes ports do what tables say, and opens those that are not.
func (in *instance) openStreams(ctx context.Context, tables map[int32]*conduit.Table) error {
	f := in.forwarding
	for port, t := range tables {
		if p := f.ports[port]; p != nil {
			select {
			case <-p.done:
				// Accepting failed: it is opened anew.
			default:
				p.listener.Swap(t)
				continue
			}
		}
		nl, err := in.b.cfg.Place.Listen(ctx, in.id, port)
		if err != nil {
			return fmt.Errorf("listener on port %d: %w", port, err)
		}
		f.ports[port] = in.serveStreams(nl, f.streams.NewListener(t), port)
	}
	return nil
}

func (in *instance) serveStreams(nl net.Listener, l *conduit.Listener, port int32) *streamPort {
	ctx, cancel := context.WithCancel(in.ctx)
	p := &streamPort{listener: l, stop: cancel, done: make(chan struct{})}
	in.wg.Go(func() {
		defer close(p.done)
		if err := l.Serve(ctx, nl); err != nil {
			in.b.cfg.Log.Error("listener failed", "loadBalancer", in.id, "port", port, "error", err)
			in.b.cfg.Changed(in.id) // to be opened again
		}
	})
	return p
}

// closeStreams ends accepting at ports that have no table. Their connections go
// on.
func (f *forwarding) closeStreams(tables map[int32]*conduit.Table) {
	for port, p := range f.ports {
		if tables[port] == nil {
			p.stop()
			<-p.done
			delete(f.ports, port)
		}
	}
}

// shutdown ends all connections that this process carries, when ctx ends at the
// latest.
func (f *forwarding) shutdown(ctx context.Context) {
	f.writing.Lock()
	f.closeStreams(nil)
	f.writing.Unlock()
	f.streams.Shutdown(ctx)
}

// announce makes connections that begin with a header of the proxy protocol
// which says that they are the load balancer's own.
func announce(dial l7.Dial) l7.Dial {
	return func(ctx context.Context, address string) (net.Conn, error) {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		if _, err := c.Write(conduit.LocalHeader()); err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	}
}
