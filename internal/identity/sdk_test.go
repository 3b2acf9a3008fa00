package identity_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	iamapi "roadstead.dev/internal/api/iam"
	stsapi "roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/identity"
	iamservice "roadstead.dev/internal/service/iam"
	stsservice "roadstead.dev/internal/service/sts"
	"roadstead.dev/internal/store/memory"
)

// clients are AWS's own, with one set of credentials.
type clients struct {
	iam *iam.Client
	sts *sts.Client
}

func serve(t *testing.T) func(key, secret, token string) clients {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	d, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	iams := iamservice.New(iamservice.Config{Store: s, Principals: d})
	stss := stsservice.New(stsservice.Config{Directory: d})
	server := httptest.NewServer(gateway.New(gateway.Config{
		Services: []gateway.Service{
			gateway.Bind(iamapi.New(iams), iams),
			gateway.Bind(stsapi.New(stss), stss),
		},
		Credentials: d, Authorizer: d, Clock: clock.System{}, Account: account, LoopbackRootKey: true,
	}))
	t.Cleanup(server.Close)
	return func(key, secret, token string) clients {
		cfg := aws.Config{
			Region: "us-east-1", BaseEndpoint: aws.String(server.URL), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(key, secret, token),
		}
		return clients{iam.NewFromConfig(cfg), sts.NewFromConfig(cfg)}
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// TestSDK goes the whole way with AWS's SDK: root makes a user and a role, the
// user is kept to its policy, and assumes the role.
func TestSDK(t *testing.T) {
	ctx := context.Background()
	connect := serve(t)
	root := connect("test", "test", "")

	user, err := root.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("bob")})
	if err != nil {
		t.Fatal(err)
	}
	key, err := root.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("bob")})
	if err != nil {
		t.Fatal(err)
	}
	bob := connect(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	me, err := bob.sts.GetCallerIdentity(ctx, nil)
	if err != nil || *me.Arn != *user.User.Arn || *me.Account != account {
		t.Fatalf("%v %v", me, err)
	}
	_, err = bob.iam.GetUser(ctx, &iam.GetUserInput{})
	wantCode(t, err, "AccessDenied")

	policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:GetUser","Resource":"arn:aws:iam::*:user/${aws:username}"}}`
	if _, err := root.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("self"), PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	if got, err := bob.iam.GetUser(ctx, &iam.GetUserInput{}); err != nil || *got.User.UserName != "bob" {
		t.Errorf("%v %v", got, err)
	}
	_, err = bob.iam.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("al")})
	wantCode(t, err, "AccessDenied")
	doc, err := root.iam.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: aws.String("bob"), PolicyName: aws.String("self")})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := url.QueryUnescape(*doc.PolicyDocument); text != policy {
		t.Errorf("document %s", text)
	}

	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + *user.User.Arn + `"},"Action":"sts:AssumeRole"}}`
	role, err := root.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("admin"), AssumeRolePolicyDocument: &trust})
	if err != nil {
		t.Fatal(err)
	}
	_, err = root.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("admin"), AssumeRolePolicyDocument: &trust})
	if _, ok := errors.AsType[*types.EntityAlreadyExistsException](err); !ok {
		t.Errorf("made again: %v", err)
	}
	if _, err := root.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: aws.String("admin"), PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}); err != nil {
		t.Fatal(err)
	}
	session, err := bob.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Role.Arn, RoleSessionName: aws.String("session")})
	if err != nil {
		t.Fatal(err)
	}
	c := session.Credentials
	admin := connect(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	roles, err := admin.iam.ListRoles(ctx, nil)
	if err != nil || len(roles.Roles) != 1 {
		t.Errorf("%v %v", roles, err)
	}
	_, err = admin.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: aws.String("admin")})
	wantCode(t, err, "AccessDenied")
	_, err = connect(*c.AccessKeyId, *c.SecretAccessKey, "").sts.GetCallerIdentity(ctx, nil)
	wantCode(t, err, "InvalidClientTokenId")
	_, err = connect(*c.AccessKeyId, "wrong", *c.SessionToken).sts.GetCallerIdentity(ctx, nil)
	wantCode(t, err, "SignatureDoesNotMatch")
}
