// Package spread decides where a service's tasks go when nothing but balance
// matters: which subnet gets the next task, which capacity provider pays for
// it, and which tasks of a balanced set leave first.
package spread

import (
	"maps"
	"slices"
)

// Subnet is a place a task's network interface can be in.
type Subnet struct {
	ID   string
	Zone string
}

// Subnets chooses the subnets of n new tasks: the zone with the fewest tasks
// first, in it the subnet with the fewest, ties in the order given. counts
// holds the tasks that there are, by subnet id; it is not changed. The result
// is empty only when subnets is.
func Subnets(subnets []Subnet, counts map[string]int, n int) []string {
	if len(subnets) == 0 || n <= 0 {
		return nil
	}
	zone, subnet := map[string]int{}, map[string]int{}
	for _, s := range subnets {
		zone[s.Zone] += counts[s.ID]
		subnet[s.ID] = counts[s.ID]
	}
	chosen := make([]string, 0, n)
	for range n {
		best := subnets[0]
		for _, s := range subnets[1:] {
			if less(zone[s.Zone], subnet[s.ID], zone[best.Zone], subnet[best.ID]) {
				best = s
			}
		}
		zone[best.Zone]++
		subnet[best.ID]++
		chosen = append(chosen, best.ID)
	}
	return chosen
}

func less(zone, subnet, bestZone, bestSubnet int) bool {
	if zone != bestZone {
		return zone < bestZone
	}
	return subnet < bestSubnet
}

// Provider is one item of a capacity provider strategy.
type Provider struct {
	Name string
	// Base is how many tasks, at the least, run on the provider before any
	// weight counts. AWS allows one item of a strategy to have it.
	Base int
	// Weight is the provider's share of the tasks beyond the bases.
	Weight int
}

// Providers chooses the capacity providers of n new tasks by strategy: bases
// are filled first, in order; the rest is shared by weight. counts holds the
// tasks that there are, by provider; it is not changed. The result is shorter
// than n when no item has a weight to take what the bases leave.
func Providers(strategy []Provider, counts map[string]int, n int) []string {
	have := make(map[string]int, len(strategy))
	for _, p := range strategy {
		have[p.Name] = counts[p.Name]
	}
	var chosen []string
	for range n {
		i := nextProvider(strategy, have)
		if i < 0 {
			break
		}
		have[strategy[i].Name]++
		chosen = append(chosen, strategy[i].Name)
	}
	return chosen
}

// nextProvider is the index of the item whose turn it is, -1 for none: with
// bases filled, the one that stays the furthest below its share after one more.
func nextProvider(strategy []Provider, have map[string]int) int {
	if i := slices.IndexFunc(strategy, func(p Provider) bool { return have[p.Name] < p.Base }); i >= 0 {
		return i
	}
	best := -1
	for i, p := range strategy {
		if p.Weight <= 0 {
			continue
		}
		if best < 0 {
			best = i
			continue
		}
		b := strategy[best]
		// (have-base+1)/weight, compared without division.
		if (have[p.Name]-p.Base+1)*b.Weight < (have[b.Name]-b.Base+1)*p.Weight {
			best = i
		}
	}
	return best
}

// Leaver is a task that may be stopped to make a set smaller.
type Leaver struct {
	ID   string
	Zone string
	// Rank groups leavers: all of a lower rank leave before any of a higher.
	Rank int
}

// Leave chooses the n tasks that leave: by rank, then from the zone that has
// the most tasks, then by the order given. stay holds the tasks that are not
// up for choice but count for the balance, by zone.
func Leave(tasks []Leaver, stay map[string]int, n int) []string {
	zone := map[string]int{}
	maps.Copy(zone, stay)
	// queues are the places in tasks of a rank's leavers, by zone.
	queues := map[int]map[string][]int{}
	for i, t := range tasks {
		zone[t.Zone]++
		if queues[t.Rank] == nil {
			queues[t.Rank] = map[string][]int{}
		}
		queues[t.Rank][t.Zone] = append(queues[t.Rank][t.Zone], i)
	}
	var chosen []string
	for _, rank := range slices.Sorted(maps.Keys(queues)) {
		byZone := queues[rank]
		for len(chosen) < n && len(byZone) > 0 {
			from, found := "", false
			for z, q := range byZone {
				if !found || zone[z] > zone[from] || zone[z] == zone[from] && q[0] < byZone[from][0] {
					from, found = z, true
				}
			}
			chosen = append(chosen, tasks[byZone[from][0]].ID)
			zone[from]--
			if byZone[from] = byZone[from][1:]; len(byZone[from]) == 0 {
				delete(byZone, from)
			}
		}
	}
	return chosen
}
