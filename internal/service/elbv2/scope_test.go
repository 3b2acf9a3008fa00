package elbv2

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
)

// TestConditionKeys holds what policies may demand of requests.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
func TestConditionKeys(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		in   any
		want map[string]string
	}{
		{&elbv2.CreateLoadBalancerInput{Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"sg-2"}}, map[string]string{
			"elasticloadbalancing:Scheme": "internet-facing", "elasticloadbalancing:Subnet": "subnet-a,subnet-b", "elasticloadbalancing:SecurityGroup": "sg-2",
		}},
		{&elbv2.CreateLoadBalancerInput{Scheme: "internal", SubnetMappings: []elbv2.SubnetMapping{{SubnetId: new("subnet-a")}}}, map[string]string{
			"elasticloadbalancing:Scheme": "internal", "elasticloadbalancing:Subnet": "subnet-a",
		}},
		{&elbv2.SetSubnetsInput{Subnets: []string{"subnet-a"}}, map[string]string{"elasticloadbalancing:Subnet": "subnet-a"}},
		{&elbv2.SetSecurityGroupsInput{SecurityGroups: []string{"sg-1", "sg-2"}}, map[string]string{"elasticloadbalancing:SecurityGroup": "sg-1,sg-2"}},
		{&elbv2.CreateListenerInput{Protocol: "HTTP"}, map[string]string{"elasticloadbalancing:ListenerProtocol": "HTTP"}},
		{&elbv2.CreateListenerInput{Protocol: "HTTPS"}, map[string]string{
			"elasticloadbalancing:ListenerProtocol": "HTTPS", "elasticloadbalancing:SecurityPolicy": "ELBSecurityPolicy-2016-08",
		}},
		{&elbv2.ModifyListenerInput{SslPolicy: new("ELBSecurityPolicy-TLS13-1-2-2021-06")}, map[string]string{
			"elasticloadbalancing:SecurityPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
		}},
		{&elbv2.DeleteListenerInput{}, map[string]string{}},
	} {
		if _, keys := w.s.ScopeOf(w.ctx, nil, c.in); !cmp.Equal(keys, c.want) {
			t.Errorf("%T: %s", c.in, cmp.Diff(c.want, keys))
		}
	}
}

// TestTagOnCreate holds that whoever makes something with tags must be allowed
// to tag it.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/tagging-resources-during-creation.html
func TestTagOnCreate(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("web"), w.group("g")
	l := w.listener(lb, 80, forward(g))
	tags := []elbv2.Tag{{Key: new("team"), Value: new("red")}}
	const base = "arn:aws:elasticloadbalancing:" + region + ":" + account + ":"
	for operation, c := range map[string]struct {
		resource string
		call     func(ctx context.Context, tags []elbv2.Tag) error
	}{
		"CreateLoadBalancer": {base + "loadbalancer/net/x/*", func(ctx context.Context, tags []elbv2.Tag) error {
			_, err := w.s.CreateLoadBalancer(ctx, &elbv2.CreateLoadBalancerInput{Name: new("x"), Type: "network", Subnets: []string{"subnet-a"}, Tags: tags})
			return err
		}},
		"CreateTargetGroup": {base + "targetgroup/x/*", func(ctx context.Context, tags []elbv2.Tag) error {
			_, err := w.s.CreateTargetGroup(ctx, &elbv2.CreateTargetGroupInput{
				Name: new("x"), Protocol: "HTTP", Port: new(int32(80)), VpcId: new("vpc-1"), Tags: tags,
			})
			return err
		}},
		"CreateListener": {under(lb, "listener", "*"), func(ctx context.Context, tags []elbv2.Tag) error {
			_, err := w.s.CreateListener(ctx, &elbv2.CreateListenerInput{
				LoadBalancerArn: new(lb), Port: new(int32(81)), Protocol: "HTTP", DefaultActions: forward(g), Tags: tags,
			})
			return err
		}},
		"CreateRule": {under(l, "listener-rule", "*"), func(ctx context.Context, tags []elbv2.Tag) error {
			_, err := w.s.CreateRule(ctx, &elbv2.CreateRuleInput{
				ListenerArn: new(l), Priority: new(int32(1)), Actions: forward(g), Tags: tags,
				Conditions: []elbv2.RuleCondition{{Field: new("path-pattern"), Values: []string{"/x"}}},
			})
			return err
		}},
		"CreateTrustStore": {base + "truststore/x/*", func(ctx context.Context, tags []elbv2.Tag) error {
			_, err := w.s.CreateTrustStore(ctx, &elbv2.CreateTrustStoreInput{
				Name: new("x"), CaCertificatesBundleS3Bucket: new("b"), CaCertificatesBundleS3Key: new("k"), Tags: tags,
			})
			return err
		}},
	} {
		t.Run(operation, func(t *testing.T) {
			denied := errors.New("denied")
			asked := 0
			call := *api.CallFrom(w.ctx)
			call.Authorize = func(_ context.Context, action, resource string, keys map[string]string) error {
				asked++
				want := map[string]string{"elasticloadbalancing:CreateAction": operation, "aws:RequestTag/team": "red"}
				if action != "elasticloadbalancing:AddTags" || resource != c.resource || !cmp.Equal(keys, want) {
					t.Errorf("asked for %s on %s with %v", action, resource, keys)
				}
				return denied
			}
			ctx := api.WithCall(w.ctx, &call)
			if err := c.call(ctx, tags); !errors.Is(err, denied) {
				t.Errorf("with tags: %v", err)
			}
			if err := c.call(ctx, nil); errors.Is(err, denied) || asked != 1 {
				t.Errorf("without tags: %v, asked %d times", err, asked)
			}
		})
	}
}
