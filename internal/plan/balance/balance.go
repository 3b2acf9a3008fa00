// Package balance decides what a load balancer's data plane should be, and
// what its targets' health records should say.
package balance

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/truststore"
)

// LoadBalancer is all that a data plane needs to know of one.
type LoadBalancer struct {
	ID      string
	ARN     string
	Name    string
	DNSName string
	VpcID   string
	// Type is application, network or classic.
	Type string
	// Interfaces that it stands on.
	Interfaces []Interface
	// Attributes of the load balancer that were set.
	Attributes map[string]string
	Listeners  []Listener
	Groups     []TargetGroup
	// Logs are where the traffic is logged to.
	Logs []LogOutput
}

// Interface is a network interface of a load balancer.
type Interface struct {
	ID  string
	MAC string
	// Address is the private address with its subnet's length, 172.31.0.7/20.
	Address string
	Zone    string
}

// Listener is a port with its rules, the default one among them.
type Listener struct {
	ID         string
	Port       int32
	Protocol   string
	Attributes map[string]string
	Rules      []model.Rule
	// SSLPolicy, and the certificates, of a listener with TLS. Certificate is
	// the default one, nil when it cannot be opened.
	SSLPolicy    string
	ALPNPolicy   string
	Certificate  *tls.Certificate
	Certificates []tls.Certificate
	// CertificateARNs by the certificates' leaves.
	CertificateARNs map[*x509.Certificate]string
	// Classic is set, in the place of Rules, for a classic load balancer's.
	Classic *ClassicListener
	// MutualAuthentication is nil for a listener that asks clients for nothing.
	// Trust is nil when the trust store cannot be opened: nobody is trusted.
	MutualAuthentication *model.MutualAuthentication
	Trust                *truststore.Trust
}

// TargetGroup is a group that some rule forwards to.
type TargetGroup struct {
	ID         string
	ARN        string
	Protocol   string
	TargetType string
	// Version is what HTTP targets speak, a model.Version… constant.
	Version     string
	HealthCheck model.HealthCheck
	Attributes  map[string]string
	Targets     []Target
	// Classic tells that it is of a classic load balancer.
	Classic bool
	// Following is set for the groups of classic load balancers' listeners.
	Following *Following
}

// Target is one registered target.
type Target struct {
	IP   string
	Port int32
	// Zone is empty where none is known of, which is everywhere.
	Zone string
	// RegisteredAt tells registrations of the same address apart.
	RegisteredAt time.Time
	// Draining targets get no new requests.
	Draining bool
	// Health is what was last recorded, for a data plane that does not know
	// the target yet; nil when nothing was.
	Health *model.TargetHealth
}

// Address is the target's ip:port.
func (t *Target) Address() string { return net.JoinHostPort(t.IP, strconv.Itoa(int(t.Port))) }

// Input is the records of one load balancer.
type Input struct {
	LoadBalancer *model.LoadBalancer
	Interfaces   []Interface
	Listeners    []*model.Listener
	// Rules of those listeners, by the listener's ARN.
	Rules map[string][]*model.Rule
	// Groups by ARN, and their targets with their health by TargetKey.
	Groups  map[string]*model.TargetGroup
	Targets map[string][]*model.Target
	Health  map[string]*model.TargetHealth
	// Certificates that could be opened, by ARN.
	Certificates map[string]*tls.Certificate
	// TrustStores that could be opened, by ARN.
	TrustStores map[string]*truststore.Trust
	// Instances that are targets, by id.
	Instances map[string]*model.Instance
	// Balancers that are targets, by ARN.
	Balancers map[string]*model.LoadBalancer
	// Deliveries to log groups.
	Deliveries []LogOutput
	// Subnets of the VPC tell the zones of addresses.
	Subnets []*model.Subnet
}

// Compose makes the load balancer that the records describe.
func Compose(in Input) LoadBalancer {
	lb := LoadBalancer{
		ID: in.LoadBalancer.ID, ARN: in.LoadBalancer.ARN, Name: in.LoadBalancer.Name, DNSName: in.LoadBalancer.DNSName,
		VpcID: in.LoadBalancer.VpcID, Type: in.LoadBalancer.Type, Interfaces: in.Interfaces, Attributes: in.LoadBalancer.Attributes,
	}
	used := map[string]bool{}
	for _, l := range in.Listeners {
		out := Listener{ID: l.ID, Port: l.Port, Protocol: l.Protocol, Attributes: l.Attributes, SSLPolicy: l.SSLPolicy}
		if len(l.ALPNPolicy) > 0 {
			out.ALPNPolicy = l.ALPNPolicy[0]
		}
		out.MutualAuthentication, out.Trust = l.MutualAuthentication, in.TrustStores[l.TrustStore()]
		for i, arn := range l.Certificates {
			if c := in.Certificates[arn]; c != nil && c.Leaf != nil {
				if out.CertificateARNs == nil {
					out.CertificateARNs = map[*x509.Certificate]string{}
				}
				out.CertificateARNs[c.Leaf] = arn
			}
			switch c := in.Certificates[arn]; {
			case c == nil:
			case i == 0:
				out.Certificate = c
			default:
				out.Certificates = append(out.Certificates, *c)
			}
		}
		for _, r := range in.Rules[l.ARN] {
			out.Rules = append(out.Rules, *r)
			for _, arn := range ForwardsTo(r.Actions) {
				used[arn] = true
			}
		}
		lb.Listeners = append(lb.Listeners, out)
	}
	for arn := range used {
		if g := in.Groups[arn]; g != nil {
			lb.Groups = append(lb.Groups, composeGroup(g, &in))
		}
	}
	lb.Logs = logs(in)
	slices.SortFunc(lb.Listeners, func(a, b Listener) int { return cmp.Compare(a.Port, b.Port) })
	if in.LoadBalancer.Classic != nil {
		lb.classic(in)
	}
	slices.SortFunc(lb.Groups, func(a, b TargetGroup) int { return cmp.Compare(a.ID, b.ID) })
	return lb
}

func composeGroup(g *model.TargetGroup, in *Input) TargetGroup {
	out := TargetGroup{ID: g.ID, ARN: g.ARN, Protocol: g.Protocol, Version: g.ProtocolVersion, TargetType: g.TargetType, HealthCheck: g.HealthCheck, Attributes: g.Attributes}
	out.Classic = g.Classic
	for _, t := range in.Targets[g.ARN] {
		ips, unusable := in.Addresses(t)
		for _, ip := range ips {
			out.Targets = append(out.Targets, Target{
				IP: ip, Port: t.Port, Zone: zoneOf(ip, in.Subnets), RegisteredAt: t.RegisteredAt, Draining: t.DeregisteringAt != nil || unusable != nil,
				Health: in.Health[model.TargetKey(g.ID, t.ID, t.Port)],
			})
		}
	}
	return out
}

// zoneOf is the zone of an address of the VPC, "" for any other.
func zoneOf(ip string, subnets []*model.Subnet) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	for _, s := range subnets {
		if s.CIDR.Contains(a) {
			return s.Zone
		}
	}
	return ""
}

// ForwardsTo names the target groups that actions forward to.
func ForwardsTo(actions []model.RuleAction) []string {
	var arns []string
	for _, a := range actions {
		if a.Forward == nil {
			continue
		}
		for _, g := range a.Forward.TargetGroups {
			arns = append(arns, g.TargetGroupARN)
		}
	}
	return arns
}
