package sts_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	service "roadstead.dev/internal/service/sts"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	foreign = "999999999999"
)

type bench struct {
	*service.Service
	directory *identity.Directory
	store     store.Store
}

func newBench(t *testing.T, rootMayAssume bool) *bench {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	d, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{service.New(service.Config{Directory: d, RootMayAssume: rootMayAssume}), d, s}
}

func doc(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

func (b *bench) addRole(t *testing.T, owner, name, trust string) *model.Role {
	t.Helper()
	r := &model.Role{TrustPolicy: doc(trust), MaxSessionDuration: 7200}
	r.IAMPrincipal = model.IAMPrincipal{
		Name: name, Path: "/", ID: "AROA" + strings.ToUpper(name), ARN: model.RoleARN(owner, "/", name),
		Policies: map[string]string{"p": doc(`"Effect":"Allow","Action":"sts:*","Resource":"*"`)},
	}
	tx := store.NewTxn()
	tables.Roles.Put(tx, owner, "", name, r)
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	return r
}

// asUser calls as a user with a policy.
func (b *bench) asUser(t *testing.T, statement string) context.Context {
	t.Helper()
	u := &model.User{}
	u.IAMPrincipal = model.IAMPrincipal{Name: "bob", Path: "/", ID: "AIDABOB", ARN: "arn:aws:iam::" + account + ":user/bob"}
	if statement != "" {
		u.Policies = map[string]string{"p": doc(statement)}
	}
	tx := store.NewTxn()
	tables.Users.Put(tx, account, "", "bob", u)
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	return as(t, account, api.Identity{ARN: u.ARN, UserID: u.ID, AccessKeyID: "AKIABOB"})
}

func as(t *testing.T, acct string, who api.Identity) context.Context {
	return api.WithCall(t.Context(), &api.Call{Account: acct, Identity: who, Time: time.Now(), Region: "us-east-1"})
}

// asSession calls with temporary credentials.
func (b *bench) asSession(t *testing.T, c *sts.Credentials) context.Context {
	t.Helper()
	secret, who, acct, err := b.directory.Lookup(t.Context(), *c.AccessKeyId, *c.SessionToken)
	if err != nil || secret != *c.SecretAccessKey {
		t.Fatalf("look up: %v", err)
	}
	return as(t, acct, who)
}

func root(t *testing.T) context.Context {
	return as(t, account, api.Identity{ARN: identity.RootARN(account), UserID: account, Root: true, AccessKeyID: "test"})
}

const (
	trustBob     = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:user/bob"},"Action":"sts:AssumeRole"`
	trustAccount = `"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`
	mayAssume    = `"Effect":"Allow","Action":"sts:*","Resource":"*"`
)

func TestAssumeRole(t *testing.T) {
	external := trustAccount + `,"Condition":{"StringEquals":{"sts:ExternalId":"secret"}}`
	onlyAssume := strings.Replace(trustAccount, `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`, `"sts:AssumeRole"`, 1)
	const noTrust = "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: sts:AssumeRole on resource: "
	for _, tt := range []struct {
		name, owner, trust, policy string
		in                         sts.AssumeRoleInput
		code, message              string // code empty when assumed
	}{
		{name: "named by the role", owner: account, trust: trustBob},
		{name: "by account, without permission", owner: account, trust: trustAccount, code: "AccessDenied", message: noTrust + "arn:aws:iam::123456789012:role/web because no identity-based policy allows the sts:AssumeRole action"},
		{name: "by account, with permission", owner: account, trust: trustAccount, policy: mayAssume},
		{name: "not trusted", owner: account, trust: `"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"`, policy: mayAssume, code: "AccessDenied", message: noTrust + "arn:aws:iam::123456789012:role/web"},
		{name: "denied", owner: account, trust: trustBob, policy: `"Effect":"Deny","Action":"sts:*","Resource":"*"`, code: "AccessDenied", message: noTrust + "arn:aws:iam::123456789012:role/web with an explicit deny in an identity-based policy"},
		{name: "another account's", owner: foreign, trust: trustBob, policy: mayAssume},
		{name: "another account's, without permission", owner: foreign, trust: trustBob, code: "AccessDenied", message: noTrust + "arn:aws:iam::999999999999:role/web because no identity-based policy allows the sts:AssumeRole action"},
		{name: "external id", owner: account, trust: external, policy: mayAssume, in: sts.AssumeRoleInput{ExternalId: new("secret")}},
		{name: "external id missing", owner: account, trust: external, policy: mayAssume, code: "AccessDenied", message: noTrust + "arn:aws:iam::123456789012:role/web"},
		{name: "too long", owner: account, trust: trustBob, in: sts.AssumeRoleInput{DurationSeconds: new(int32(7201))}, code: "ValidationError", message: "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		{name: "tags", owner: account, trust: trustAccount, policy: mayAssume, in: sts.AssumeRoleInput{Tags: []sts.Tag{{Key: new("a"), Value: new("b")}}}},
		{name: "tags not allowed", owner: account, trust: onlyAssume, policy: mayAssume, in: sts.AssumeRoleInput{Tags: []sts.Tag{{Key: new("a"), Value: new("b")}}}, code: "AccessDenied", message: "User: arn:aws:iam::123456789012:user/bob is not authorized to perform: sts:TagSession on resource: arn:aws:iam::123456789012:role/web"},
		{name: "source identity", owner: account, trust: trustAccount, policy: mayAssume, in: sts.AssumeRoleInput{SourceIdentity: new("bob")}},
		{name: "no ARN", owner: account, trust: trustBob, in: sts.AssumeRoleInput{RoleArn: new("web-web-web-web-web-web")}, code: "ValidationError", message: "web-web-web-web-web-web is invalid"},
		{name: "no role", owner: account, trust: trustBob, policy: mayAssume, in: sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::123456789012:role/none")}, code: "AccessDenied", message: noTrust + "arn:aws:iam::123456789012:role/none"},
		{name: "bad session policy", owner: account, trust: trustBob, in: sts.AssumeRoleInput{Policy: new("{}")}, code: "MalformedPolicyDocument", message: "Syntax errors in policy."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, false)
			role := b.addRole(t, tt.owner, "web", tt.trust)
			ctx := b.asUser(t, tt.policy)
			in := tt.in
			in.RoleSessionName = new("s1")
			if in.RoleArn == nil {
				in.RoleArn = &role.ARN
			}
			out, err := b.AssumeRole(ctx, &in)
			if tt.code != "" {
				e, ok := errors.AsType[api.Error](err)
				if !ok || e.ErrorCode() != tt.code || e.ErrorMessage() != tt.message {
					t.Fatalf("got %v\nwant %s: %s", err, tt.code, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			me, err := b.GetCallerIdentity(b.asSession(t, out.Credentials), nil)
			if err != nil || *me.Arn != "arn:aws:sts::"+tt.owner+":assumed-role/web/s1" || *me.UserId != "AROAWEB:s1" || *me.Account != tt.owner {
				t.Errorf("%+v %v", me, err)
			}
			if *out.AssumedRoleUser.Arn != *me.Arn || *out.AssumedRoleUser.AssumedRoleId != *me.UserId {
				t.Errorf("assumed %+v", out.AssumedRoleUser)
			}
			if left := time.Until(*out.Credentials.Expiration); left > time.Hour || left < time.Hour-time.Minute {
				t.Errorf("lasts %s", left)
			}
		})
	}
}

func TestRoleChaining(t *testing.T) {
	b := newBench(t, true)
	first := b.addRole(t, account, "first", trustAccount)
	second := b.addRole(t, account, "second", trustAccount)
	out, err := b.AssumeRole(root(t), &sts.AssumeRoleInput{
		RoleArn: &first.ARN, RoleSessionName: new("s"), SourceIdentity: new("bob"),
		Tags: []sts.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}, TransitiveTagKeys: []string{"a"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := b.asSession(t, out.Credentials)
	_, err = b.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &second.ARN, RoleSessionName: new("s"), DurationSeconds: new(int32(3601))})
	if api.Code(err) != "ValidationError" {
		t.Errorf("longer than an hour: %v", err)
	}
	out, err = b.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &second.ARN, RoleSessionName: new("s")})
	if err != nil {
		t.Fatal(err)
	}
	who := api.CallFrom(b.asSession(t, out.Credentials)).Identity
	if len(who.SessionTags) != 1 || who.SessionTags["a"] != "1" || *out.SourceIdentity != "bob" {
		t.Errorf("tags %v, source identity %s", who.SessionTags, *out.SourceIdentity)
	}
}

func TestRootMayNotAssume(t *testing.T) {
	b := newBench(t, false)
	role := b.addRole(t, account, "web", trustAccount)
	_, err := b.AssumeRole(root(t), &sts.AssumeRoleInput{RoleArn: &role.ARN, RoleSessionName: new("s")})
	if e, ok := errors.AsType[api.Error](err); !ok || e.ErrorMessage() != "Roles may not be assumed by root accounts." {
		t.Error(err)
	}
}

func TestOwnSessions(t *testing.T) {
	b := newBench(t, false)
	user := b.asUser(t, mayAssume)
	out, err := b.GetSessionToken(user, &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left < 11*time.Hour {
		t.Errorf("a user's session lasts %s", left)
	}
	session := b.asSession(t, out.Credentials)
	me, err := b.GetCallerIdentity(session, nil)
	if err != nil || *me.Arn != "arn:aws:iam::123456789012:user/bob" {
		t.Errorf("%+v %v", me, err)
	}
	if _, err := b.GetSessionToken(session, &sts.GetSessionTokenInput{}); api.Code(err) != "AccessDenied" {
		t.Errorf("a session of a session: %v", err)
	}
	out, err = b.GetSessionToken(root(t), &sts.GetSessionTokenInput{DurationSeconds: new(int32(7200))})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left > time.Hour {
		t.Errorf("root's session lasts %s", left)
	}
	if !api.CallFrom(b.asSession(t, out.Credentials)).Identity.Root {
		t.Error("root's session is not root's")
	}

	info, err := b.GetAccessKeyInfo(user, &sts.GetAccessKeyInfoInput{AccessKeyId: out.Credentials.AccessKeyId})
	if err != nil || *info.Account != account {
		t.Errorf("key info %v", err)
	}
}

func TestFederationToken(t *testing.T) {
	b := newBench(t, false)
	for name, ctx := range map[string]context.Context{"user": b.asUser(t, `"Effect":"Allow","Action":"s3:*","Resource":"*"`), "root": root(t)} {
		t.Run(name, func(t *testing.T) {
			out, err := b.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: new("app"), Policy: new(doc(`"Effect":"Allow","Action":["s3:GetObject","ecs:RunTask"],"Resource":"*"`))})
			if err != nil {
				t.Fatal(err)
			}
			c := api.CallFrom(b.asSession(t, out.Credentials))
			if c.Identity.ARN != "arn:aws:sts::123456789012:federated-user/app" || *out.FederatedUser.FederatedUserId != "123456789012:app" {
				t.Errorf("%+v", c.Identity)
			}
			for action, want := range map[string]bool{"s3:GetObject": true, "s3:PutObject": false, "ecs:RunTask": name == "root"} {
				if err := b.directory.Authorize(t.Context(), c, action, []string{"*"}, nil); (err == nil) != want {
					t.Errorf("%s: %v", action, err)
				}
			}
			bare, err := b.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: new("bare")})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.directory.Authorize(t.Context(), api.CallFrom(b.asSession(t, bare.Credentials)), "s3:GetObject", []string{"*"}, nil); err == nil {
				t.Error("without session policies nothing is allowed")
			}
		})
	}
}
