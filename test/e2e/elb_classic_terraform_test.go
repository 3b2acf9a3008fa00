package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
)

// TestTerraformClassic applies classic load balancers with their instances,
// policies and an Auto Scaling group, changes and imports them.
func TestTerraformClassic(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	c := elasticloadbalancing.NewFromConfig(s.cfg)
	describe := func() (map[string]string, int) {
		t.Helper()
		all, err := c.DescribeLoadBalancers(t.Context(), &elasticloadbalancing.DescribeLoadBalancersInput{})
		if err != nil {
			t.Fatal(err)
		}
		policies := map[string]string{}
		instances := 0
		for _, lb := range all.LoadBalancerDescriptions {
			name := *lb.LoadBalancerName
			if strings.HasPrefix(name, "tfc-") {
				name = "plain"
			}
			instances += len(lb.Instances)
			for _, l := range lb.ListenerDescriptions {
				policies[name+" "+*l.Listener.Protocol] = strings.Join(l.PolicyNames, " ")
			}
			for _, p := range lb.BackendServerDescriptions {
				policies[fmt.Sprint(name, " port ", *p.InstancePort)] = strings.Join(p.PolicyNames, " ")
			}
		}
		return policies, instances
	}
	tf := configure(t, s, "classic", nil)
	tf.apply("1", "20 added, 0 changed, 0 destroyed")
	if got := tf.output("found"); got != "30 TCP:8080 true" {
		t.Errorf("the data source found %s", got)
	}
	if dns := tf.output("dns_name"); !strings.HasPrefix(dns, "tf-classic-") || !strings.HasSuffix(dns, ".us-east-1.elb.localhost") {
		t.Errorf("the DNS name is %s", dns)
	}
	policies, instances := describe()
	if policies["plain SSL"] != "tf-strict" || policies["plain port 8443"] != "tf-trusted" || policies["tf-classic port 6379"] != "TFEnableProxyProtocol" {
		t.Errorf("policies %v", policies)
	}
	if policies["tf-classic HTTP"] != "tf-app" || policies["tf-classic HTTPS"] != "tf-tls" || instances != 1 {
		t.Errorf("%d instances and policies %v", instances, policies)
	}
	tf.apply("2", "0 added, 3 changed, 0 destroyed")
	if got := tf.output("found"); got != "60 HTTP:8080/health true" {
		t.Errorf("the data source found %s", got)
	}
	if policies, instances = describe(); policies["tf-classic HTTPS"] != "tf-tls" || instances != 2 {
		t.Errorf("%d instances and policies %v", instances, policies)
	}
	tf.reimport("2", reimports{
		ids: map[string]func(*stateResource) string{
			"aws_elb_attachment": notImportable, "aws_lb_cookie_stickiness_policy": notImportable, "aws_app_cookie_stickiness_policy": notImportable,
			"aws_load_balancer_policy": notImportable, "aws_load_balancer_listener_policy": notImportable, "aws_proxy_protocol_policy": notImportable,
			"aws_acm_certificate_validation": notImportable, "aws_lb_ssl_negotiation_policy": notImportable, "aws_load_balancer_backend_server_policy": notImportable,
		},
		// As in balancerImports; what ends with an instance or a group, the
		// provider alone knows.
		changed: []string{"aws_security_group", "aws_instance", "aws_autoscaling_group", "aws_s3_bucket"},
	})
	tf.destroy("2")
	if policies, _ := describe(); len(policies) > 0 {
		t.Errorf("left: %v", policies)
	}
}
