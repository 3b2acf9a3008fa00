package balance

import "testing"

func TestFewestHealthyTargets(t *testing.T) {
	for _, c := range []struct {
		count, percentage string
		all, want         int
	}{
		{"", "", 4, 1},
		{"off", "off", 4, 0},
		{"off", "50", 4, 2},
		{"3", "off", 4, 3},
		{"1", "50", 4, 2},
		{"1", "50", 5, 3}, // at least half of five
		{"2", "1", 5, 2},
		{"1", "100", 7, 7},
	} {
		if got := FewestRouted(map[string]string{stateRouting + "count": c.count, stateRouting + "percentage": c.percentage}, c.all); got != c.want {
			t.Errorf("%s and %s%% of %d: %d, want %d", c.count, c.percentage, c.all, got, c.want)
		}
		a := map[string]string{dnsFailover + "count": c.count, dnsFailover + "percentage": c.percentage}
		for healthy := range c.all + 1 {
			if got, want := FoundByName(a, healthy, c.all), healthy >= c.want; got != want {
				t.Errorf("%d of %d are enough: %v", healthy, c.all, got)
			}
		}
	}
	if FoundByName(map[string]string{dnsFailover + "count": "off", dnsFailover + "percentage": "50"}, 0, 0) {
		t.Error("none of none is a half")
	}
}
