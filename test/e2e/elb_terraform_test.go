package e2e

import (
	"strings"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// balancerImports is how the case balancer is imported.
var balancerImports = &reimports{
	ids: map[string]func(*stateResource) string{
		"aws_lb_target_group_attachment":  notImportable,
		"aws_alb_target_group_attachment": notImportable,
	},
	// Whether rules are revoked on deletion, the provider alone knows; and what
	// forwards to one group it imports in both of the ways to say so.
	changed: []string{"aws_security_group", "aws_lb_listener", "aws_lb_listener_rule"},
}

func balancerApplied(t *testing.T, s *server, tf *configuration) {
	if dns := tf.output("dns_name"); !strings.HasPrefix(dns, "tf-app-") || !strings.HasSuffix(dns, ".us-east-1.elb.localhost") {
		t.Errorf("the DNS name is %s", dns)
	}
	if got := tf.output("found"); got != "true true 1 forward true /health true" {
		t.Errorf("the data sources found %s", got)
	}
	s.wantBalancer(t, 2, 1, map[string]string{"idle_timeout.timeout_seconds": "60", "routing.http.xff_header_processing.mode": "append"})
}

func balancerChanged(t *testing.T, s *server) {
	lb := s.wantBalancer(t, 3, 2, map[string]string{
		"idle_timeout.timeout_seconds": "120", "client_keep_alive.seconds": "600", "routing.http.drop_invalid_header_fields.enabled": "true",
		"routing.http.preserve_host_header.enabled": "true", "routing.http.xff_client_port.enabled": "true",
		"routing.http.xff_header_processing.mode": "preserve", "routing.http.desync_mitigation_mode": "strictest", "zonal_shift.config.enabled": "true",
	})
	listeners, err := s.elb.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: new(lb)})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners.Listeners {
		if *l.Port != 8080 {
			continue
		}
		attributes, err := s.elb.DescribeListenerAttributes(t.Context(), &elb.DescribeListenerAttributesInput{ListenerArn: l.ListenerArn})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attributes.Attributes {
			if *a.Key == "routing.http.response.access_control_allow_origin.header_value" && *a.Value != "https://example.com" {
				t.Errorf("the origin is %s", *a.Value)
			}
		}
	}
}

// wantBalancer checks the load balancer tf-app and returns its ARN.
func (s *server) wantBalancer(t *testing.T, zones, groups int, want map[string]string) string {
	t.Helper()
	lbs, err := s.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{"tf-app"}})
	if err != nil {
		t.Fatal(err)
	}
	lb := lbs.LoadBalancers[0]
	if len(lb.AvailabilityZones) != zones || len(lb.SecurityGroups) != groups {
		t.Errorf("%d zones and %d groups, want %d and %d", len(lb.AvailabilityZones), len(lb.SecurityGroups), zones, groups)
	}
	attributes, err := s.elb.DescribeLoadBalancerAttributes(t.Context(), &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: lb.LoadBalancerArn})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes.Attributes {
		if v, ok := want[*a.Key]; ok && v != *a.Value {
			t.Errorf("%s is %s, want %s", *a.Key, *a.Value, v)
		}
	}
	return *lb.LoadBalancerArn
}

func balancerDestroyed(t *testing.T, s *server) {
	lbs, err := s.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, lb := range lbs.LoadBalancers {
		if n := *lb.LoadBalancerName; n == "tf-app" || strings.HasPrefix(n, "tfint-") {
			t.Errorf("%s is still there", n)
		}
	}
	groups, err := s.elb.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups.TargetGroups {
		if n := *g.TargetGroupName; n == "tf-blue" || n == "tf-green" || strings.HasPrefix(n, "tfold-") {
			t.Errorf("%s is still there", n)
		}
	}
}
