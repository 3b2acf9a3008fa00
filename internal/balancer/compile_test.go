package balancer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/balancer/l7"
)

func TestFewestHealthyTargets(t *testing.T) {
	const prefix = "target_group_health.unhealthy_state_routing.minimum_healthy_targets."
	for _, c := range []struct {
		count, percentage string
		all, want         int
	}{
		{"", "", 4, 1},
		{"3", "off", 4, 3},
		{"1", "50", 4, 2},
		{"1", "50", 5, 3}, // at least half of five
		{"2", "1", 5, 2},
		{"1", "100", 7, 7},
	} {
		if got := fewest(map[string]string{prefix + "count": c.count, prefix + "percentage": c.percentage}, c.all); got != c.want {
			t.Errorf("%s and %s%% of %d: %d, want %d", c.count, c.percentage, c.all, got, c.want)
		}
	}
}

func TestAddedFields(t *testing.T) {
	got := added(map[string]string{
		"routing.http.response.x_content_type_options.header_value":      "nosniff",
		"routing.http.response.access_control_allow_origin.header_value": "*",
		"routing.http.response.content_security_policy.header_value":     "",
		"routing.http.response.server.enabled":                           "true",
	})
	if want := []l7.Field{{Name: "Access-Control-Allow-Origin", Value: "*"}, {Name: "X-Content-Type-Options", Value: "nosniff"}}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
