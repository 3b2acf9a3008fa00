package balance

import (
	"maps"
	"slices"
	"testing"

	"roadstead.dev/internal/model"
)

func TestIdleZonesByThresholds(t *testing.T) {
	const prefix = "target_group_health.dns_failover.minimum_healthy_targets."
	at := func(zone string, n byte) Target {
		return Target{IP: "10.0.0." + string('0'+rune(n)), Port: 80, Zone: zone}
	}
	targets := []Target{at("a", 1), at("a", 2), at("b", 3), at("b", 4)}
	for _, c := range []struct {
		name    string
		healthy []int
		set     map[string]string
		want    []string
	}{
		{"one each", []int{0, 2}, nil, nil},
		{"none in a", []int{2}, nil, []string{"a"}},
		{"none at all", nil, nil, nil},
		{"two are wanted", []int{0, 2, 3}, map[string]string{prefix + "count": "2"}, []string{"a"}},
		{"two are wanted of all", []int{0, 2}, map[string]string{prefix + "count": "2"}, nil},
		{"most are wanted", []int{0, 2, 3}, map[string]string{prefix + "percentage": "51"}, []string{"a"}},
		{"half is wanted", []int{0, 2, 3}, map[string]string{prefix + "percentage": "50"}, nil},
		{"off", []int{2}, map[string]string{prefix + "count": "off"}, nil},
		{"across zones", []int{2}, map[string]string{"load_balancing.cross_zone.enabled": "true"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			lb := LoadBalancer{
				Type: model.LoadBalancerNetwork, Interfaces: []Interface{{Zone: "a"}, {Zone: "b"}},
				Groups: []TargetGroup{{ID: "g", Attributes: c.set, Targets: targets}},
			}
			seen := map[string]Seen{}
			for _, i := range c.healthy {
				seen[targets[i].Address()] = Seen{Health: model.TargetHealth{State: model.TargetHealthHealthy}}
			}
			got := slices.Sorted(maps.Keys(IdleZones(lb, map[string]map[string]Seen{"g": seen})))
			if !slices.Equal(got, c.want) {
				t.Errorf("idle are %v, want %v", got, c.want)
			}
		})
	}
}

func TestHealthyZones(t *testing.T) {
	at := func(zone, ip string) Target { return Target{IP: ip, Port: 80, Zone: zone} }
	targets := []Target{at("a", "10.0.0.1"), at("b", "10.0.0.2")}
	cross := map[string]string{"load_balancing.cross_zone.enabled": "true"}
	for _, c := range []struct {
		name    string
		healthy []int
		set     map[string]string
		a, b    bool
	}{
		{"both", []int{0, 1}, nil, true, true},
		{"one", []int{0}, nil, true, false},
		{"none", nil, nil, false, false},
		{"one for both", []int{0}, cross, true, true},
		{"none for both", nil, cross, false, false},
	} {
		lb := LoadBalancer{
			Type: model.LoadBalancerNetwork, Interfaces: []Interface{{Zone: "a"}, {Zone: "b"}},
			Groups: []TargetGroup{{ID: "g", Attributes: c.set, Targets: targets}},
		}
		seen := map[string]Seen{}
		for _, i := range c.healthy {
			seen[targets[i].Address()] = Seen{Health: model.TargetHealth{State: model.TargetHealthHealthy}}
		}
		if got := HealthyZones(lb, map[string]map[string]Seen{"g": seen}); got["a"] != c.a || got["b"] != c.b || len(got) != 2 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if HealthyZones(LoadBalancer{Interfaces: []Interface{{Zone: "a"}}}, nil) != nil {
		t.Error("something is told of no targets")
	}
}

func TestMerge(t *testing.T) {
	s := func(state string, n int64) Seen { return Seen{Health: model.TargetHealth{State: state}, InFlight: n} }
	got := Merge([]Seen{s("unhealthy", 1), s("healthy", 2), s("initial", 3)})
	if got.Health.State != "healthy" || got.InFlight != 6 {
		t.Errorf("got %+v", got)
	}
	if got := Merge([]Seen{s("unhealthy", 1), s("initial", 0)}); got.Health.State != "initial" {
		t.Errorf("got %+v", got)
	}
	if Merge(nil) != nil {
		t.Error("something is seen of nothing")
	}
}
