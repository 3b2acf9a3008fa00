package gateway_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	awselb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/gateway"
)

type ec2Handler struct {
	ec2.Handler
	authorize *ec2.AuthorizeSecurityGroupIngressInput
	subnets   *ec2.DescribeSubnetsInput
}

func (h *ec2Handler) AuthorizeSecurityGroupIngress(_ context.Context, in *ec2.AuthorizeSecurityGroupIngressInput) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	h.authorize = in
	return &ec2.AuthorizeSecurityGroupIngressOutput{Return: new(true)}, nil
}

func (h *ec2Handler) DescribeSubnets(_ context.Context, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
	h.subnets = in
	if len(in.SubnetIds) == 0 {
		return &ec2.DescribeSubnetsOutput{}, nil
	}
	return &ec2.DescribeSubnetsOutput{Subnets: []ec2.Subnet{{
		SubnetId: &in.SubnetIds[0], AvailableIpAddressCount: new(int32(251)), DefaultForAz: new(true), State: ec2.SubnetStateAvailable,
		Tags: []ec2.Tag{{Key: new("Name"), Value: new(`<a> & "b"`)}, {Key: new("empty"), Value: new("")}},
	}}}, nil
}

func (h *ec2Handler) DescribeVpcs(context.Context, *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	return nil, api.NewFault("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", "vpc-1")
}

type elbHandler struct {
	elbv2.Handler
	rule *elbv2.CreateRuleInput
}

func (h *elbHandler) CreateRule(_ context.Context, in *elbv2.CreateRuleInput) (*elbv2.CreateRuleOutput, error) {
	h.rule = in
	return &elbv2.CreateRuleOutput{Rules: []elbv2.Rule{{Priority: new("7"), IsDefault: new(false), Actions: in.Actions, Conditions: in.Conditions}}}, nil
}

func (h *elbHandler) DescribeLoadBalancers(context.Context, *elbv2.DescribeLoadBalancersInput) (*elbv2.DescribeLoadBalancersOutput, error) {
	return &elbv2.DescribeLoadBalancersOutput{LoadBalancers: []elbv2.LoadBalancer{{
		CreatedTime: new(time.UnixMilli(1_700_000_000_123)), State: &elbv2.LoadBalancerState{Code: elbv2.LoadBalancerStateEnumActive},
	}}}, nil
}

type ecrHandler struct{ ecr.Handler }

func (ecrHandler) CreateRepository(context.Context, *ecr.CreateRepositoryInput) (*ecr.CreateRepositoryOutput, error) {
	return &ecr.CreateRepositoryOutput{}, nil
}

type protocols struct {
	ec2h *ec2Handler
	elbh *elbHandler
	url  string
	keys aws.CredentialsProvider
}

func serveProtocols(t *testing.T) *protocols {
	t.Helper()
	p := &protocols{ec2h: &ec2Handler{}, elbh: &elbHandler{}, keys: credentials.NewStaticCredentialsProvider(userKey, secret, "")}
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{
			gateway.Bind(ec2.New(p.ec2h), p.ec2h), gateway.Bind(elbv2.New(p.elbh), p.elbh), gateway.Bind(ecr.New(ecrHandler{}), ecrHandler{}),
		},
		Credentials: directory{}, Authorizer: policies{"ec2:CreateVpc": true}, Account: account,
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *protocols) ec2(keys aws.CredentialsProvider) *awsec2.Client {
	return awsec2.New(awsec2.Options{BaseEndpoint: &p.url, Region: "us-east-1", Credentials: keys, RetryMaxAttempts: 1})
}

func wantCode(t *testing.T, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code || message != "" && e.ErrorMessage() != message {
		t.Errorf("got %v\nwant %s: %s", err, code, message)
	}
}

func TestEC2Protocol(t *testing.T) {
	p := serveProtocols(t)
	c := p.ec2(p.keys)
	_, err := c.AuthorizeSecurityGroupIngress(t.Context(), &awsec2.AuthorizeSecurityGroupIngressInput{
		GroupId: aws.String("sg-1"),
		IpPermissions: []ec2types.IpPermission{
			{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(81), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("10.0.0.0/8"), Description: aws.String("a=b&c +ü")}}},
			{IpProtocol: aws.String("-1"), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: aws.String("sg-2")}, {GroupId: aws.String("sg-3")}}},
		},
		TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeSecurityGroupRule, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("")}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: new("sg-1"),
		IpPermissions: []ec2.IpPermission{
			{IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(81)), IpRanges: []ec2.IpRange{{CidrIp: new("10.0.0.0/8"), Description: new("a=b&c +ü")}}},
			{IpProtocol: new("-1"), UserIdGroupPairs: []ec2.UserIdGroupPair{{GroupId: new("sg-2")}, {GroupId: new("sg-3")}}},
		},
		TagSpecifications: []ec2.TagSpecification{{ResourceType: "security-group-rule", Tags: []ec2.Tag{{Key: new("k"), Value: new("")}}}},
	}
	if d := cmp.Diff(want, p.ec2h.authorize); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
	out, err := c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{
		SubnetIds: []string{"subnet-1", "subnet-2"}, Filters: []ec2types.Filter{{Name: aws.String("vpc-id"), Values: []string{"a", "b"}}}, MaxResults: aws.Int32(7),
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&ec2.DescribeSubnetsInput{
		SubnetIds: []string{"subnet-1", "subnet-2"}, MaxResults: new(int32(7)),
		Filters: []ec2.Filter{{Name: new("vpc-id"), Values: []string{"a", "b"}}},
	}, p.ec2h.subnets); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
	s := out.Subnets[0]
	if *s.SubnetId != "subnet-1" || *s.AvailableIpAddressCount != 251 || !*s.DefaultForAz || s.State != ec2types.SubnetStateAvailable ||
		*s.Tags[0].Value != `<a> & "b"` || *s.Tags[1].Value != "" {
		t.Errorf("encoded %+v", s)
	}
}

func TestEC2Errors(t *testing.T) {
	p := serveProtocols(t)
	c := p.ec2(p.keys)
	_, err := c.DescribeVpcs(t.Context(), nil)
	wantCode(t, err, "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist")
	_, err = c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{MaxResults: aws.Int32(2)})
	wantCode(t, err, "InvalidParameterValue", "Value ( 2 ) for parameter MaxResults is invalid. Expecting a value between 5 and 1000.")
	_, err = c.CreateVpc(t.Context(), &awsec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	wantCode(t, err, "UnauthorizedOperation", "You are not authorized to perform this operation. User: arn:aws:iam::"+account+
		":user/joe is not authorized to perform: ec2:CreateVpc because no identity-based policy allows the ec2:CreateVpc action")
	_, err = c.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{DryRun: aws.Bool(true)})
	wantCode(t, err, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	_, err = p.ec2(credentials.NewStaticCredentialsProvider("AKIANOBODY", "x", "")).DescribeSubnets(t.Context(), nil)
	wantCode(t, err, "AuthFailure", "AWS was not able to validate the provided access credentials")
	_, err = p.ec2(credentials.NewStaticCredentialsProvider(userKey, "x", "")).DescribeSubnets(t.Context(), nil)
	wantCode(t, err, "AuthFailure", "")
}

func TestQueryProtocol(t *testing.T) {
	p := serveProtocols(t)
	c := awselb.New(awselb.Options{BaseEndpoint: &p.url, Region: "us-east-1", Credentials: p.keys, RetryMaxAttempts: 1})
	in := &awselb.CreateRuleInput{
		ListenerArn: aws.String("arn"), Priority: aws.Int32(7),
		Conditions: []elbtypes.RuleCondition{{Field: aws.String("path-pattern"), PathPatternConfig: &elbtypes.PathPatternConditionConfig{Values: []string{"/a/*", "/b c"}}}},
		Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, Order: aws.Int32(1), ForwardConfig: &elbtypes.ForwardActionConfig{
			TargetGroups: []elbtypes.TargetGroupTuple{{TargetGroupArn: aws.String("tg"), Weight: aws.Int32(0)}},
		}}},
	}
	out, err := c.CreateRule(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	want := &elbv2.CreateRuleInput{
		ListenerArn: new("arn"), Priority: new(int32(7)),
		Conditions: []elbv2.RuleCondition{{Field: new("path-pattern"), PathPatternConfig: &elbv2.PathPatternConditionConfig{Values: []string{"/a/*", "/b c"}}}},
		Actions: []elbv2.Action{{Type: elbv2.ActionTypeEnumForward, Order: new(int32(1)), ForwardConfig: &elbv2.ForwardActionConfig{
			TargetGroups: []elbv2.TargetGroupTuple{{TargetGroupArn: new("tg"), Weight: new(int32(0))}},
		}}},
	}
	if d := cmp.Diff(want, p.elbh.rule); d != "" {
		t.Errorf("decoded (-want +got):\n%s", d)
	}
	if d := cmp.Diff(in.Conditions[0].PathPatternConfig.Values, out.Rules[0].Conditions[0].PathPatternConfig.Values); d != "" || *out.Rules[0].Actions[0].ForwardConfig.TargetGroups[0].Weight != 0 {
		t.Errorf("encoded %+v", out.Rules[0])
	}
	lbs, err := c.DescribeLoadBalancers(t.Context(), nil)
	if err != nil || lbs.LoadBalancers[0].CreatedTime.UnixMilli() != 1_700_000_000_123 || lbs.LoadBalancers[0].State.Code != elbtypes.LoadBalancerStateEnumActive {
		t.Errorf("load balancers %+v, %v", lbs, err)
	}
	_, err = c.CreateRule(t.Context(), &awselb.CreateRuleInput{ListenerArn: aws.String("arn"), Priority: aws.Int32(0), Actions: []elbtypes.Action{{Type: "nonsense"}}, Conditions: []elbtypes.RuleCondition{}})
	wantCode(t, err, "ValidationError", "")
}

func TestIAMNames(t *testing.T) {
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{gateway.Bind(iam.New(struct{ iam.Handler }{}), nil)}, Credentials: directory{}, Authorizer: policies{}, Account: account,
	}))
	defer s.Close()
	c := awsiam.New(awsiam.Options{BaseEndpoint: &s.URL, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(userKey, secret, ""), RetryMaxAttempts: 1})
	_, err := c.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: aws.String("bad name!")})
	wantCode(t, err, "ValidationError", "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	_, err = c.CreateUser(t.Context(), &awsiam.CreateUserInput{UserName: aws.String("")})
	wantCode(t, err, "ValidationError", "1 validation error detected: Value '' at 'userName' failed to satisfy constraint: Member must have length greater than or equal to 1")
}

func TestECRSaysItInItsOwnWords(t *testing.T) {
	p := serveProtocols(t)
	c := awsecr.New(awsecr.Options{BaseEndpoint: &p.url, Region: "us-east-1", Credentials: p.keys, RetryMaxAttempts: 1})
	_, err := c.CreateRepository(t.Context(), &awsecr.CreateRepositoryInput{RepositoryName: aws.String("BIG")})
	wantCode(t, err, "InvalidParameterException", "Invalid parameter at 'repositoryName' failed to satisfy constraint: "+
		"'must satisfy regular expression '"+ecr.New(nil).Shape("RepositoryName").Pattern+"''")
}
