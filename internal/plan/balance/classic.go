package balance

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"roadstead.dev/internal/model"
)

// ClassicListener is what a classic load balancer's listener does.
type ClassicListener struct {
	// Groups are the ARNs of the groups that take what comes to each zone;
	// under "" that which takes all.
	Groups map[string]string
	// SSL is the policy of a listener with TLS, nil for the default one.
	SSL *model.ClassicPolicy
	// ProxyProtocol begins connections to targets with where they come from.
	ProxyProtocol bool
}

// Following is a group of a classic load balancer's listener: its targets are
// the instances at a port of theirs, and as healthy as the instances are.
type Following struct {
	// Group is the ARN of the group whose targets are checked. Both have the
	// same addresses, at other ports.
	Group string
	// Stickiness of the listener, nil for none.
	Stickiness *Stickiness
	// PublicKeys are PEM blocks or bare base64; a target over TLS must have one
	// of them, unless there are none.
	PublicKeys []string
}

// Stickiness is a classic load balancer's: the cookie of the application that
// it follows, or how long its own lasts, 0 for a browser's session.
type Stickiness struct {
	AppCookie string
	Lasts     time.Duration
}

// none of a group's targets need be healthy: a classic load balancer sends
// nothing to one that is not.
const leastHealthy = stateRouting + "count"

// classic gives lb, which was composed of its records, the groups of its
// listeners, and has them forward there.
func (lb *LoadBalancer) classic(in Input) {
	lb.Attributes = with(lb.Attributes, map[string]string{
		"routing.http2.enabled":                     "false",
		"routing.http.preserve_host_header.enabled": "true",
		// Connections end by the idle timeout alone.
		"client_keep_alive.seconds": "604800",
	})
	if len(lb.Groups) == 0 {
		return
	}
	base := &lb.Groups[0]
	base.Attributes = with(base.Attributes, map[string]string{leastHealthy: "0"})
	var made []TargetGroup
	for i := range lb.Listeners {
		l := &lb.Listeners[i]
		rec := listenerOn(in.Listeners, l.Port)
		if rec == nil || rec.Classic == nil {
			continue
		}
		l.Rules = nil
		f, c := listenerPolicies(rec, in.LoadBalancer.Classic)
		f.Group, c.Groups = base.ARN, map[string]string{}
		zones := []string{""}
		if !CrossZone(*lb, *base) {
			zones = nil
			for _, n := range lb.Interfaces {
				zones = append(zones, n.Zone)
			}
		}
		for _, z := range zones {
			g := backend(base, rec, z)
			g.Following = &f
			c.Groups[z] = g.ARN
			made = append(made, g)
		}
		l.Classic = &c
	}
	lb.Groups = append(lb.Groups, made...)
}

func with(a, more map[string]string) map[string]string {
	out := make(map[string]string, len(a)+len(more))
	maps.Copy(out, a)
	maps.Copy(out, more)
	return out
}

func listenerOn(all []*model.Listener, port int32) *model.Listener {
	for _, l := range all {
		if l.Port == port {
			return l
		}
	}
	return nil
}

// listenerPolicies is what the policies of a listener, and of its instances'
// port, say.
func listenerPolicies(l *model.Listener, lb *model.ClassicLoadBalancer) (Following, ClassicListener) {
	var f Following
	var c ClassicListener
	for _, name := range l.Classic.Policies {
		p := lb.Policy(name)
		if p == nil {
			continue
		}
		switch p.Type {
		case model.PolicyAppCookie:
			f.Stickiness = &Stickiness{AppCookie: p.Value("CookieName")}
		case model.PolicyLBCookie:
			seconds, _ := strconv.ParseInt(p.Value("CookieExpirationPeriod"), 10, 64) // "" is a session's
			f.Stickiness = &Stickiness{Lasts: time.Duration(seconds) * time.Second}
		case model.PolicySSL:
			c.SSL = p
		}
	}
	for _, name := range lb.BackendPolicies[l.Classic.InstancePort] {
		p := lb.Policy(name)
		if p == nil {
			continue
		}
		switch p.Type {
		case model.PolicyProxyProtocol:
			c.ProxyProtocol = p.Value("ProxyProtocol") == "true" && !model.IsHTTP(l.Protocol)
		case model.PolicyBackendAuth:
			for _, key := range p.Values("PublicKeyPolicyName") {
				if k := lb.Policy(key); k != nil {
					f.PublicKeys = append(f.PublicKeys, k.Value("PublicKey"))
				}
			}
		}
	}
	return f, c
}

// backend is the group that a listener sends to in a zone, or in all of them.
func backend(base *TargetGroup, l *model.Listener, zone string) TargetGroup {
	key := strconv.Itoa(int(l.Port)) + "/" + l.Classic.InstanceProtocol + "/" + strconv.Itoa(int(l.Classic.InstancePort)) + "/" + zone
	g := TargetGroup{
		ID: base.ID + "/" + key, ARN: base.ARN + "/" + key, Protocol: l.Classic.InstanceProtocol, TargetType: base.TargetType,
		Attributes: with(base.Attributes, nil), Classic: true,
	}
	if model.IsHTTP(l.Protocol) {
		g.Attributes["load_balancing.algorithm.type"] = "least_outstanding_requests"
	}
	for _, t := range base.Targets {
		if zone != "" && t.Zone != "" && t.Zone != zone {
			continue
		}
		t.Port = l.Classic.InstancePort
		g.Targets = append(g.Targets, t)
	}
	slices.SortFunc(g.Targets, func(a, b Target) int { return cmp.Compare(a.IP, b.IP) })
	return g
}
