package balancer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/sslpolicy"
)

const (
	protocolSSL = "SSL"
	// versionClassic is what targets of classic load balancers are checked with.
	versionClassic = "classic"
	classicAgent   = "ELB-HealthChecker/1.0"
)

// compileClassic makes what a classic load balancer's listener does. The
// instance's mu is held.
func (in *instance) compileClassic(lb balance.LoadBalancer, l balance.Listener) (compiled, error) {
	secure, err := classicSecurity(l)
	if err != nil {
		return compiled{}, err
	}
	byAddress, err := in.classicGroups(lb, l)
	if err != nil {
		return compiled{}, err
	}
	var all *l7.Group
	if g := in.groups[l.Classic.Groups[""]]; g != nil {
		all = g.l7
	}
	set := settings(lb, l)
	if l.Protocol == "HTTP" || l.Protocol == protocolHTTPS {
		f := &l7.Forward{ByAddress: byAddress}
		if all != nil {
			f.Groups = []l7.WeightedGroup{{Group: all, Weight: 1}}
		}
		// Its name, and so its ARN, may be another's later.
		set.Classic, set.CookieKey = true, in.cookieKey(lb.ARN+" "+lb.ID)
		t := &l7.Table{Settings: set, TLS: secure, Actions: []l7.Action{{Forward: f}}}
		in.observed(t)
		t.Rules, err = rules.Compile([]rules.Rule{{Default: true}})
		return compiled{requests: t}, err
	}
	t := &conduit.Table{Idle: set.IdleTimeout, Pools: map[netip.Addr][]conduit.Pool{}, Nodes: in.counters(&in.nodes)}
	if in.log != nil {
		t.Log = in.log.Streams()
	}
	lead := func(to netip.Addr, g *l7.Group) {
		p := conduit.Pool{Weight: 1, Group: g}
		if l.Classic.ProxyProtocol {
			p.Header = conduit.ProxyV1
		}
		t.Pools[to] = []conduit.Pool{p}
	}
	if all != nil {
		lead(netip.Addr{}, all)
	}
	for address, g := range byAddress {
		lead(address, g)
	}
	if secure != nil {
		t.TLS = &conduit.TLS{Policy: secure.Policy, Certificates: secure.Certificates}
	}
	return compiled{connections: t}, nil
}

// classicSecurity is how a listener speaks TLS, nil for one that does not.
func classicSecurity(l balance.Listener) (*l7.TLS, error) {
	switch l.Protocol {
	case "HTTP", "TCP":
		return nil, nil //nolint:nilnil // no TLS and no error
	case protocolHTTPS, protocolSSL:
	default:
		return nil, fmt.Errorf("protocol %s is not supported", l.Protocol)
	}
	p := l.Classic.SSL
	if p == nil {
		p = &model.ClassicPolicy{Attributes: []model.ClassicPolicyAttribute{{Name: sslpolicy.Reference, Value: sslpolicy.Default}}}
	}
	n, err := sslpolicy.Negotiate(p.Name, p.Value(sslpolicy.Reference), func(a string) bool { return p.Value(a) == "true" })
	if err != nil {
		return nil, err
	}
	return &l7.TLS{Policy: n.Policy, Certificates: sni.New(l.Certificate, l.Certificates)}, nil
}

// classicGroups are the groups that take what comes to the load balancer's
// addresses, nil when one takes it all.
func (in *instance) classicGroups(lb balance.LoadBalancer, l balance.Listener) (map[netip.Addr]*l7.Group, error) {
	if _, one := l.Classic.Groups[""]; one {
		return nil, nil //nolint:nilnil // no groups of addresses and no error
	}
	out := map[netip.Addr]*l7.Group{}
	for _, n := range lb.Interfaces {
		address, err := netip.ParsePrefix(n.Address)
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", n.ID, err)
		}
		if g := in.groups[l.Classic.Groups[n.Zone]]; g != nil {
			out[address.Addr()] = g.l7
		}
	}
	return out, nil
}

// stickiness is how the clients of a classic load balancer's group are bound.
func stickiness(f *balance.Following) *l7.ClassicStickiness {
	if f == nil || f.Stickiness == nil {
		return nil
	}
	return &l7.ClassicStickiness{AppCookie: f.Stickiness.AppCookie, Lasts: f.Stickiness.Lasts}
}

// healthy tells whether a target counts as healthy: in a group that follows
// another, when the same address is there.
func (g *group) healthy(t *target) bool {
	if f := g.spec.Following; f != nil {
		leader := g.in.groups[f.Group]
		if leader == nil {
			return false
		}
		t = leader.targets[checkedAddress(t.spec.IP)]
	}
	return t != nil && t.state.Status == model.TargetHealthHealthy
}

// checkedAddress is that of an instance among those that are checked.
func checkedAddress(ip string) string {
	return net.JoinHostPort(ip, strconv.Itoa(int(model.ClassicTargetPort)))
}

// publishFollowing publishes the groups that follow the one with the ARN.
func (in *instance) publishFollowing(arn string) {
	for _, g := range in.groups {
		if f := g.spec.Following; f != nil && f.Group == arn {
			g.publish()
		}
	}
}

// abandon gives the instance that t is, which has become unhealthy, up at the
// ports of the listeners of a classic load balancer without connection
// draining: what is under way there ends when the caller closes what is
// returned. The instance's mu is held.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/config-conn-drain.html
func (in *instance) abandon(t *target) (old []*l7.Target) {
	if !t.g.spec.Classic || t.g.spec.Attributes["deregistration_delay.timeout_seconds"] != "0" {
		return nil
	}
	for _, g := range in.groups {
		if f := g.spec.Following; f == nil || f.Group != t.g.spec.ARN {
			continue
		}
		for addr, o := range g.targets {
			if o.spec.IP == t.spec.IP {
				old = append(old, o.l7)
				o.l7 = g.newL7(addr)
			}
		}
		g.publish()
	}
	return old
}

// countCheck counts a check that did not reach a classic load balancer's
// instance among the connections that failed.
func (t *target) countCheck(found checked) {
	t.g.in.mu.Lock()
	defer t.g.in.mu.Unlock()
	if !t.g.spec.Classic || found.node.IsValid() {
		return
	}
	index := 0
	if n := nodeIn(&t.g.in.nodes, t.spec.Zone); n != nil && t.spec.Zone != "" {
		index = n.index
	}
	t.g.l7.At(index).ConnectionErrors.Add(1)
}

// atOtherPorts adds to what is known of a classic load balancer's instances
// what is under way at their ports.
func (in *instance) atOtherPorts(out map[string]map[string]balance.Seen) {
	for _, g := range in.groups {
		if g.spec.Following == nil {
			continue
		}
		leader := in.groups[g.spec.Following.Group]
		if leader == nil {
			continue
		}
		for _, t := range g.targets {
			addr := checkedAddress(t.spec.IP)
			if seen, ok := out[leader.spec.ID][addr]; ok {
				seen.InFlight += t.l7.InFlight()
				out[leader.spec.ID][addr] = seen
			}
		}
	}
}

// errUnknownKey: a target's certificate has none of the keys that it may have.
var errUnknownKey = errors.New("the target's public key is not one of the policy's")

// dialClassic connects to a target as the group's policies of the moment say.
func (g *group) dialClassic(dial l7.Dial) l7.Dial {
	if g.spec.Protocol != protocolHTTPS && g.spec.Protocol != protocolSSL {
		return dial
	}
	secure := overTLS(dial)
	return func(ctx context.Context, address string) (net.Conn, error) {
		c, err := secure(ctx, address)
		if err != nil {
			return nil, err
		}
		g.in.mu.Lock()
		keys := g.spec.Following.PublicKeys
		g.in.mu.Unlock()
		if tc, ok := c.(*tls.Conn); ok && !trusts(keys, tc.ConnectionState().PeerCertificates) {
			_ = c.Close()
			return nil, errUnknownKey
		}
		return c, nil
	}
}

// trusts tells whether a certificate's key is among the keys; without keys any
// certificate is trusted.
func trusts(keys []string, chain []*x509.Certificate) bool {
	if len(keys) == 0 {
		return true
	}
	if len(chain) == 0 {
		return false
	}
	for _, k := range keys {
		if der, ok := publicKey(k); ok && bytes.Equal(der, chain[0].RawSubjectPublicKeyInfo) {
			return true
		}
	}
	return false
}

// publicKey reads a key in PEM, or what stands between PEM's lines.
func publicKey(text string) ([]byte, bool) {
	if b, _ := pem.Decode([]byte(text)); b != nil {
		return b.Bytes, true
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	return der, err == nil
}

// rekeyed tells whether other keys than before are trusted.
func rekeyed(before, after *balance.Following) bool {
	return before != nil && after != nil && !slices.Equal(before.PublicKeys, after.PublicKeys)
}
