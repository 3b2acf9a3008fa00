package fleet

import (
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
)

// Zones are the availability zones in which a cluster has instances that could
// have such a task, if there is room on them, ascending.
func (b *Book) Zones(account, region, clusterName string, r *placement.Request) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.at(place{account, region, clusterName})
	var zones []string
	for _, id := range c.fleet.Eligible(r) {
		i := c.instances[id].V
		zone := i.Attributes[model.AttributeZone]
		if zone != "" && i.Connection.Connected && !slices.Contains(zones, zone) {
			zones = append(zones, zone)
		}
	}
	slices.Sort(zones)
	return zones
}
