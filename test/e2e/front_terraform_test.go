package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// TestTerraformFront applies an HTTPS listener with every condition and every
// kind of action.
func TestTerraformFront(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	tf := configure(t, s, "front", nil)
	tf.apply("1", "15 added, 0 changed, 0 destroyed")
	s.wantFront(t, "authenticate", "X-Amzn-Tls-Version", "strictest")
	tf.apply("2", "0 added, 4 changed, 0 destroyed")
	s.wantFront(t, "deny", "X-Tls", "monitor")
	// Client secrets the provider alone knows, and whether buckets are emptied, and
	// what forwards to one group it imports in both of the ways to say so.
	tf.reimport("2", reimports{
		ids:     map[string]func(*stateResource) string{"aws_acm_certificate_validation": notImportable},
		changed: []string{"aws_lb_listener", "aws_lb_listener_rule", "aws_s3_bucket"},
	})
	tf.destroy("2")
	// The keys that targets check claims by are not there under other names.
	resp, err := http.Get("http://" + s.listen + "/_roadstead/elb/public-keys/none")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown key: %d %s", resp.StatusCode, body)
	}
}

// wantFront checks what the case made.
func (s *server) wantFront(t *testing.T, unauthenticated, version, desync string) {
	t.Helper()
	lbs, err := s.elb.DescribeLoadBalancers(t.Context(), &elb.DescribeLoadBalancersInput{Names: []string{"tf-front"}})
	if err != nil {
		t.Fatal(err)
	}
	arn := lbs.LoadBalancers[0].LoadBalancerArn
	attributes, err := s.elb.DescribeLoadBalancerAttributes(t.Context(), &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attributes.Attributes {
		if *a.Key == "routing.http.desync_mitigation_mode" && *a.Value != desync {
			t.Errorf("desync mode %s, want %s", *a.Value, desync)
		}
	}
	listeners, err := s.elb.DescribeListeners(t.Context(), &elb.DescribeListenersInput{LoadBalancerArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners.Listeners {
		if *l.Port != 443 {
			continue
		}
		raw, _ := json.Marshal(l)
		if a := l.DefaultActions[0].AuthenticateOidcConfig; a == nil || string(a.OnUnauthenticatedRequest) != unauthenticated || *a.SessionTimeout != 3600 || strings.Contains(string(raw), "secret 1") {
			t.Errorf("the listener is %s", raw)
		}
		set, err := s.elb.DescribeListenerAttributes(t.Context(), &elb.DescribeListenerAttributesInput{ListenerArn: l.ListenerArn})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range set.Attributes {
			if *a.Key == "routing.http.request.x_amzn_tls_version.header_name" && *a.Value != version {
				t.Errorf("the header is %s, want %s", *a.Value, version)
			}
		}
	}
}
