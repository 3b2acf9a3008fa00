package balance

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
)

// classicInput is a load balancer in zones a and b with an instance in each.
func classicInput(crossZone string) Input {
	arn := model.ClassicGroupARN("us-east-1", "1", "c", "lb")
	target := func(ip string) *model.Target {
		return &model.Target{ID: ip, Port: model.ClassicTargetPort, RegisteredAt: time.Unix(1, 0)}
	}
	forward := []*model.Rule{{Default: true, Actions: []model.RuleAction{{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: arn}}}}}}}
	return Input{
		LoadBalancer: &model.LoadBalancer{
			ID: "lb", Type: model.LoadBalancerClassic, AvailabilityZones: []model.LoadBalancerZone{{ZoneName: "a"}, {ZoneName: "b"}}, Attributes: map[string]string{"load_balancing.cross_zone.enabled": crossZone},
			Classic: &model.ClassicLoadBalancer{
				Policies: []model.ClassicPolicy{
					{Name: "sticky", Type: model.PolicyLBCookie, Attributes: []model.ClassicPolicyAttribute{{Name: "CookieExpirationPeriod", Value: "60"}}},
					{Name: "proxy", Type: model.PolicyProxyProtocol, Attributes: []model.ClassicPolicyAttribute{{Name: "ProxyProtocol", Value: "true"}}},
					{Name: "key", Type: model.PolicyPublicKey, Attributes: []model.ClassicPolicyAttribute{{Name: "PublicKey", Value: "k"}}},
					{Name: "auth", Type: model.PolicyBackendAuth, Attributes: []model.ClassicPolicyAttribute{{Name: "PublicKeyPolicyName", Value: "key"}}},
				},
				BackendPolicies: map[int32][]string{8081: {"proxy", "auth"}, 8080: {"proxy"}},
			},
		},
		Interfaces: []Interface{{Zone: "a"}, {Zone: "b"}},
		Listeners: []*model.Listener{
			{ARN: "l80", Port: 80, Protocol: "HTTP", Classic: &model.ClassicListener{InstanceProtocol: "HTTP", InstancePort: 8080, Policies: []string{"sticky"}}},
			{ARN: "l81", Port: 81, Protocol: "TCP", Classic: &model.ClassicListener{InstanceProtocol: "SSL", InstancePort: 8081}},
		},
		Rules:   map[string][]*model.Rule{"l80": forward, "l81": forward},
		Groups:  map[string]*model.TargetGroup{arn: {ID: "lb", ARN: arn, Classic: true, TargetType: model.TargetTypeIP}},
		Targets: map[string][]*model.Target{arn: {target("10.0.0.1"), target("10.0.1.1")}},
		Subnets: []*model.Subnet{{Zone: "a", CIDR: netip.MustParsePrefix("10.0.0.0/24")}, {Zone: "b", CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
	}
}

// members are the addresses of a listener's groups, by zone.
func members(lb LoadBalancer, l Listener) map[string][]string {
	out := map[string][]string{}
	for zone, arn := range l.Classic.Groups {
		for _, g := range lb.Groups {
			if g.ARN == arn {
				for _, t := range g.Targets {
					out[zone] = append(out[zone], t.Address())
				}
			}
		}
	}
	return out
}

func TestComposeClassic(t *testing.T) {
	for crossZone, want := range map[string][2]map[string][]string{
		"true":  {{"": {"10.0.0.1:8080", "10.0.1.1:8080"}}, {"": {"10.0.0.1:8081", "10.0.1.1:8081"}}},
		"false": {{"a": {"10.0.0.1:8080"}, "b": {"10.0.1.1:8080"}}, {"a": {"10.0.0.1:8081"}, "b": {"10.0.1.1:8081"}}},
	} {
		lb := Compose(classicInput(crossZone))
		for i, l := range lb.Listeners {
			if d := cmp.Diff(want[i], members(lb, l)); d != "" {
				t.Errorf("cross-zone %s, port %d: %s", crossZone, l.Port, d)
			}
			if l.Rules != nil || l.Classic.ProxyProtocol != (l.Port == 81) {
				t.Errorf("port %d: %+v", l.Port, l.Classic)
			}
		}
		for _, g := range lb.Groups {
			f := g.Following
			switch {
			case f == nil:
				if g.ID != "lb" || len(g.Targets) != 2 || !g.Classic {
					t.Errorf("the instances are %+v", g)
				}
			case g.Protocol == "HTTP":
				if f.Stickiness == nil || f.Stickiness.Lasts != time.Minute || f.PublicKeys != nil || g.Attributes["load_balancing.algorithm.type"] != "least_outstanding_requests" {
					t.Errorf("HTTP: %+v %v", f, g.Attributes)
				}
			case f.Stickiness != nil || !slices.Equal(f.PublicKeys, []string{"k"}) || g.Attributes["load_balancing.algorithm.type"] != "":
				t.Errorf("TCP: %+v %v", f, g.Attributes)
			}
		}
	}
}

// A zone without a healthy instance is left by the load balancer's name unless
// it sends across zones, or no zone has one.
func TestIdleZonesClassic(t *testing.T) {
	for _, c := range []struct {
		crossZone string
		healthy   []string
		want      []string
	}{
		{"false", []string{"10.0.0.1:1"}, []string{"b"}},
		{"false", []string{"10.0.0.1:1", "10.0.1.1:1"}, nil},
		{"false", nil, nil},
		{"true", []string{"10.0.0.1:1"}, nil},
	} {
		seen := map[string]Seen{}
		for _, a := range c.healthy {
			seen[a] = Seen{Health: model.TargetHealth{State: model.TargetHealthHealthy}}
		}
		got := slices.Sorted(maps.Keys(IdleZones(Compose(classicInput(c.crossZone)), map[string]map[string]Seen{"lb": seen})))
		if !slices.Equal(got, c.want) {
			t.Errorf("cross-zone %s, %v healthy: %v are idle", c.crossZone, c.healthy, got)
		}
	}
}
