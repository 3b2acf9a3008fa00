package elbv2

import (
	"net/netip"
	"strings"
	"testing"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// network makes a network load balancer in one subnet.
func (w *world) network(name string) string {
	w.t.Helper()
	out := must(w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{
		Name: new(name), Type: elbv2.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-a"},
	}))(w)
	return *out.LoadBalancers[0].LoadBalancerArn
}

// flowGroup makes a target group of IP addresses.
func (w *world) flowGroup(name string, protocol elbv2.ProtocolEnum) string {
	w.t.Helper()
	out := must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{
		Name: new(name), Protocol: protocol, Port: new(int32(53)), VpcId: new("vpc-1"), TargetType: elbv2.TargetTypeEnumIp,
	}))(w)
	return *out.TargetGroups[0].TargetGroupArn
}

func (w *world) address(allocation, eni string) {
	w.t.Helper()
	tx := store.NewTxn()
	tables.Addresses.Put(tx, account, region, allocation, &model.Address{ID: allocation, PublicIP: netip.MustParseAddr("198.51.100.7"), NetworkInterfaceID: eni})
	if _, err := tx.Commit(w.ctx, w.st); err != nil {
		w.t.Fatal(err)
	}
}

func TestNetworkLoadBalancer(t *testing.T) {
	w := newWorld(t)
	w.address("eipalloc-1", "")
	in := &elbv2.CreateLoadBalancerInput{
		Name: new("Net"), Type: elbv2.LoadBalancerTypeEnumNetwork,
		SubnetMappings: []elbv2.SubnetMapping{{SubnetId: new("subnet-a"), AllocationId: new("eipalloc-1")}},
	}
	lb := must(w.s.CreateLoadBalancer(w.ctx, in))(w).LoadBalancers[0]
	if !strings.Contains(*lb.LoadBalancerArn, ":loadbalancer/net/Net/") {
		t.Errorf("the ARN is %s", *lb.LoadBalancerArn)
	}
	id := model.LoadBalancerID(*lb.LoadBalancerArn)
	if want := "net-" + id + ".us-east-1.elb.localhost"; *lb.DNSName != want {
		t.Errorf("the name is %s, want %s", *lb.DNSName, want)
	}
	if len(lb.SecurityGroups) != 0 || lb.Type != "network" || *lb.CanonicalHostedZoneId != "Z26RNL4JYFTOTI" {
		t.Errorf("got %+v", lb)
	}
	if a := lb.AvailabilityZones[0].LoadBalancerAddresses; len(a) != 1 || *a[0].AllocationId != "eipalloc-1" {
		t.Errorf("addresses %+v", a)
	}
	w.address("eipalloc-1", "eni-of-the-load-balancer")
	if again := must(w.s.CreateLoadBalancer(w.ctx, in))(w).LoadBalancers[0]; *again.LoadBalancerArn != *lb.LoadBalancerArn {
		t.Error("a second one was made")
	}
	_, err := w.s.SetSecurityGroups(w.ctx, &elbv2.SetSecurityGroupsInput{LoadBalancerArn: lb.LoadBalancerArn, SecurityGroups: []string{"sg-2"}})
	refused(t, err, "InvalidConfigurationRequest", "without security groups")
}

func TestNetworkLoadBalancerRefusals(t *testing.T) {
	w := newWorld(t)
	w.address("eipalloc-taken", "eni-1")
	for _, c := range []struct {
		name       string
		scheme     elbv2.LoadBalancerSchemeEnum
		mapping    elbv2.SubnetMapping
		code, text string
	}{
		{"no address", "", elbv2.SubnetMapping{AllocationId: new("eipalloc-none")}, "AllocationIdNotFound", "eipalloc-none"},
		{"address in use", "", elbv2.SubnetMapping{AllocationId: new("eipalloc-taken")}, "ResourceInUse", "eipalloc-taken"},
		{"internal", "internal", elbv2.SubnetMapping{AllocationId: new("eipalloc-taken")}, "InvalidConfigurationRequest", "internal"},
		{"facing", "", elbv2.SubnetMapping{PrivateIPv4Address: new("172.31.0.9")}, "InvalidConfigurationRequest", "internal"},
		{"elsewhere", "internal", elbv2.SubnetMapping{PrivateIPv4Address: new("172.31.99.9")}, "InvalidSubnet", "not in the subnet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.mapping.SubnetId = new("subnet-a")
			_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{
				Name: new("net"), Type: elbv2.LoadBalancerTypeEnumNetwork, Scheme: c.scheme, SubnetMappings: []elbv2.SubnetMapping{c.mapping},
			})
			refused(t, err, c.code, c.text)
		})
	}
}

func TestNetworkListeners(t *testing.T) {
	w := newWorld(t)
	lb, app := w.network("net"), w.loadBalancer("app")
	tcp, udp, both, web := w.flowGroup("tcp", "TCP"), w.flowGroup("udp", "UDP"), w.flowGroup("both", "TCP_UDP"), w.group("web")
	to := func(arn string) []elbv2.Action { return []elbv2.Action{{Type: "forward", TargetGroupArn: new(arn)}} }
	for _, c := range []struct {
		name, lb   string
		protocol   elbv2.ProtocolEnum
		actions    []elbv2.Action
		code, text string
	}{
		{"HTTP", lb, "HTTP", to(web), "ValidationError", "[TCP, TLS, UDP, TCP_UDP]"},
		{"TLS without a certificate", lb, "TLS", to(tcp), "ValidationError", "certificate"},
		{"TLS to UDP", lb, "TLS", to(udp), "IncompatibleProtocols", ""},
		{"TCP on an application load balancer", app, "TCP", to(tcp), "ValidationError", "[HTTPS, HTTP]"},
		{"a group for HTTP", lb, "TCP", to(web), "IncompatibleProtocols", ""},
		{"TCP to UDP", lb, "TCP", to(udp), "IncompatibleProtocols", ""},
		{"a group for TCP", app, "HTTP", to(tcp), "IncompatibleProtocols", ""},
		{"a fixed response", lb, "TCP", []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("200")}}}, "InvalidLoadBalancerAction", "forward"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(c.lb), Port: new(int32(53)), Protocol: c.protocol, DefaultActions: c.actions})
			refused(t, err, c.code, c.text)
		})
	}
	out := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(53)), Protocol: "UDP", DefaultActions: to(both)}))(w)
	arn := out.Listeners[0].ListenerArn
	_, err := w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: arn, DefaultActions: to(tcp)})
	refused(t, err, "IncompatibleProtocols", "UDP")
	changed := must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: arn, Protocol: "TCP", DefaultActions: to(tcp)}))(w)
	if l := changed.Listeners[0]; l.Protocol != "TCP" || *l.DefaultActions[0].TargetGroupArn != tcp {
		t.Errorf("changed into %+v", l)
	}
	_, err = w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{
		ListenerArn: arn, Priority: new(int32(1)), Actions: to(tcp),
		Conditions: []elbv2.RuleCondition{{Field: new("path-pattern"), Values: []string{"/"}}},
	})
	refused(t, err, "OperationNotPermitted", "TCP")
}

func TestNetworkTargetGroups(t *testing.T) {
	w := newWorld(t)
	show := func(arn string) elbv2.TargetGroup {
		return must(w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{arn}}))(w).TargetGroups[0]
	}
	attribute := func(arn, key string) string {
		for _, a := range must(w.s.DescribeTargetGroupAttributes(w.ctx, &elbv2.DescribeTargetGroupAttributesInput{TargetGroupArn: new(arn)}))(w).Attributes {
			if *a.Key == key {
				return *a.Value
			}
		}
		return "none"
	}
	set := func(arn, key, v string) error {
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
			TargetGroupArn: new(arn), Attributes: []elbv2.TargetGroupAttribute{{Key: new(key), Value: new(v)}},
		})
		return err
	}
	tcp, udp := w.flowGroup("tcp", "TCP"), w.flowGroup("udp", "UDP")
	g := show(tcp)
	if g.HealthCheckProtocol != "TCP" || *g.HealthCheckTimeoutSeconds != 10 || g.HealthCheckPath != nil || g.Matcher != nil || g.ProtocolVersion != nil {
		t.Errorf("the group is %+v", g)
	}
	if a, b := attribute(tcp, preserveClientIP), attribute(udp, preserveClientIP); a != "false" || b != "true" {
		t.Errorf("clients' addresses are preserved: TCP %s, UDP %s", a, b)
	}
	for _, c := range []struct{ key, tcp, udp string }{{deregistrationTermination, "false", "true"}, {unhealthyTermination, "true", "false"}} {
		if a, b := attribute(tcp, c.key), attribute(udp, c.key); a != c.tcp || b != c.udp {
			t.Errorf("%s is %s for TCP, %s for UDP", c.key, a, b)
		}
	}
	refused(t, set(udp, preserveClientIP, "false"), "InvalidConfigurationRequest", "UDP")
	refused(t, set(tcp, "slow_start.duration_seconds", "30"), "ValidationError", "not recognized")
	// The shortest interval is as long as the default timeout.
	must(w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: new(udp), HealthCheckIntervalSeconds: new(int32(10))}))(w)
	if err := set(tcp, preserveClientIP, "true"); err != nil {
		t.Error(err)
	}
	_, err := w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: new(tcp), HealthCheckPath: new("/health")})
	refused(t, err, "ValidationError", "TCP")
	must(w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: new(tcp), HealthCheckProtocol: "HTTP", HealthCheckPath: new("/health")}))(w)
	if g := show(tcp); *g.HealthCheckPath != "/health" || *g.Matcher.HttpCode != "200-399" {
		t.Errorf("the check is %+v", g)
	}
}
