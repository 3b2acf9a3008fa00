package elbv2

import (
	"context"
	"strconv"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// Attributes of target groups that depend on each other.
const (
	anomalyMitigation = "load_balancing.algorithm.anomaly_mitigation"
	weightedRandom    = "weighted_random"
	stickinessType    = "stickiness.type"
	appCookieName     = "stickiness.app_cookie.cookie_name"
	appCookie         = "app_cookie"
	sourceIP          = "source_ip"
	dnsFailover       = "target_group_health.dns_failover.minimum_healthy_targets."
	stateRouting      = "target_group_health.unhealthy_state_routing.minimum_healthy_targets."
)

// reservedCookies begin the names of a load balancer's own.
var reservedCookies = []string{"AWSALB", "AWSALBAPP", "AWSALBTG"}

// cookieName holds for a cookie that applications can have: a token (RFC 6265).
func cookieName(v string) bool {
	const separators = `()<>@,;:\"/[]?={}`
	return v != "" && len(v) <= 256 && !strings.ContainsFunc(v, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(separators, r)
	})
}

// checkGroupAttributes refuses attributes of an application load balancer's
// group that do not go together.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
func checkGroupAttributes(a map[string]string) error {
	algorithm := a[algorithmType]
	if algorithm == "" {
		algorithm = roundRobin
	}
	if slow := a[slowStartSeconds]; slow != "" && slow != "0" && algorithm != roundRobin {
		return unsupported("Slow start mode is not supported with the load balancing algorithm '%s'", algorithm)
	}
	if a[anomalyMitigation] == "on" && algorithm != weightedRandom {
		return unsupported("Anomaly mitigation is only supported with the load balancing algorithm '%s'", weightedRandom)
	}
	if name := a[appCookieName]; name != "" {
		for _, r := range reservedCookies {
			if strings.HasPrefix(name, r) {
				return unsupported("The cookie name '%s' is not valid: names that begin with '%s' are reserved for the load balancer", name, r)
			}
		}
	} else if a[stickinessEnabled] == "true" && a[stickinessType] == appCookie {
		return unsupported("You must specify '%s' for stickiness of type '%s'", appCookieName, appCookie)
	}
	if a[stickinessEnabled] == "true" && a[crossZoneEnabled] == "false" {
		return unsupported("Stickiness is not supported for target groups with cross-zone load balancing turned off")
	}
	for _, unit := range []string{"count", "percentage"} {
		routing, dns := threshold(a[stateRouting+unit]), threshold(a[dnsFailover+unit])
		if routing > dns && dns > 0 {
			return unsupported("The value of '%s' must be greater than or equal to the value of '%s'", dnsFailover+unit, stateRouting+unit)
		}
	}
	return nil
}

// threshold is the value of such an attribute; 0 means that it is off, or has
// its default.
func threshold(v string) int {
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0
	}
	return n
}

// checkZones refuses that targets of all zones stay in one.
func (s *Service) checkZones(ctx context.Context, g *model.TargetGroup) error {
	if g.Attributes[crossZoneEnabled] != "false" {
		return nil
	}
	rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.ID))
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.V.AvailabilityZone == allZones {
			return unsupported("You cannot turn off cross-zone load balancing for a target group with targets whose Availability Zone is 'all'")
		}
	}
	return nil
}
