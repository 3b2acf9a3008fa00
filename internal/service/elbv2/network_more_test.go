package elbv2

import (
	"slices"
	"testing"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestTLSListeners(t *testing.T) {
	w := newWorld(t)
	lb, group := w.network("net"), w.flowGroup("tls", "TLS")
	arn := w.certificate("a")
	create := func(port int32, alpn ...string) (*elbv2.CreateListenerOutput, error) {
		return w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: new(lb), Port: &port, Protocol: "TLS", DefaultActions: forward(group), Certificates: named(arn), AlpnPolicy: alpn,
		})
	}
	_, err := create(443, "HTTP3Only")
	refused(t, err, "ALPNPolicyNotFound", "HTTP3Only")
	_, err = create(443, "HTTP1Only", "HTTP2Only")
	refused(t, err, "ValidationError", "one ALPN policy")
	l := must(create(443, "HTTP2Preferred"))(w).Listeners[0]
	if !slices.Equal(l.AlpnPolicy, []string{"HTTP2Preferred"}) || *l.SslPolicy == "" || *l.Certificates[0].CertificateArn != arn || l.MutualAuthentication != nil {
		t.Errorf("the listener is %+v", l)
	}
	modify := func(in *elbv2.ModifyListenerInput) elbv2.Listener {
		in.ListenerArn = l.ListenerArn
		return must(w.s.ModifyListener(w.ctx, in))(w).Listeners[0]
	}
	if got := modify(&elbv2.ModifyListenerInput{AlpnPolicy: []string{"None"}}); !slices.Equal(got.AlpnPolicy, []string{"None"}) {
		t.Errorf("the policy is %v", got.AlpnPolicy)
	}
	if got := modify(&elbv2.ModifyListenerInput{Protocol: "TCP", DefaultActions: forward(w.flowGroup("tcp", "TCP"))}); got.AlpnPolicy != nil || got.Certificates != nil {
		t.Errorf("without TLS the listener is %+v", got)
	}
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, AlpnPolicy: []string{"None"}})
	refused(t, err, "ValidationError", "ALPN")
}

func TestNetworkListenersShareFlows(t *testing.T) {
	w := newWorld(t)
	lb, a, b := w.network("net"), w.flowGroup("a", "TCP"), w.flowGroup("b", "TCP_UDP")
	action := elbv2.Action{Type: "forward", ForwardConfig: &elbv2.ForwardActionConfig{TargetGroups: []elbv2.TargetGroupTuple{
		{TargetGroupArn: new(a), Weight: new(int32(90))}, {TargetGroupArn: new(b), Weight: new(int32(10))},
	}}}
	l := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(80)), Protocol: "TCP", DefaultActions: []elbv2.Action{action}}))(w).Listeners[0]
	if got := l.DefaultActions[0].ForwardConfig.TargetGroups; len(got) != 2 || *got[0].Weight != 90 {
		t.Errorf("forwards to %+v", got)
	}
	set := func(v string) error {
		_, err := w.s.ModifyListenerAttributes(w.ctx, &elbv2.ModifyListenerAttributesInput{
			ListenerArn: l.ListenerArn, Attributes: []elbv2.ListenerAttribute{{Key: new("tcp.idle_timeout.seconds"), Value: new(v)}},
		})
		return err
	}
	if err := set("6000"); err != nil {
		t.Error(err)
	}
	refused(t, set("59"), "ValidationError", "59")
	stick := func(arn string) error {
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
			TargetGroupArn: new(arn), Attributes: []elbv2.TargetGroupAttribute{{Key: new(stickinessEnabled), Value: new("true")}},
		})
		return err
	}
	refused(t, stick(a), "InvalidConfigurationRequest", "group stickiness")
	action.ForwardConfig.TargetGroupStickinessConfig = &elbv2.TargetGroupStickinessConfig{Enabled: new(true)}
	l = must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, DefaultActions: []elbv2.Action{action}}))(w).Listeners[0]
	if st := l.DefaultActions[0].ForwardConfig.TargetGroupStickinessConfig; !*st.Enabled || st.DurationSeconds != nil {
		t.Errorf("clients are bound to groups: %+v", st)
	}
	if err := stick(a); err != nil {
		t.Error(err)
	}
	action.ForwardConfig.TargetGroupStickinessConfig.Enabled = new(false)
	_, err := w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, DefaultActions: []elbv2.Action{action}})
	refused(t, err, "InvalidConfigurationRequest", "group stickiness")
}

// A TLS listener has groups of one protocol, and binds nobody.
func TestTLSListenersGroups(t *testing.T) {
	w := newWorld(t)
	lb, arn := w.network("net"), w.certificate("a")
	tcp, tls, sticky := w.flowGroup("tcp", "TCP"), w.flowGroup("tls", "TLS"), w.flowGroup("sticky", "TCP")
	stick := func(group string) error {
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
			TargetGroupArn: new(group), Attributes: []elbv2.TargetGroupAttribute{{Key: new(stickinessEnabled), Value: new("true")}},
		})
		return err
	}
	if err := stick(sticky); err != nil {
		t.Fatal(err)
	}
	create := func(port int32, bound bool, groups ...string) error {
		f := &elbv2.ForwardActionConfig{TargetGroupStickinessConfig: &elbv2.TargetGroupStickinessConfig{Enabled: &bound}}
		for _, g := range groups {
			f.TargetGroups = append(f.TargetGroups, elbv2.TargetGroupTuple{TargetGroupArn: new(g), Weight: new(int32(1))})
		}
		_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: new(lb), Port: &port, Protocol: "TLS", Certificates: named(arn), DefaultActions: []elbv2.Action{{Type: "forward", ForwardConfig: f}},
		})
		return err
	}
	refused(t, create(443, false, tcp, tls), "IncompatibleProtocols", "same protocol")
	refused(t, create(443, true, tcp), "InvalidLoadBalancerAction", "stickiness")
	refused(t, create(443, false, sticky), "InvalidConfigurationRequest", "Stickiness")
	if err := create(443, false, tcp); err != nil {
		t.Fatal(err)
	}
	refused(t, stick(tcp), "InvalidConfigurationRequest", "TLS")
}

func TestNetworkGroupAttributes(t *testing.T) {
	w := newWorld(t)
	tcp, udp, tls := w.flowGroup("tcp", "TCP"), w.flowGroup("udp", "UDP"), w.flowGroup("tls", "TLS")
	alb := *must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{
		Name: new("alb"), Protocol: "TCP", Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: elbv2.TargetTypeEnumAlb,
	}))(w).TargetGroups[0].TargetGroupArn
	set := func(arn string, pairs ...string) error {
		in := &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: new(arn)}
		for i := 0; i < len(pairs); i += 2 {
			in.Attributes = append(in.Attributes, elbv2.TargetGroupAttribute{Key: new(pairs[i]), Value: new(pairs[i+1])})
		}
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, in)
		return err
	}
	for _, c := range []struct {
		name       string
		err        error
		code, text string
	}{
		{"proxy protocol", set(tcp, proxyProtocol, "true"), "", ""},
		{"proxy protocol over TLS", set(tls, proxyProtocol, "true"), "", ""},
		{"proxy protocol of datagrams", set(udp, proxyProtocol, "true"), "InvalidConfigurationRequest", "UDP"},
		{"sources of datagrams", set(udp, preserveClientIP, "false"), "InvalidConfigurationRequest", "UDP"},
		{"sources over TLS", set(tls, preserveClientIP, "true"), "", ""},
		{"sticky TLS", set(tls, stickinessEnabled, "true"), "InvalidConfigurationRequest", "TLS"},
		{"draining alone", set(tcp, unhealthyDraining, "60"), "InvalidConfigurationRequest", unhealthyTermination},
		{"draining", set(tcp, unhealthyTermination, "false", unhealthyDraining, "60"), "", ""},
		{"termination while draining", set(tcp, unhealthyTermination, "true"), "InvalidConfigurationRequest", unhealthyDraining},
		{"failover", set(tcp, "target_group_health.dns_failover.minimum_healthy_targets.count", "off", "target_group_health.dns_failover.minimum_healthy_targets.percentage", "50"), "", ""},
		{"termination of datagrams", set(udp, unhealthyTermination, "true"), "InvalidConfigurationRequest", "UDP"},
		{"draining of datagrams", set(udp, unhealthyDraining, "60"), "", ""},
		{"datagrams go on", set(udp, deregistrationTermination, "false"), "", ""},
		{"a cookie", set(tcp, stickinessType, "lb_cookie"), "InvalidConfigurationRequest", "Stickiness type 'lb_cookie' is not supported for target groups with the TCP protocol"},
		{"zones of an inner load balancer", set(alb, crossZoneEnabled, "true"), "InvalidConfigurationRequest", "alb"},
		{"delay of an inner load balancer", set(alb, "deregistration_delay.timeout_seconds", "60"), "InvalidConfigurationRequest", "alb"},
		{"defaults of an inner load balancer", set(alb, "deregistration_delay.timeout_seconds", "300", preserveClientIP, "true"), "", ""},
		{"an inner load balancer's own zones", set(alb, crossZoneEnabled, "use_load_balancer_configuration"), "", ""},
		{"failover of gateway load balancers", set(tcp, "target_failover.on_unhealthy", "rebalance"), "ValidationError", "not recognized"},
		{"too much failover", set(tcp, "target_group_health.dns_failover.minimum_healthy_targets.percentage", "101"), "ValidationError", "101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.code == "" {
				if c.err != nil {
					t.Error(c.err)
				}
				return
			}
			refused(t, c.err, c.code, c.text)
		})
	}
	// HTTPS checks, and codes that only network load balancers know.
	must(w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: new(tls), HealthCheckProtocol: "HTTPS", Matcher: &elbv2.Matcher{HttpCode: new("200-599")}}))(w)
}

// Targets that are not in the VPC cannot answer to their clients.
func TestTargetsOutsideTheVPC(t *testing.T) {
	w := newWorld(t)
	tcp, udp := w.flowGroup("tcp", "TCP"), w.flowGroup("udp", "UDP")
	register := func(arn string) error {
		_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: new(arn), Targets: []elbv2.TargetDescription{{Id: new("10.9.9.9"), AvailabilityZone: new("all")}}})
		return err
	}
	refused(t, register(udp), "InvalidTarget", "10.9.9.9")
	if err := register(tcp); err != nil {
		t.Fatal(err)
	}
	_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: new(tcp), Attributes: []elbv2.TargetGroupAttribute{{Key: new(preserveClientIP), Value: new("true")}},
	})
	refused(t, err, "InvalidConfigurationRequest", "10.9.9.9")
}

func TestApplicationLoadBalancersAsTargets(t *testing.T) {
	w := newWorld(t)
	alb := w.loadBalancer("app")
	create := func(name string, change func(*elbv2.CreateTargetGroupInput)) (elbv2.TargetGroup, error) {
		in := &elbv2.CreateTargetGroupInput{Name: new(name), Protocol: "TCP", Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "alb"}
		if change != nil {
			change(in)
		}
		out, err := w.s.CreateTargetGroup(w.ctx, in)
		if err != nil {
			return elbv2.TargetGroup{}, err
		}
		return out.TargetGroups[0], nil
	}
	_, err := create("udp", func(in *elbv2.CreateTargetGroupInput) { in.Protocol = "UDP" })
	refused(t, err, "ValidationError", "alb")
	_, err = create("tcp", func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckProtocol = "TCP" })
	refused(t, err, "ValidationError", "[HTTPS, HTTP]")
	g := must(create("g", nil))(w)
	if g.HealthCheckProtocol != "HTTP" || *g.Matcher.HttpCode != "200-399" || g.TargetType != "alb" {
		t.Errorf("the group is %+v", g)
	}
	register := func(group string, d elbv2.TargetDescription) error {
		_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: new(group), Targets: []elbv2.TargetDescription{d}})
		return err
	}
	refused(t, register(*g.TargetGroupArn, elbv2.TargetDescription{Id: new(alb)}), "ValidationError", "at least one listener that matches")
	listener := w.listener(alb, 80, forward(w.group("web")))
	refused(t, register(*g.TargetGroupArn, elbv2.TargetDescription{Id: new("10.0.0.1")}), "ValidationError", "10.0.0.1")
	refused(t, register(*g.TargetGroupArn, elbv2.TargetDescription{Id: new(w.network("other"))}), "InvalidTarget", "do not exist")
	for range 2 {
		if err := register(*g.TargetGroupArn, elbv2.TargetDescription{Id: new(alb)}); err != nil {
			t.Fatal(err)
		}
	}
	second := w.loadBalancer("second")
	w.listener(second, 80, forward(w.group("web2")))
	refused(t, register(*g.TargetGroupArn, elbv2.TargetDescription{Id: new(second)}), "TooManyTargets", "only one")
	if h := must(w.s.DescribeTargetHealth(w.ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn}))(w).TargetHealthDescriptions; len(h) != 1 || *h[0].Target.Id != alb {
		t.Errorf("targets %+v", h)
	}

	// What is a target stays.
	_, err = w.s.DeleteListener(w.ctx, &elbv2.DeleteListenerInput{ListenerArn: new(listener)})
	refused(t, err, "ResourceInUse", "Listener port '80' is in use")
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: new(listener), Port: new(int32(81))})
	refused(t, err, "ResourceInUse", "80")
	_, err = w.s.DeleteLoadBalancer(w.ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: new(alb)})
	refused(t, err, "ResourceInUse", alb)

	// Two network load balancers and no third.
	for i, name := range []string{"one", "two", "three"} {
		group := must(create("g-"+name, nil))(w)
		if err := register(*group.TargetGroupArn, elbv2.TargetDescription{Id: new(alb)}); err != nil {
			t.Fatal(err)
		}
		_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: new(w.network(name)), Port: new(int32(80)), Protocol: "TCP", DefaultActions: forward(*group.TargetGroupArn),
		})
		if i < 2 && err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			refused(t, err, "TooManyRegistrationsForTargetId", alb)
		}
	}
	_, err = w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: g.TargetGroupArn, Attributes: []elbv2.TargetGroupAttribute{{Key: new(preserveClientIP), Value: new("false")}},
	})
	refused(t, err, "InvalidConfigurationRequest", "alb")

	// It may go once it is no target any more.
	rows, err := tables.Targets.List(w.ctx, w.st, store.Query{Account: account, Region: region, Index: store.Index{Name: tables.ByTargetBalancer, Value: model.LoadBalancerID(alb)}})
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d registrations, %v", len(rows), err)
	}
	for _, r := range rows {
		must(w.s.DeregisterTargets(w.ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: new(r.V.TargetGroupARN), Targets: []elbv2.TargetDescription{{Id: new(alb)}}}))(w)
	}
	must(w.s.DeleteListener(w.ctx, &elbv2.DeleteListenerInput{ListenerArn: new(listener)}))(w)
	must(w.s.DeleteLoadBalancer(w.ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: new(alb)}))(w)
}

// Attributes of network load balancers themselves.
func TestNetworkBalancerAttributes(t *testing.T) {
	w := newWorld(t)
	facing := w.network("net")
	internal := *must(w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{
		Name: new("in"), Type: elbv2.LoadBalancerTypeEnumNetwork, Scheme: elbv2.LoadBalancerSchemeEnumInternal, Subnets: []string{"subnet-a"},
	}))(w).LoadBalancers[0].LoadBalancerArn
	const routing = "dns_record.client_routing_policy"
	attribute := func(arn, key string) string {
		for _, a := range must(w.s.DescribeLoadBalancerAttributes(w.ctx, &elbv2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: new(arn)}))(w).Attributes {
			if *a.Key == key {
				return *a.Value
			}
		}
		return "none"
	}
	set := func(v string) error {
		_, err := w.s.ModifyLoadBalancerAttributes(w.ctx, &elbv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: new(facing), Attributes: []elbv2.LoadBalancerAttribute{{Key: new(routing), Value: new(v)}},
		})
		return err
	}
	for _, c := range []struct{ arn, key, want string }{
		{facing, routing, "any_availability_zone"},
		{facing, crossZoneEnabled, "false"},
		{facing, denyGateways, "false"},
		{internal, denyGateways, "true"},
	} {
		if got := attribute(c.arn, c.key); got != c.want {
			t.Errorf("%s is %s, want %s", c.key, got, c.want)
		}
	}
	for _, v := range []string{"partial_availability_zone_affinity", "availability_zone_affinity", "any_availability_zone"} {
		if err := set(v); err != nil || attribute(facing, routing) != v {
			t.Errorf("%s: %v, it is %s", v, err, attribute(facing, routing))
		}
	}
	refused(t, set("no_zone"), "ValidationError", "no_zone")
}
