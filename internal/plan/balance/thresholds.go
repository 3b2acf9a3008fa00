package balance

import "strconv"

// A group's thresholds of health: each is a number of targets, and a percentage
// of all of them, of which the larger counts.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health.html
const (
	dnsFailover  = "target_group_health.dns_failover.minimum_healthy_targets."
	stateRouting = "target_group_health.unhealthy_state_routing.minimum_healthy_targets."
)

// FewestRouted is how many of a zone's targets must be healthy for the others to
// get nothing, by the attributes of a target group.
func FewestRouted(attributes map[string]string, all int) int {
	return fewest(attributes, stateRouting, all)
}

// FoundByName tells whether a zone with so many healthy targets of all is to be
// found by the load balancer's name, by the attributes of a target group.
func FoundByName(attributes map[string]string, healthy, all int) bool {
	if _, err := strconv.Atoi(attributes[dnsFailover+"percentage"]); err == nil && all == 0 {
		return false
	}
	return healthy >= fewest(attributes, dnsFailover, all)
}

// fewest is a threshold: one target, unless the attributes say otherwise.
func fewest(attributes map[string]string, prefix string, all int) int {
	least := 1
	if v := attributes[prefix+"count"]; v == "off" {
		least = 0
	} else if n, err := strconv.Atoi(v); err == nil {
		least = n
	}
	if percent, err := strconv.Atoi(attributes[prefix+"percentage"]); err == nil {
		least = max(least, (all*percent+99)/100)
	}
	return least
}
