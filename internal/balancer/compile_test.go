package balancer

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/balancer/l7"
)

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
