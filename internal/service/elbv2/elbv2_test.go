package elbv2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	region  = "us-east-1"
)

// world is a service beside a VPC with three subnets, in two zones.
type world struct {
	t   *testing.T
	s   *Service
	ctx context.Context
	st  store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	tx := store.NewTxn()
	for _, vpc := range []string{"vpc-1", "vpc-2"} {
		cidr := netip.MustParsePrefix("172.31.0.0/16")
		tables.VPCs.Put(tx, account, region, vpc, &model.VPC{ID: vpc, CIDR: cidr, CIDRs: []model.VPCCIDR{{CIDR: cidr}}, DefaultGroupID: "sg-" + vpc})
		tables.SecurityGroups.Put(tx, account, region, "sg-"+vpc, &model.SecurityGroup{ID: "sg-" + vpc, VPCID: vpc})
		tables.InternetGateways.Put(tx, account, region, "igw-"+vpc, &model.InternetGateway{ID: "igw-" + vpc, VPCID: vpc})
	}
	tables.SecurityGroups.Put(tx, account, region, "sg-2", &model.SecurityGroup{ID: "sg-2", VPCID: "vpc-1"})
	for i, sn := range []string{"subnet-a", "subnet-b", "subnet-b2", "subnet-other"} {
		vpc := "vpc-1"
		if sn == "subnet-other" {
			vpc = "vpc-2"
		}
		tables.Subnets.Put(tx, account, region, sn, &model.Subnet{
			ID: sn, VPCID: vpc, Zone: region + sn[7:8], CIDR: netip.MustParsePrefix(fmt.Sprintf("172.31.%d.0/20", 16*i)),
		})
	}
	if _, err := tx.Commit(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	ctx := api.WithCall(t.Context(), &api.Call{Account: account, Region: region, Partition: "aws", Time: time.Unix(1700000000, 0).UTC(), Authorize: allowAll})
	return &world{t: t, s: New(Config{Store: st, Key: testKey(t)}), ctx: ctx, st: st}
}

func testKey(t *testing.T) *seal.Key {
	t.Helper()
	k, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// allowAll lets the caller do everything.
func allowAll(context.Context, string, string, map[string]string) error { return nil }

// must fails the test on an error.
func must[T any](out T, err error) func(*world) T {
	return func(w *world) T {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
		return out
	}
}

// refused checks that err is AWS's error with that code, and that its message
// holds text.
func refused(t *testing.T, err error, code, text string) {
	t.Helper()
	var e api.Error
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), text) {
		t.Errorf("got %v, want %s: %s", err, code, text)
	}
}

func (w *world) loadBalancer(name string) string {
	w.t.Helper()
	out := must(w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new(name), Subnets: []string{"subnet-a", "subnet-b"}}))(w)
	return *out.LoadBalancers[0].LoadBalancerArn
}

func (w *world) group(name string) string {
	w.t.Helper()
	out := must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{
		Name: new(name), Protocol: "HTTP", Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "ip",
	}))(w)
	return *out.TargetGroups[0].TargetGroupArn
}

func forward(group string) []elbv2.Action {
	return []elbv2.Action{{Type: "forward", TargetGroupArn: new(group)}}
}

func (w *world) listener(lb string, port int32, acts []elbv2.Action) string {
	w.t.Helper()
	out := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: new(lb), Port: new(port), Protocol: "HTTP", DefaultActions: acts,
	}))(w)
	return *out.Listeners[0].ListenerArn
}

func path(patterns ...string) []elbv2.RuleCondition {
	return []elbv2.RuleCondition{{Field: new("path-pattern"), PathPatternConfig: &elbv2.PathPatternConditionConfig{Values: patterns}}}
}

func (w *world) rule(listener string, priority int32, acts []elbv2.Action) string {
	w.t.Helper()
	out := must(w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{
		ListenerArn: new(listener), Priority: new(priority), Conditions: path("/x/*"), Actions: acts,
	}))(w)
	return *out.Rules[0].RuleArn
}

func TestLoadBalancerLifecycle(t *testing.T) {
	w := newWorld(t)
	out := must(w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{
		Name: new("Shop"), Subnets: []string{"subnet-b", "subnet-a"}, Tags: []elbv2.Tag{{Key: new("k"), Value: new("v")}},
	}))(w)
	lb := out.LoadBalancers[0]
	arn := *lb.LoadBalancerArn
	hex := arn[len(arn)-16:]
	if arn != "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/Shop/"+hex {
		t.Errorf("ARN %s", arn)
	}
	if !strings.HasPrefix(*lb.DNSName, "shop-") || !strings.HasSuffix(*lb.DNSName, ".us-east-1.elb.localhost") {
		t.Errorf("DNS name %s", *lb.DNSName)
	}
	if lb.State.Code != "provisioning" || lb.Scheme != "internet-facing" || *lb.VpcId != "vpc-1" || *lb.CanonicalHostedZoneId != "Z35SXDOTRQ7X7K" ||
		!cmp.Equal(lb.SecurityGroups, []string{"sg-vpc-1"}) || *lb.AvailabilityZones[0].SubnetId != "subnet-a" {
		t.Errorf("got %+v", lb)
	}
	// The same again is the same; another with its name is refused.
	again := must(w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("Shop"), Subnets: []string{"subnet-a", "subnet-b"}}))(w)
	if *again.LoadBalancers[0].LoadBalancerArn != arn {
		t.Error("a second load balancer was made")
	}
	_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("Shop"), Subnets: []string{"subnet-a", "subnet-b"}, Scheme: "internal"})
	refused(t, err, "DuplicateLoadBalancerName", "A load balancer with the same name 'Shop' exists, but with different settings")

	got := must(w.s.SetSecurityGroups(w.ctx, &elbv2.SetSecurityGroupsInput{LoadBalancerArn: new(arn), SecurityGroups: []string{"sg-2"}}))(w)
	if !cmp.Equal(got.SecurityGroupIds, []string{"sg-2"}) {
		t.Errorf("groups %v", got.SecurityGroupIds)
	}
	set := must(w.s.SetSubnets(w.ctx, &elbv2.SetSubnetsInput{LoadBalancerArn: new(arn), Subnets: []string{"subnet-a", "subnet-b2"}}))(w)
	if *set.AvailabilityZones[1].SubnetId != "subnet-b2" {
		t.Errorf("zones %+v", set.AvailabilityZones)
	}

	group := w.group("g")
	listener := w.listener(arn, 80, forward(group))
	w.rule(listener, 1, forward(group))
	attr := func(v string) {
		must(w.s.ModifyLoadBalancerAttributes(w.ctx, &elbv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: new(arn), Attributes: []elbv2.LoadBalancerAttribute{{Key: new(deletionProtection), Value: new(v)}},
		}))(w)
	}
	attr("true")
	_, err = w.s.DeleteLoadBalancer(w.ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: new(arn)})
	refused(t, err, "OperationNotPermitted", "cannot be deleted because deletion protection is enabled")
	attr("false")
	for range 2 {
		must(w.s.DeleteLoadBalancer(w.ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: new(arn)}))(w)
	}
	_, err = w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
	refused(t, err, "LoadBalancerNotFound", "One or more load balancers not found")
	_, err = w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{Names: []string{"Shop"}})
	refused(t, err, "LoadBalancerNotFound", "Load balancers '[Shop]' not found")
	_, err = w.s.DescribeListeners(w.ctx, &elbv2.DescribeListenersInput{ListenerArns: []string{listener}})
	refused(t, err, "ListenerNotFound", "One or more listeners not found")
	must(w.s.DeleteTargetGroup(w.ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: new(group)}))(w)
	// The name is free while the old one is still being taken down.
	if w.loadBalancer("Shop") == arn {
		t.Error("the deleted load balancer came back")
	}
}

func TestLoadBalancerRefusals(t *testing.T) {
	w := newWorld(t)
	two := []string{"subnet-a", "subnet-b"}
	for _, c := range []struct {
		name       string
		in         elbv2.CreateLoadBalancerInput
		code, text string
	}{
		{"one zone", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: two[:1]}, "ValidationError", "At least two subnets in two different Availability Zones must be specified"},
		{"same zone", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: []string{"subnet-b", "subnet-b2"}}, "InvalidConfigurationRequest", "A load balancer cannot be attached to multiple subnets in the same Availability Zone"},
		{"no subnet", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: []string{"subnet-x", "subnet-b"}}, "SubnetNotFound", "subnet-x"},
		{"two VPCs", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: []string{"subnet-a", "subnet-other"}}, "InvalidSubnet", ""},
		{"group of another VPC", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: two, SecurityGroups: []string{"sg-vpc-2"}}, "InvalidSecurityGroup", ""},
		{"gateway", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: two, Type: "gateway"}, "InvalidConfigurationRequest", "'gateway'"},
		{"dualstack", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: two, IpAddressType: "dualstack"}, "InvalidConfigurationRequest", "dualstack"},
		{"long name", elbv2.CreateLoadBalancerInput{Name: new(strings.Repeat("a", 33)), Subnets: two}, "ValidationError", "longer than '32'"},
		{"underscore", elbv2.CreateLoadBalancerInput{Name: new("a_b"), Subnets: two}, "ValidationError", "alphanumeric"},
		{"hyphen", elbv2.CreateLoadBalancerInput{Name: new("a-"), Subnets: two}, "ValidationError", "begin or end"},
		{"internal", elbv2.CreateLoadBalancerInput{Name: new("internal-a"), Subnets: two}, "ValidationError", "internal-"},
		{"twice the tag", elbv2.CreateLoadBalancerInput{Name: new("a"), Subnets: two, Tags: []elbv2.Tag{{Key: new("k")}, {Key: new("k")}}}, "DuplicateTagKeys", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.s.CreateLoadBalancer(w.ctx, &c.in)
			refused(t, err, c.code, c.text)
		})
	}
}

func TestListenersAndRules(t *testing.T) {
	w := newWorld(t)
	lb, one, two := w.loadBalancer("lb"), w.group("one"), w.group("two")
	l := w.listener(lb, 80, forward(one))
	if w.listener(lb, 80, forward(one)) != l {
		t.Error("creating the same listener made another")
	}
	_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(80)), Protocol: "HTTP", DefaultActions: forward(two)})
	refused(t, err, "DuplicateListener", "A listener already exists on this port for this load balancer")
	_, err = w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(443)), Protocol: "HTTPS", DefaultActions: forward(two)})
	refused(t, err, "ValidationError", "A certificate must be specified for HTTPS listeners")

	r1, r2 := w.rule(l, 10, forward(one)), w.rule(l, 20, forward(two))
	_, err = w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: new(l), Priority: new(int32(10)), Conditions: path("/y"), Actions: forward(one)})
	refused(t, err, "PriorityInUse", "Priority '10' is currently in use")
	_, err = w.s.SetRulePriorities(w.ctx, &elbv2.SetRulePrioritiesInput{RulePriorities: []elbv2.RulePriorityPair{{RuleArn: new(r1), Priority: new(int32(20))}}})
	refused(t, err, "PriorityInUse", "20")
	must(w.s.SetRulePriorities(w.ctx, &elbv2.SetRulePrioritiesInput{RulePriorities: []elbv2.RulePriorityPair{
		{RuleArn: new(r1), Priority: new(int32(20))}, {RuleArn: new(r2), Priority: new(int32(10))},
	}}))(w)
	got := must(w.s.DescribeRules(w.ctx, &elbv2.DescribeRulesInput{ListenerArn: new(l)}))(w)
	var order []string
	for _, r := range got.Rules {
		order = append(order, *r.Priority+" "+value(r.Actions[0].TargetGroupArn))
	}
	if want := []string{"10 " + two, "20 " + one, "default " + one}; !cmp.Equal(order, want) {
		t.Errorf("rules %v, want %v", order, want)
	}
	if c := got.Rules[0].Conditions[0]; *c.Field != "path-pattern" || !cmp.Equal(c.Values, []string{"/x/*"}) || !cmp.Equal(c.PathPatternConfig.Values, c.Values) {
		t.Errorf("condition %+v", c)
	}
	def := *got.Rules[2].RuleArn
	_, err = w.s.DeleteRule(w.ctx, &elbv2.DeleteRuleInput{RuleArn: new(def)})
	refused(t, err, "OperationNotPermitted", "Default rule")

	_, err = w.s.DeleteTargetGroup(w.ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: new(two)})
	refused(t, err, "ResourceInUse", "is currently in use by a listener or a rule")
	other := w.loadBalancer("other")
	_, err = w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(other), Port: new(int32(80)), Protocol: "HTTP", DefaultActions: forward(two)})
	refused(t, err, "TargetGroupAssociationLimit", two)
	groups := must(w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{LoadBalancerArn: new(lb)}))(w)
	if len(groups.TargetGroups) != 2 || !cmp.Equal(groups.TargetGroups[0].LoadBalancerArns, []string{lb}) {
		t.Errorf("groups of the load balancer: %+v", groups.TargetGroups)
	}

	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: new(r2), Actions: forward(one)}))(w)
	must(w.s.DeleteTargetGroup(w.ctx, &elbv2.DeleteTargetGroupInput{TargetGroupArn: new(two)}))(w)
	m := must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: new(l), Port: new(int32(8080)), DefaultActions: []elbv2.Action{
		{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("404")}},
	}}))(w)
	if *m.Listeners[0].Port != 8080 || *m.Listeners[0].DefaultActions[0].FixedResponseConfig.StatusCode != "404" {
		t.Errorf("got %+v", m.Listeners[0])
	}
	must(w.s.DeleteListener(w.ctx, &elbv2.DeleteListenerInput{ListenerArn: new(l)}))(w)
	_, err = w.s.DescribeRules(w.ctx, &elbv2.DescribeRulesInput{RuleArns: []string{r1}})
	refused(t, err, "RuleNotFound", "One or more rules not found")
}

func TestActionRefusals(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("lb"), w.group("g")
	for _, c := range []struct {
		name       string
		acts       []elbv2.Action
		code, text string
	}{
		{"none", nil, "ValidationError", "action"},
		{"no group", forward("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/0123456789abcdef"), "TargetGroupNotFound", "One or more target groups not found"},
		{"not an ARN", forward("g"), "ValidationError", "is not a valid target group ARN"},
		{"two actions", append(forward(g), forward(g)...), "InvalidLoadBalancerAction", ""},
		{"authenticate", []elbv2.Action{{Type: "authenticate-oidc"}}, "InvalidLoadBalancerAction", ""},
		{"redirect loop", []elbv2.Action{{Type: "redirect", RedirectConfig: &elbv2.RedirectActionConfig{StatusCode: "HTTP_301"}}}, "InvalidLoadBalancerAction", "loop"},
		{"content type", []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("200"), ContentType: new("image/png")}}}, "ValidationError", "image/png"},
		{"weight", []elbv2.Action{{Type: "forward", ForwardConfig: &elbv2.ForwardActionConfig{TargetGroups: []elbv2.TargetGroupTuple{{TargetGroupArn: new(g), Weight: new(int32(1000))}}}}}, "ValidationError", "between 0 and 999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(lb), Port: new(int32(80)), Protocol: "HTTP", DefaultActions: c.acts})
			refused(t, err, c.code, c.text)
		})
	}
}

func TestConditionRefusals(t *testing.T) {
	host := func(v ...string) elbv2.RuleCondition {
		return elbv2.RuleCondition{Field: new("host-header"), HostHeaderConfig: &elbv2.HostHeaderConditionConfig{Values: v}}
	}
	for _, c := range []struct {
		name  string
		conds []elbv2.RuleCondition
		text  string
	}{
		{"none", nil, "A condition must be specified"},
		{"unknown", []elbv2.RuleCondition{{Field: new("color")}}, "Condition field 'color' must be one of"},
		{"no value", []elbv2.RuleCondition{host()}, "A condition value must be specified"},
		{"twice", []elbv2.RuleCondition{host("a.b"), host("c.d")}, "multiple conditions of type 'host-header'"},
		{"six values", path("/1", "/2", "/3", "/4", "/5", "/6"), "A rule can only have '5' condition values"},
		{"seven wildcards", path("/*/*/*", "/?/?/?/?"), "A rule can only have '6' wildcards"},
		{"long", path("/" + strings.Repeat("a", 128)), "cannot be longer than '128' characters"},
		{"host characters", []elbv2.RuleCondition{host("a b")}, "invalid characters"},
		{"CIDR", []elbv2.RuleCondition{{Field: new("source-ip"), SourceIpConfig: &elbv2.SourceIpConditionConfig{Values: []string{"10.0.0.1"}}}}, "is not a valid CIDR block"},
		{"host as header", []elbv2.RuleCondition{{Field: new("http-header"), HttpHeaderConfig: &elbv2.HttpHeaderConditionConfig{HttpHeaderName: new("host"), Values: []string{"a"}}}}, "host-header"},
		{"method", []elbv2.RuleCondition{{Field: new("http-request-method"), HttpRequestMethodConfig: &elbv2.HttpRequestMethodConditionConfig{Values: []string{"get"}}}}, "'get' is not valid"},
		{"legacy method", []elbv2.RuleCondition{{Field: new("http-request-method"), Values: []string{"GET"}}}, "must be given with its configuration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := conditions(c.conds)
			refused(t, err, "ValidationError", c.text)
		})
	}
	if _, err := conditions([]elbv2.RuleCondition{{Field: new("path-pattern"), Values: []string{"/a*"}}}); err != nil {
		t.Errorf("old form of a path: %v", err)
	}
}

func TestTargetGroupDefaultsAndRefusals(t *testing.T) {
	w := newWorld(t)
	arn := w.group("g")
	got := must(w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{Names: []string{"g"}}))(w).TargetGroups[0]
	if *got.TargetGroupArn != arn || *got.HealthCheckPath != "/" || *got.HealthCheckPort != "traffic-port" || *got.HealthCheckIntervalSeconds != 30 ||
		*got.HealthCheckTimeoutSeconds != 5 || *got.HealthyThresholdCount != 5 || *got.UnhealthyThresholdCount != 2 || *got.Matcher.HttpCode != "200" {
		t.Errorf("got %+v", got)
	}
	if w.group("g") != arn {
		t.Error("creating the same group made another")
	}
	// Terraform names no protocol version by an empty one.
	unnamed := must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{
		Name: new("u"), Protocol: "HTTP", ProtocolVersion: new(""), Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "ip",
	}))(w)
	if v := *unnamed.TargetGroups[0].ProtocolVersion; v != "HTTP1" {
		t.Errorf("protocol version %q", v)
	}
	base := func() *elbv2.CreateTargetGroupInput {
		return &elbv2.CreateTargetGroupInput{Name: new("x"), Protocol: "HTTP", Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "ip"}
	}
	for _, c := range []struct {
		name       string
		change     func(*elbv2.CreateTargetGroupInput)
		code, text string
	}{
		{"other settings", func(in *elbv2.CreateTargetGroupInput) { in.Name, in.Port = new("g"), new(int32(81)) }, "DuplicateTargetGroupName", "exists, but with different settings"},
		{"no VPC", func(in *elbv2.CreateTargetGroupInput) { in.VpcId = new("vpc-x") }, "ValidationError", "The VPC ID 'vpc-x' is not found"},
		{"functions", func(in *elbv2.CreateTargetGroupInput) { in.TargetType = "lambda" }, "InvalidConfigurationRequest", "'lambda'"},
		{"instances unchecked", func(in *elbv2.CreateTargetGroupInput) { in.TargetType, in.HealthCheckEnabled = "", new(false) }, "ValidationError", "'instance'"},
		{"GENEVE", func(in *elbv2.CreateTargetGroupInput) { in.Protocol = "GENEVE" }, "UnsupportedProtocol", "GENEVE"},
		{"version", func(in *elbv2.CreateTargetGroupInput) { in.ProtocolVersion = new("HTTP3") }, "ValidationError", "[HTTP1, HTTP2, GRPC]"},
		{"timeout", func(in *elbv2.CreateTargetGroupInput) {
			in.HealthCheckIntervalSeconds, in.HealthCheckTimeoutSeconds = new(int32(5)), new(int32(5))
		}, "ValidationError", "interval must be greater than the timeout"},
		{"path", func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckPath = new("x") }, "ValidationError", "must begin with"},
		{"path injection", func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckPath = new("/ HTTP/1.1\r\nX: y") }, "ValidationError", "must begin with"},
		{"port", func(in *elbv2.CreateTargetGroupInput) { in.HealthCheckPort = new("http") }, "ValidationError", "traffic-port"},
		{"matcher", func(in *elbv2.CreateTargetGroupInput) { in.Matcher = &elbv2.Matcher{HttpCode: new("600")} }, "ValidationError", "must be within '200-499' inclusive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := base()
			c.change(in)
			_, err := w.s.CreateTargetGroup(w.ctx, in)
			refused(t, err, c.code, c.text)
		})
	}
}

func TestTargets(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	register := func(ts ...elbv2.TargetDescription) error {
		_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: new(g), Targets: ts})
		return err
	}
	health := func(ts ...elbv2.TargetDescription) map[string]string {
		out := must(w.s.DescribeTargetHealth(w.ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: new(g), Targets: ts}))(w)
		m := map[string]string{}
		for _, d := range out.TargetHealthDescriptions {
			m[fmt.Sprint(value(d.Target.Id), ":", value(d.Target.Port))] = string(d.TargetHealth.State) + " " + string(d.TargetHealth.Reason)
		}
		return m
	}
	if err := register(elbv2.TargetDescription{Id: new("172.31.0.5")}, elbv2.TargetDescription{Id: new("172.31.0.6"), Port: new(int32(8080))},
		elbv2.TargetDescription{Id: new("10.1.2.3"), AvailabilityZone: new("all")}); err != nil {
		t.Fatal(err)
	}
	const initial = "initial Elb.RegistrationInProgress"
	if got := health(); !cmp.Equal(got, map[string]string{"172.31.0.5:80": initial, "172.31.0.6:8080": initial, "10.1.2.3:80": initial}) {
		t.Errorf("health %v", got)
	}
	for _, bad := range []string{"i-0123456789", "300.1.1.1", "8.8.8.8", "10.1.2.3", "172.31.000.5", "::1"} {
		refused(t, register(elbv2.TargetDescription{Id: new(bad)}), "ValidationError", bad)
	}
	must(w.s.DeregisterTargets(w.ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: new(g), Targets: []elbv2.TargetDescription{{Id: new("172.31.0.5")}, {Id: new("172.31.9.9")}}}))(w)
	if got := health(elbv2.TargetDescription{Id: new("172.31.0.5")}, elbv2.TargetDescription{Id: new("172.31.9.9")}); !cmp.Equal(got, map[string]string{
		"172.31.0.5:80": "draining Target.DeregistrationInProgress", "172.31.9.9:0": "unused Target.NotRegistered",
	}) {
		t.Errorf("health %v", got)
	}
	if err := register(elbv2.TargetDescription{Id: new("172.31.0.5")}); err != nil {
		t.Fatal(err)
	}
	if got := health(elbv2.TargetDescription{Id: new("172.31.0.5")}); got["172.31.0.5:80"] != initial {
		t.Errorf("a target that was taken back is %v", got)
	}
}

func TestAttributes(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("lb"), w.group("g")
	set := func(k, v string) error {
		_, err := w.s.ModifyLoadBalancerAttributes(w.ctx, &elbv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: new(lb), Attributes: []elbv2.LoadBalancerAttribute{{Key: new(k), Value: new(v)}},
		})
		return err
	}
	if err := set("idle_timeout.timeout_seconds", "120"); err != nil {
		t.Error(err)
	}
	if err := set("access_logs.s3.enabled", "false"); err != nil {
		t.Error(err)
	}
	refused(t, set("idle_timeout.timeout_seconds", "0"), "ValidationError", "is not valid for 'idle_timeout.timeout_seconds'")
	refused(t, set("ipv6.deny_all_igw_traffic", "true"), "InvalidConfigurationRequest", "ipv6.deny_all_igw_traffic")
	refused(t, set("no.such", "true"), "ValidationError", "Load balancer attribute key 'no.such' is not recognized")
	got := map[string]string{}
	for _, a := range must(w.s.DescribeLoadBalancerAttributes(w.ctx, &elbv2.DescribeLoadBalancerAttributesInput{LoadBalancerArn: new(lb)}))(w).Attributes {
		got[*a.Key] = *a.Value
	}
	if got["idle_timeout.timeout_seconds"] != "120" || got["routing.http.xff_header_processing.mode"] != "append" || got[deletionProtection] != "false" {
		t.Errorf("attributes %v", got)
	}
	must(w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: new(g), Attributes: []elbv2.TargetGroupAttribute{
		{Key: new("deregistration_delay.timeout_seconds"), Value: new("5")}, {Key: new("stickiness.enabled"), Value: new("true")}, {Key: new("stickiness.type"), Value: new("lb_cookie")},
	}}))(w)
}

func TestTags(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("lb"), w.group("g")
	l := w.listener(lb, 80, forward(g))
	r := w.rule(l, 1, forward(g))
	all := []string{lb, g, l, r}
	must(w.s.AddTags(w.ctx, &elbv2.AddTagsInput{ResourceArns: all, Tags: []elbv2.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))(w)
	must(w.s.RemoveTags(w.ctx, &elbv2.RemoveTagsInput{ResourceArns: all, TagKeys: []string{"a", "z"}}))(w)
	for _, d := range must(w.s.DescribeTags(w.ctx, &elbv2.DescribeTagsInput{ResourceArns: all}))(w).TagDescriptions {
		if len(d.Tags) != 1 || *d.Tags[0].Key != "b" || *d.Tags[0].Value != "2" {
			t.Errorf("%s: %+v", *d.ResourceArn, d.Tags)
		}
	}
	_, err := w.s.DescribeTags(w.ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{"arn:aws:s3:::x"}})
	refused(t, err, "ValidationError", "is not a valid resource ARN")
	_, err = w.s.DescribeTags(w.ctx, &elbv2.DescribeTagsInput{ResourceArns: []string{lb[:len(lb)-16] + "0000000000000000"}})
	refused(t, err, "LoadBalancerNotFound", "not found")
}

// However many create at once, a priority, a port and a name are given once,
// and a target group serves one load balancer.
func TestConcurrentCreates(t *testing.T) {
	w := newWorld(t)
	lb, other, g := w.loadBalancer("lb"), w.loadBalancer("other"), w.group("g")
	l := w.listener(lb, 80, []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("404")}}})
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[string]int{}
	try := func(what string, f func() error) {
		wg.Go(func() {
			err := f()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won[what]++
			}
		})
	}
	for i := range 8 {
		try("rule", func() error {
			_, err := w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{
				ListenerArn: new(l), Priority: new(int32(5)), Conditions: path(fmt.Sprint("/", i)),
				Actions: []elbv2.Action{{Type: "fixed-response", FixedResponseConfig: &elbv2.FixedResponseActionConfig{StatusCode: new("200")}}},
			})
			return err
		})
		try("group", func() error {
			arn := lb
			if i%2 == 0 {
				arn = other
			}
			_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: new(arn), Port: new(9000 + int32(i)), Protocol: "HTTP", DefaultActions: forward(g)})
			return err
		})
	}
	wg.Wait()
	if won["rule"] != 1 {
		t.Errorf("priority 5 was given %d times", won["rule"])
	}
	out := must(w.s.DescribeTargetGroups(w.ctx, &elbv2.DescribeTargetGroupsInput{TargetGroupArns: []string{g}}))(w)
	if n := len(out.TargetGroups[0].LoadBalancerArns); n != 1 {
		t.Errorf("the group serves %d load balancers", n)
	}
}

func TestScopeOfWhatIsMade(t *testing.T) {
	w := newWorld(t)
	const arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:"
	for _, tt := range []struct {
		in   any
		want string
	}{
		{&elbv2.CreateLoadBalancerInput{Name: new("web")}, arn + "loadbalancer/app/web/*"},
		{&elbv2.CreateLoadBalancerInput{Name: new("web"), Type: elbv2.LoadBalancerTypeEnumNetwork}, arn + "loadbalancer/net/web/*"},
		{&elbv2.CreateTargetGroupInput{Name: new("web")}, arn + "targetgroup/web/*"},
		{&elbv2.DeleteRuleInput{RuleArn: new("arn:x")}, "arn:x"},
	} {
		if got, _ := w.s.ScopeOf(w.ctx, nil, tt.in); len(got) != 1 || got[0] != tt.want {
			t.Errorf("%T: %v, want %s", tt.in, got, tt.want)
		}
	}
}

// A redirect's parts go into a header: none may end it.
func TestRedirectTemplates(t *testing.T) {
	good := func() *elbv2.RedirectActionConfig {
		return &elbv2.RedirectActionConfig{Protocol: new("HTTPS"), Port: new("443"), StatusCode: elbv2.RedirectActionStatusCodeEnumHttp301}
	}
	if _, err := redirectAction(good()); err != nil {
		t.Fatal(err)
	}
	const splice = "\r\nSet-Cookie: a=b"
	for name, change := range map[string]func(*elbv2.RedirectActionConfig){
		"host":         func(c *elbv2.RedirectActionConfig) { c.Host = new("a.example" + splice) },
		"path":         func(c *elbv2.RedirectActionConfig) { c.Path = new("/" + splice) },
		"query":        func(c *elbv2.RedirectActionConfig) { c.Query = new(splice) },
		"port":         func(c *elbv2.RedirectActionConfig) { c.Port = new("443" + splice) },
		"port's range": func(c *elbv2.RedirectActionConfig) { c.Port = new("70000") },
		"protocol":     func(c *elbv2.RedirectActionConfig) { c.Protocol = new("javascript") },
		"a space":      func(c *elbv2.RedirectActionConfig) { c.Path = new("/a b") },
	} {
		c := good()
		change(c)
		if _, err := redirectAction(c); api.Code(err) != "ValidationError" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
