package balance

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"roadstead.dev/internal/model"
)

// The zones that a load balancer's name does not lead to depend on how many
// targets are healthy there, and on what the group wants.
func TestDNSFailover(t *testing.T) {
	const prefix = "target_group_health.dns_failover.minimum_healthy_targets."
	off := map[string]string{crossZone: "false"}
	with := func(k, v string, more ...string) map[string]string {
		m := maps.Clone(off)
		m[prefix+k] = v
		for i := 0; i+1 < len(more); i += 2 {
			m[prefix+more[i]] = more[i+1]
		}
		return m
	}
	for _, c := range []struct {
		name       string
		attributes map[string]string
		// healthy and all are the targets in zones a and b.
		healthy, all [2]int
		want         []string
	}{
		{"one is enough", off, [2]int{1, 2}, [2]int{2, 2}, nil},
		{"none in a zone", off, [2]int{0, 2}, [2]int{2, 2}, []string{"a"}},
		{"no target in a zone", off, [2]int{0, 2}, [2]int{0, 2}, []string{"a"}},
		{"none anywhere", off, [2]int{0, 0}, [2]int{2, 2}, nil},
		{"two are wanted", with("count", "2"), [2]int{1, 2}, [2]int{2, 2}, []string{"a"}},
		{"two are wanted and nowhere", with("count", "2"), [2]int{1, 1}, [2]int{2, 2}, nil},
		{"half is wanted", with("count", "off", "percentage", "50"), [2]int{2, 1}, [2]int{4, 4}, []string{"b"}},
		{"a part is rounded up", with("percentage", "34"), [2]int{1, 2}, [2]int{3, 3}, []string{"a"}},
		{"nothing is wanted", with("count", "off", "percentage", "off"), [2]int{0, 2}, [2]int{2, 2}, nil},
		{"across zones", nil, [2]int{0, 2}, [2]int{2, 2}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := TargetGroup{ID: "g", Attributes: c.attributes}
			seen := map[string]map[string]Seen{"g": {}}
			for i, zone := range []string{"a", "b"} {
				for n := range c.all[i] {
					x := Target{IP: fmt.Sprintf("10.0.%d.%d", i, n), Port: 80, Zone: zone}
					g.Targets = append(g.Targets, x)
					state := model.TargetHealthUnhealthy
					if n < c.healthy[i] {
						state = model.TargetHealthHealthy
					}
					seen["g"][x.Address()] = Seen{Health: model.TargetHealth{State: state}}
				}
			}
			lb := LoadBalancer{Type: model.LoadBalancerApplication, Interfaces: []Interface{{Zone: "a"}, {Zone: "b"}}, Groups: []TargetGroup{g}}
			if got := slices.Sorted(maps.Keys(IdleZones(lb, seen))); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
