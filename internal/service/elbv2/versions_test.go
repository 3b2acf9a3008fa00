package elbv2

import (
	"testing"

	"roadstead.dev/internal/api/elbv2"
)

// groupOf makes a group of a protocol version.
func (w *world) groupOf(name, version string, change ...func(*elbv2.CreateTargetGroupInput)) (elbv2.TargetGroup, error) {
	w.t.Helper()
	in := &elbv2.CreateTargetGroupInput{
		Name: new(name), Protocol: "HTTP", ProtocolVersion: new(version), Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "ip",
	}
	for _, f := range change {
		f(in)
	}
	out, err := w.s.CreateTargetGroup(w.ctx, in)
	if err != nil {
		return elbv2.TargetGroup{}, err
	}
	return out.TargetGroups[0], nil
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	h2 := must(w.groupOf("h2", "HTTP2"))(w)
	if *h2.ProtocolVersion != "HTTP2" || *h2.HealthCheckPath != "/" || value(h2.Matcher.HttpCode) != "200" || h2.Matcher.GrpcCode != nil {
		t.Errorf("got %+v, matcher %+v", h2, h2.Matcher)
	}
	g := must(w.groupOf("grpc", "GRPC"))(w)
	if *g.ProtocolVersion != "GRPC" || *g.HealthCheckPath != "/AWS.ALB/healthcheck" || value(g.Matcher.GrpcCode) != "12" || g.Matcher.HttpCode != nil {
		t.Errorf("got %+v, matcher %+v", g, g.Matcher)
	}
	if same := must(w.groupOf("grpc", "GRPC"))(w); *same.TargetGroupArn != *g.TargetGroupArn {
		t.Error("creating the same group made another")
	}
	modify := func(arn *string, m elbv2.Matcher) (*elbv2.ModifyTargetGroupOutput, error) {
		return w.s.ModifyTargetGroup(w.ctx, &elbv2.ModifyTargetGroupInput{TargetGroupArn: arn, Matcher: &m, HealthCheckPath: new("/grpc.health.v1.Health/Check")})
	}
	changed := must(modify(g.TargetGroupArn, elbv2.Matcher{GrpcCode: new("0,5-12")}))(w).TargetGroups[0]
	if *changed.Matcher.GrpcCode != "0,5-12" || *changed.HealthCheckPath != "/grpc.health.v1.Health/Check" {
		t.Errorf("got %+v, matcher %+v", changed, changed.Matcher)
	}
	_, err := modify(g.TargetGroupArn, elbv2.Matcher{GrpcCode: new("100")})
	refused(t, err, "ValidationError", "must be within '0-99' inclusive")
	_, err = modify(g.TargetGroupArn, elbv2.Matcher{HttpCode: new("200")})
	refused(t, err, "ValidationError", "an HTTP code")
	_, err = modify(h2.TargetGroupArn, elbv2.Matcher{GrpcCode: new("0")})
	refused(t, err, "ValidationError", "a GRPC code")
	_, err = w.groupOf("layer4", "GRPC", func(in *elbv2.CreateTargetGroupInput) { in.Protocol = "TCP" })
	refused(t, err, "ValidationError", "Protocol version cannot be specified")
}

// Groups of HTTP/2 stand behind HTTPS listeners alone, whichever way they get
// there.
func TestVersionsOfListeners(t *testing.T) {
	w := newWorld(t)
	lb, plain, cert := w.loadBalancer("lb"), w.group("plain"), w.certificate("a")
	for _, version := range []string{"HTTP2", "GRPC"} {
		g := *must(w.groupOf("g-"+version, version))(w).TargetGroupArn
		text := "Listener protocol 'HTTP' is not supported with a target group with the protocol-version '" + version + "'"
		_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: new(int32(80)), Protocol: "HTTP", DefaultActions: forward(g)})
		refused(t, err, "InvalidConfigurationRequest", text)
		l := w.listener(lb, 80, forward(plain))
		_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: &l, DefaultActions: forward(g)})
		refused(t, err, "InvalidConfigurationRequest", text)
		conds := []elbv2.RuleCondition{{Field: new("path-pattern"), Values: []string{"/a*"}}}
		_, err = w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: &l, Priority: new(int32(1)), Conditions: conds, Actions: forward(g)})
		refused(t, err, "InvalidConfigurationRequest", text)
		r := w.rule(l, 1, forward(plain))
		_, err = w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: &r, Actions: forward(g)})
		refused(t, err, "InvalidConfigurationRequest", text)
		must(w.s.DeleteListener(w.ctx, &elbv2.DeleteListenerInput{ListenerArn: &l}))(w)

		s := *must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: &lb, Port: new(int32(443)), Protocol: "HTTPS", DefaultActions: forward(plain), Certificates: named(cert),
		}))(w).Listeners[0].ListenerArn
		must(w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: &s, Priority: new(int32(1)), Conditions: conds, Actions: forward(g)}))(w)
		_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: &s, Protocol: "HTTP"})
		refused(t, err, "InvalidConfigurationRequest", text)
		must(w.s.DeleteListener(w.ctx, &elbv2.DeleteListenerInput{ListenerArn: &s}))(w)
	}
}

// Stickiness of a group among others needs an action that keeps clients at
// their group.
func TestStickinessOfSharedGroups(t *testing.T) {
	w := newWorld(t)
	lb, a, b := w.loadBalancer("lb"), w.group("a"), w.group("b")
	shared := func(sticky bool) []elbv2.Action {
		c := &elbv2.ForwardActionConfig{TargetGroups: []elbv2.TargetGroupTuple{{TargetGroupArn: &a}, {TargetGroupArn: &b}}}
		if sticky {
			c.TargetGroupStickinessConfig = &elbv2.TargetGroupStickinessConfig{Enabled: new(true), DurationSeconds: new(int32(60))}
		}
		return []elbv2.Action{{Type: "forward", ForwardConfig: c}}
	}
	stick := func() error {
		_, err := w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{TargetGroupArn: &a, Attributes: []elbv2.TargetGroupAttribute{
			{Key: new(stickinessEnabled), Value: new("true")},
		}})
		return err
	}
	l := w.listener(lb, 80, shared(false))
	refused(t, stick(), "InvalidConfigurationRequest", "This target group appears behind a rule with group stickiness disabled")
	must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: &l, DefaultActions: shared(true)}))(w)
	if err := stick(); err != nil {
		t.Error(err)
	}
	_, err := w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: &l, DefaultActions: shared(false)})
	refused(t, err, "InvalidConfigurationRequest", "You must enable group stickiness on a rule if you enabled target stickiness on one of its target groups")
}
