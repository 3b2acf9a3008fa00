package spread

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestSubnets(t *testing.T) {
	three := []Subnet{{"a", "1a"}, {"b", "1b"}, {"c", "1c"}}
	tests := []struct {
		name    string
		subnets []Subnet
		counts  map[string]int
		n       int
		want    []string
	}{
		{"no subnet", nil, nil, 3, nil},
		{"no task", three, nil, 0, nil},
		{"one each, in order", three, nil, 4, []string{"a", "b", "c", "a"}},
		{"fills the emptier", three, map[string]int{"a": 2, "b": 1}, 3, []string{"c", "b", "c"}},
		{"zones before subnets", []Subnet{{"a", "1a"}, {"a2", "1a"}, {"b", "1b"}}, nil, 4, []string{"a", "b", "a2", "b"}},
		{"other subnets do not count", three, map[string]int{"gone": 9}, 1, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Subnets(tt.subnets, tt.counts, tt.n)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestProviders(t *testing.T) {
	tests := []struct {
		name     string
		strategy []Provider
		counts   map[string]int
		n        int
		want     map[string]int
	}{
		{"one", []Provider{{"FARGATE", 0, 1}}, nil, 3, map[string]int{"FARGATE": 3}},
		{"AWS's example: weights 1 and 4", []Provider{{"A", 0, 1}, {"B", 0, 4}}, nil, 10, map[string]int{"A": 2, "B": 8}},
		{"base first", []Provider{{"FARGATE_SPOT", 0, 4}, {"FARGATE", 2, 1}}, nil, 2, map[string]int{"FARGATE": 2}},
		{"base, then weights", []Provider{{"FARGATE_SPOT", 0, 3}, {"FARGATE", 2, 1}}, nil, 10, map[string]int{"FARGATE": 4, "FARGATE_SPOT": 6}},
		{"makes up for what is there", []Provider{{"A", 0, 1}, {"B", 0, 1}}, map[string]int{"A": 3}, 3, map[string]int{"B": 3}},
		{"weight 0 takes its base alone", []Provider{{"A", 1, 0}, {"B", 0, 1}}, nil, 3, map[string]int{"A": 1, "B": 2}},
		{"all weights 0", []Provider{{"A", 1, 0}}, nil, 3, map[string]int{"A": 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]int{}
			for _, p := range Providers(tt.strategy, tt.counts, tt.n) {
				got[p]++
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLeave(t *testing.T) {
	tasks := []Leaver{{"a", "1a", 1}, {"b", "1b", 1}, {"b2", "1b", 1}, {"pending", "1a", 0}}
	if d := cmp.Diff([]string{"pending", "b"}, Leave(tasks, nil, 2)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"pending", "a"}, Leave(tasks, map[string]int{"1a": 5}, 2)); d != "" {
		t.Error(d)
	}
	if got := Leave(tasks, nil, 9); len(got) != len(tasks) {
		t.Errorf("more than there are: %v", got)
	}
}

// From any balanced start, however many tasks come, no two zones differ by
// more than one.
func TestSubnetsStayBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 4).Draw(t, "zones")
		var subnets []Subnet
		for z := range zones {
			for i := range rapid.IntRange(1, 3).Draw(t, "subnets") {
				subnets = append(subnets, Subnet{fmt.Sprintf("s%d-%d", z, i), fmt.Sprintf("z%d", z)})
			}
		}
		zoneOf := map[string]string{}
		for _, s := range subnets {
			zoneOf[s.ID] = s.Zone
		}
		counts, zone := map[string]int{}, map[string]int{}
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			for _, s := range Subnets(subnets, counts, rapid.IntRange(0, 7).Draw(t, "n")) {
				counts[s]++
				zone[zoneOf[s]]++
			}
			lo, hi := 1<<30, 0
			for z := range zones {
				c := zone[fmt.Sprintf("z%d", z)]
				lo, hi = min(lo, c), max(hi, c)
			}
			if hi-lo > 1 {
				t.Fatalf("unbalanced: %v", zone)
			}
		}
	})
}

// Bases are filled before weights count, and beyond them every provider stays
// within a few tasks of its share.
func TestProvidersKeepTheirShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var strategy []Provider
		weights, base := 0, rapid.IntRange(0, 5).Draw(t, "base")
		for i := range rapid.IntRange(1, 4).Draw(t, "providers") {
			p := Provider{Name: fmt.Sprint("p", i), Weight: rapid.IntRange(1, 9).Draw(t, "weight")}
			if i == 0 {
				p.Base = base
			}
			weights += p.Weight
			strategy = append(strategy, p)
		}
		counts, n := map[string]int{}, rapid.IntRange(0, 60).Draw(t, "n")
		for i := range n {
			for _, p := range Providers(strategy, counts, 1) {
				counts[p]++
			}
			if i+1 <= base && counts["p0"] != i+1 {
				t.Fatalf("base is not filled first: %v", counts)
			}
		}
		for _, p := range strategy {
			beyond := max(n-base, 0)
			have, share := counts[p.Name]-min(p.Base, n), float64(beyond*p.Weight)/float64(weights)
			if d := float64(have) - share; d >= float64(len(strategy)) || d <= -float64(len(strategy)) {
				t.Fatalf("%s has %d of a share of %.1f: %v", p.Name, have, share, counts)
			}
		}
	})
}

// Leave chooses what a look at all leavers for each choice would.
func TestLeaveIsGreedy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tasks []Leaver
		zone := map[string]int{"a": rapid.IntRange(0, 3).Draw(t, "stay")}
		stay := maps.Clone(zone)
		for i := range rapid.IntRange(0, 12).Draw(t, "tasks") {
			l := Leaver{ID: fmt.Sprint(i), Zone: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "zone"), Rank: rapid.IntRange(0, 2).Draw(t, "rank")}
			tasks = append(tasks, l)
			zone[l.Zone]++
		}
		n := rapid.IntRange(0, 13).Draw(t, "n")
		got := Leave(tasks, stay, n)
		left := slices.Clone(tasks)
		var want []string
		for range min(n, len(tasks)) {
			best := slices.MinFunc(left, func(x, y Leaver) int {
				if x.Rank != y.Rank {
					return x.Rank - y.Rank
				}
				return zone[y.Zone] - zone[x.Zone]
			})
			want = append(want, best.ID)
			zone[best.Zone]--
			left = slices.DeleteFunc(left, func(l Leaver) bool { return l.ID == best.ID })
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v of %v", got, want, tasks)
		}
	})
}
