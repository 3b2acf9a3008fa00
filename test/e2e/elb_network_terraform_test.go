package e2e

import (
	"maps"
	"strings"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// forwarderImports is how the case forwarder is imported.
var forwarderImports = &reimports{
	ids: map[string]func(*stateResource) string{"aws_lb_target_group_attachment": notImportable, "aws_acm_certificate_validation": notImportable},
	// As in balancerImports. Of groups of load balancers the provider does not
	// read most attributes.
	changed: []string{"aws_security_group", "aws_lb_listener", "aws_lb_target_group"},
}

func forwarderApplied(t *testing.T, s *server, tf *configuration) {
	if dns := tf.output("dns_name"); !strings.HasPrefix(dns, "tf-net-") || !strings.HasSuffix(dns, ".us-east-1.elb.localhost") {
		t.Errorf("the DNS name is %s", dns)
	}
	s.wantForwarder(t, 6379, map[string]string{"load_balancing.cross_zone.enabled": "false", "dns_record.client_routing_policy": "availability_zone_affinity"})
}

func forwarderChanged(t *testing.T, s *server) {
	s.wantForwarder(t, 6380, map[string]string{"load_balancing.cross_zone.enabled": "true", "dns_record.client_routing_policy": "partial_availability_zone_affinity"})
	groups, err := s.elb.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{"tf-net-tcp"}})
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := s.elb.DescribeTargetGroupAttributes(t.Context(), &elb.DescribeTargetGroupAttributesInput{TargetGroupArn: groups.TargetGroups[0].TargetGroupArn})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"deregistration_delay.timeout_seconds": "30", "deregistration_delay.connection_termination.enabled": "true",
		"preserve_client_ip.enabled": "true", "stickiness.enabled": "true", "stickiness.type": "source_ip",
	}
	for _, a := range attributes.Attributes {
		if w, ok := want[*a.Key]; ok && w != *a.Value {
			t.Errorf("%s is %s", *a.Key, *a.Value)
		}
		delete(want, *a.Key)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

// wantForwarder checks the load balancer tf-net.
func (s *server) wantForwarder(t *testing.T, port int32, want map[string]string) {
	t.Helper()
	lbs, err := s.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{"tf-net"}})
	if err != nil {
		t.Fatal(err)
	}
	lb := lbs.LoadBalancers[0]
	addresses := lb.AvailabilityZones[0].LoadBalancerAddresses
	if lb.Type != "network" || len(lb.SecurityGroups) != 1 || len(addresses) != 1 || addresses[0].IpAddress == nil {
		t.Errorf("the load balancer is %+v", lb)
	}
	listeners, err := s.elb.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: lb.LoadBalancerArn})
	if err != nil {
		t.Fatal(err)
	}
	protocols := map[int32]string{}
	for _, l := range listeners.Listeners {
		protocols[*l.Port] = string(l.Protocol)
	}
	if want := map[int32]string{port: "TCP", 443: "TLS", 80: "TCP"}; !maps.Equal(protocols, want) {
		t.Errorf("listeners %v, want %v", protocols, want)
	}
	attributes, err := s.elb.DescribeLoadBalancerAttributes(t.Context(), &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: lb.LoadBalancerArn})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes.Attributes {
		if w, ok := want[*a.Key]; ok && w != *a.Value {
			t.Errorf("%s is %s", *a.Key, *a.Value)
		}
	}
}

func forwarderDestroyed(t *testing.T, s *server) {
	_, err := s.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{"tf-net"}})
	gone(t, "LoadBalancerNotFound", err)
	_, err = s.elb.DescribeTargetGroups(t.Context(), &elb.DescribeTargetGroupsInput{Names: []string{"tf-net-tcp"}})
	gone(t, "TargetGroupNotFound", err)
}
