package e2e

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/model"
)

// TestIdentities uses IAM and STS as users do: with the CLI, and as a user whom
// tags and MFA codes let in.
func TestIdentities(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	user := s.tagUser(t)
	t.Run("waiters and pages of the CLI", func(t *testing.T) { identityCLI(t, s) })
	t.Run("tags decide", func(t *testing.T) { tagsDecide(t, s, user) })
	t.Run("denials are decoded", func(t *testing.T) { denialsDecoded(t, s, user) })
	t.Run("MFA", func(t *testing.T) { mfaDecides(t, s) })
}

// tagUser makes a user who may do anything with what bears the tag team=red,
// and make only such things.
func (s *server) tagUser(t *testing.T) clients {
	t.Helper()
	ctx := t.Context()
	if _, err := s.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: new("red"), Tags: []iamtypes.Tag{{Key: new("team"), Value: new("red")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: new("red"), PolicyName: new("p"), PolicyDocument: new(`{
		"Version": "2012-10-17",
		"Statement": [
			{"Effect": "Allow", "Action": ["ec2:CreateVpc", "ecs:CreateCluster", "ecs:TagResource", "ec2:CreateTags", "logs:CreateLogGroup", "logs:TagResource"], "Resource": "*",
			 "Condition": {"StringEquals": {"aws:RequestTag/team": "${aws:PrincipalTag/team}"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["team", "name"]}}},
			{"Effect": "Allow", "Action": ["ec2:DeleteVpc", "ecs:DeleteCluster", "logs:DeleteLogGroup"], "Resource": "*",
			 "Condition": {"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}}},
			{"Effect": "Allow", "Action": "sts:DecodeAuthorizationMessage", "Resource": "*"}
		]}`)}); err != nil {
		t.Fatal(err)
	}
	key, err := s.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: new("red")})
	if err != nil {
		t.Fatal(err)
	}
	return newClients("http://"+s.listen, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
}

func identityCLI(t *testing.T, s *server) {
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	s.awscli(t, "iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", trust)
	s.awscli(t, "iam", "create-user", "--user-name", "cli")
	s.awscli(t, "iam", "create-instance-profile", "--instance-profile-name", "cli")
	arn := strings.TrimSpace(s.awscli(t, "iam", "create-policy", "--policy-name", "cli", "--query", "Policy.Arn", "--output", "text",
		"--policy-document", allow))
	s.awscli(t, "iam", "wait", "role-exists", "--role-name", "cli")
	s.awscli(t, "iam", "wait", "user-exists", "--user-name", "cli")
	s.awscli(t, "iam", "wait", "policy-exists", "--policy-arn", arn)
	s.awscli(t, "iam", "wait", "instance-profile-exists", "--instance-profile-name", "cli")
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		if _, err := s.iam.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new("cli"), PolicyName: new(n), PolicyDocument: new(allow)}); err != nil {
			t.Fatal(err)
		}
	}
	var out struct{ PolicyNames []string }
	if err := json.Unmarshal([]byte(s.awscli(t, "iam", "list-role-policies", "--role-name", "cli", "--page-size", "2", "--output", "json")), &out); err != nil || len(out.PolicyNames) != 5 {
		t.Errorf("%d policies: %v", len(out.PolicyNames), err)
	}
	details := s.awscli(t, "iam", "get-account-authorization-details", "--filter", "Role", "--page-size", "1", "--query", "RoleDetailList[].RolePolicyList[].PolicyName", "--output", "text")
	if strings.Join(strings.Fields(details), "") != "abcde" {
		t.Errorf("embedded policies: %q", details)
	}
}

// refusedAs checks an error's code.
func refusedAs(t *testing.T, what, code string, err error) {
	t.Helper()
	if got := errorCode(err); got != code {
		t.Errorf("%s: %q (%v), want %q", what, got, err, code)
	}
}

func tagsDecide(t *testing.T, s *server, user clients) {
	ctx := t.Context()
	vpc := func(tags ...ec2types.Tag) (*ec2.CreateVpcOutput, error) {
		in := &ec2.CreateVpcInput{CidrBlock: new("10.77.0.0/16")}
		if tags != nil {
			in.TagSpecifications = []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeVpc, Tags: tags}}
		}
		return user.ec2.CreateVpc(ctx, in)
	}
	red := ec2types.Tag{Key: new("team"), Value: new("red")}
	_, err := vpc()
	refusedAs(t, "a VPC without tags", "UnauthorizedOperation", err)
	_, err = vpc(ec2types.Tag{Key: new("team"), Value: new("blue")})
	refusedAs(t, "a VPC of another team", "UnauthorizedOperation", err)
	_, err = vpc(red, ec2types.Tag{Key: new("cost"), Value: new("1")})
	refusedAs(t, "a VPC with a tag more", "UnauthorizedOperation", err)
	own, err := vpc(red, ec2types.Tag{Key: new("name"), Value: new("x")})
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: new("10.78.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = user.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: other.Vpc.VpcId})
	refusedAs(t, "deleting a VPC of nobody's", "UnauthorizedOperation", err)
	_, err = user.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: own.Vpc.VpcId})
	refusedAs(t, "deleting one's own VPC", "", err)

	_, err = user.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new("red")})
	refusedAs(t, "a cluster without tags", "AccessDeniedException", err)
	_, err = user.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new("red"), Tags: []ecstypes.Tag{{Key: new("team"), Value: new("red")}}})
	refusedAs(t, "a cluster with the tag", "", err)
	if _, err := s.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new("blue")}); err != nil {
		t.Fatal(err)
	}
	_, err = user.ecs.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: new("blue")})
	refusedAs(t, "deleting another's cluster", "AccessDeniedException", err)
	_, err = user.ecs.DeleteCluster(ctx, &ecs.DeleteClusterInput{Cluster: new("red")})
	refusedAs(t, "deleting one's own cluster", "", err)

	_, err = user.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("/red"), Tags: map[string]string{"team": "red"}})
	refusedAs(t, "a log group with the tag", "", err)
	_, err = user.logs.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: new("/red")})
	refusedAs(t, "deleting one's own log group", "", err)
}

func denialsDecoded(t *testing.T, s *server, user clients) {
	_, err := user.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	refusedAs(t, "describing VPCs", "UnauthorizedOperation", err)
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	const lead = "You are not authorized to perform this operation. User: arn:aws:iam::000000000000:user/red is not authorized to perform: ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action. Encoded authorization failure message: "
	encoded, ok := strings.CutPrefix(e.ErrorMessage(), lead)
	if !ok {
		t.Fatalf("%s", e.ErrorMessage())
	}
	out, err := user.sts.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &encoded})
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Context struct {
			Action    string
			Principal struct{ ARN string }
		}
	}
	if err := json.Unmarshal([]byte(*out.DecodedMessage), &m); err != nil || m.Context.Action != "ec2:DescribeVpcs" || !strings.HasSuffix(m.Context.Principal.ARN, "user/red") {
		t.Errorf("%s: %v", *out.DecodedMessage, err)
	}
	_, err = s.sts.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: new(encoded + "x")})
	refusedAs(t, "a changed message", "InvalidAuthorizationMessageException", err)
}

func mfaDecides(t *testing.T, s *server) {
	ctx := t.Context()
	if _, err := s.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: new("phoned")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: new("phoned"), PolicyName: new("p"), PolicyDocument: new(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecs:ListClusters","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`)}); err != nil {
		t.Fatal(err)
	}
	key, err := s.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: new("phoned")})
	if err != nil {
		t.Fatal(err)
	}
	device, err := s.iam.CreateVirtualMFADevice(ctx, &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: new("phoned")})
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(device.VirtualMFADevice.Base32StringSeed))
	if err != nil {
		t.Fatal(err)
	}
	step := model.MFAStep(time.Now())
	if _, err := s.iam.EnableMFADevice(ctx, &iam.EnableMFADeviceInput{
		UserName: new("phoned"), SerialNumber: device.VirtualMFADevice.SerialNumber,
		AuthenticationCode1: new(model.MFACode(seed, step-1)), AuthenticationCode2: new(model.MFACode(seed, step)),
	}); err != nil {
		t.Fatal(err)
	}
	user := newClients("http://"+s.listen, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	_, err = user.ecs.ListClusters(ctx, &ecs.ListClustersInput{})
	refusedAs(t, "without a code", "AccessDeniedException", err)
	session, err := user.sts.GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: device.VirtualMFADevice.SerialNumber, TokenCode: new(model.MFACode(seed, step+1))})
	if err != nil {
		t.Fatal(err)
	}
	c := session.Credentials
	_, err = newClients("http://"+s.listen, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken).ecs.ListClusters(ctx, &ecs.ListClustersInput{})
	refusedAs(t, "with a code", "", err)
}
