package elbv2

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/balancer/pretend"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/model"
)

type nobody struct{}

func (nobody) Lookup(context.Context, string, string) (string, api.Identity, string, error) {
	return "", api.Identity{}, "", model.ErrUnknownAccessKey
}

func (nobody) Authorize(context.Context, *api.Call, string, []string, map[string]string) error {
	return nil
}

// dial serves the world by the gateway, with the controller running, and
// returns AWS's own client.
func (w *world) dial() *client.Client {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	balancers := loadbalancer.New(loadbalancer.Config{Store: w.st, Clock: clock.System{}, Plane: pretend.New(clock.System{})})
	done := make(chan error, 1)
	go func() {
		done <- controller.Runtime{Store: w.st, Clock: clock.System{}}.Run(ctx, balancers.Controller())
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(elbv2.New(w.s), w.s)},
		Credentials: nobody{}, Authorizer: nobody{}, Clock: clock.System{}, Account: account, LoopbackRootKey: true,
		Log: slog.New(slog.DiscardHandler),
	}))
	w.t.Cleanup(s.Close)
	return client.New(client.Options{
		BaseEndpoint: aws.String(s.URL), Region: region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// What Terraform and the CLI do for a web application, by AWS's own client.
func TestSDK(t *testing.T) {
	w := newWorld(t)
	c := w.dial()
	ctx := t.Context()
	lbs, err := c.CreateLoadBalancer(ctx, &client.CreateLoadBalancerInput{
		Name: aws.String("web"), Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"sg-2"},
		Type: types.LoadBalancerTypeEnumApplication, Tags: []types.Tag{{Key: aws.String("env"), Value: aws.String("test")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	lb := lbs.LoadBalancers[0].LoadBalancerArn
	describe := &client.DescribeLoadBalancersInput{LoadBalancerArns: []string{*lb}}
	fast := func(o *client.LoadBalancerAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, 10*time.Millisecond
	}
	if err := client.NewLoadBalancerAvailableWaiter(c).Wait(ctx, describe, 10*time.Second, fast); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ModifyLoadBalancerAttributes(ctx, &client.ModifyLoadBalancerAttributesInput{LoadBalancerArn: lb, Attributes: []types.LoadBalancerAttribute{
		{Key: aws.String("access_logs.s3.enabled"), Value: aws.String("false")},
		{Key: aws.String("deletion_protection.enabled"), Value: aws.String("false")},
		{Key: aws.String("idle_timeout.timeout_seconds"), Value: aws.String("60")},
		{Key: aws.String("routing.http2.enabled"), Value: aws.String("true")},
	}}); err != nil {
		t.Fatal(err)
	}
	groups, err := c.CreateTargetGroup(ctx, &client.CreateTargetGroupInput{
		Name: aws.String("web"), Protocol: types.ProtocolEnumHttp, Port: aws.Int32(8080), VpcId: aws.String("vpc-1"), TargetType: types.TargetTypeEnumIp,
		HealthCheckPath: aws.String("/health"), Matcher: &types.Matcher{HttpCode: aws.String("200-299")},
	})
	if err != nil {
		t.Fatal(err)
	}
	group := groups.TargetGroups[0].TargetGroupArn
	listeners, err := c.CreateListener(ctx, &client.CreateListenerInput{
		LoadBalancerArn: lb, Port: aws.Int32(80), Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := listeners.Listeners[0].ListenerArn
	rules, err := c.CreateRule(ctx, &client.CreateRuleInput{
		ListenerArn: listener, Priority: aws.Int32(10),
		Conditions: []types.RuleCondition{
			{Field: aws.String("path-pattern"), PathPatternConfig: &types.PathPatternConditionConfig{Values: []string{"/old/*"}}},
			{Field: aws.String("query-string"), QueryStringConfig: &types.QueryStringConditionConfig{Values: []types.QueryStringKeyValuePair{{Key: aws.String("v"), Value: aws.String("1")}}}},
		},
		Actions: []types.Action{{Type: types.ActionTypeEnumRedirect, RedirectConfig: &types.RedirectActionConfig{
			Path: aws.String("/new"), StatusCode: types.RedirectActionStatusCodeEnumHttp301,
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := rules.Rules[0]; *r.Priority != "10" || *r.IsDefault || *r.Actions[0].RedirectConfig.Host != "#{host}" || len(r.Conditions) != 2 {
		t.Errorf("rule %+v", r)
	}
	targets := []types.TargetDescription{{Id: aws.String("172.31.0.9")}}
	if _, err := c.RegisterTargets(ctx, &client.RegisterTargetsInput{TargetGroupArn: group, Targets: targets}); err != nil {
		t.Fatal(err)
	}
	health := &client.DescribeTargetHealthInput{TargetGroupArn: group}
	if err := client.NewTargetInServiceWaiter(c).Wait(ctx, health, 10*time.Second, func(o *client.TargetInServiceWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, 10*time.Millisecond
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeregisterTargets(ctx, &client.DeregisterTargetsInput{TargetGroupArn: group, Targets: targets}); err != nil {
		t.Fatal(err)
	}
	if err := client.NewTargetDeregisteredWaiter(c).Wait(ctx, &client.DescribeTargetHealthInput{TargetGroupArn: group, Targets: targets}, 10*time.Second, func(o *client.TargetDeregisteredWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteTargetGroup(ctx, &client.DeleteTargetGroupInput{TargetGroupArn: group})
	if _, ok := errors.AsType[*types.ResourceInUseException](err); !ok {
		t.Errorf("deleting a group in use: %v", err)
	}
	if _, err := c.DeleteLoadBalancer(ctx, &client.DeleteLoadBalancerInput{LoadBalancerArn: lb}); err != nil {
		t.Fatal(err)
	}
	if err := client.NewLoadBalancersDeletedWaiter(c).Wait(ctx, describe, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	_, err = c.DescribeLoadBalancers(ctx, describe)
	var ae smithy.APIError
	if !errors.As(err, &ae) || ae.ErrorCode() != "LoadBalancerNotFound" || ae.ErrorMessage() != "One or more load balancers not found" {
		t.Errorf("after deletion: %v", err)
	}
}
