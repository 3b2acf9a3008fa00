package identity_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const account = "123456789012"

// fakeClock stands still until it is moved.
type fakeClock struct {
	clock.System
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type bench struct {
	*identity.Directory
	store store.Store
	clock *fakeClock
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{store: memory.New(), clock: &fakeClock{now: time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)}}
	t.Cleanup(func() { _ = b.store.Close() })
	b.open(t)
	return b
}

// open opens the directory, as a restarted server would.
func (b *bench) open(t *testing.T) {
	t.Helper()
	var err error
	b.Directory, err = identity.New(t.Context(), identity.Config{
		Store: b.store, Clock: b.clock,
		Root: []identity.RootKey{{AccessKeyID: "ROOTKEY", Secret: "rootsecret", Account: account}, {Account: account}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func put[T any](t *testing.T, b *bench, table *store.Table[T], id string, v *T) {
	t.Helper()
	tx := store.NewTxn()
	table.Put(tx, account, "", id, v)
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
}

func policyText(statement string) string {
	return `{"Version":"2012-10-17","Statement":[{` + statement + `}]}`
}

// addUser makes a user with an embedded policy and a key.
func (b *bench) addUser(t *testing.T, statement string) string {
	t.Helper()
	id, err := identity.NewAccessKeyID(model.IAMAccessKeyPrefix, account)
	if err != nil {
		t.Fatal(err)
	}
	u := &model.User{Groups: []string{"dev"}, AccessKeys: []string{id}, Tags: model.Tags{"team": "red"}}
	u.IAMPrincipal = model.IAMPrincipal{Name: "Bob", Path: "/", ID: "AIDABOB", ARN: "arn:aws:iam::" + account + ":user/Bob"}
	if statement != "" {
		u.Policies = map[string]string{"p": policyText(statement)}
	}
	put(t, b, tables.Users, "bob", u)
	put(t, b, tables.AccessKeys, id, &model.AccessKey{ID: id, Secret: "secret", User: "bob", UserName: "Bob", Status: model.AccessKeyActive})
	return id
}

func (b *bench) addRole(t *testing.T, trust string, statement string) *model.Role {
	t.Helper()
	r := &model.Role{TrustPolicy: policyText(trust), MaxSessionDuration: 3600}
	r.IAMPrincipal = model.IAMPrincipal{Name: "Web", Path: "/app/", ID: "AROAWEB", ARN: model.RoleARN(account, "/app/", "Web")}
	if statement != "" {
		r.Policies = map[string]string{"p": policyText(statement)}
	}
	put(t, b, tables.Roles, "web", r)
	return r
}

// call makes the call that the key's owner would.
func (b *bench) call(t *testing.T, key, token string) *api.Call {
	t.Helper()
	_, who, acct, err := b.Lookup(t.Context(), key, token)
	if err != nil {
		t.Fatal(err)
	}
	return &api.Call{Account: acct, Identity: who, Region: "eu-west-1", SourceIP: "127.0.0.1", Time: b.clock.Now()}
}

const (
	trustTasks = `"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"`
	image      = "arn:aws:ecr:eu-west-1:" + account + ":repository/web"
)

func TestLookupKeys(t *testing.T) {
	b := newBench(t)
	key := b.addUser(t, "")
	secret, who, acct, err := b.Lookup(t.Context(), key, "")
	if err != nil || secret != "secret" || acct != account || who.ARN != "arn:aws:iam::123456789012:user/Bob" || who.UserID != "AIDABOB" || who.Root {
		t.Fatalf("%q %+v %s %v", secret, who, acct, err)
	}
	if secret, who, _, err := b.Lookup(t.Context(), "ROOTKEY", ""); err != nil || secret != "rootsecret" || !who.Root {
		t.Fatalf("root: %+v %v", who, err)
	}
	for _, unknown := range []string{"", "AKIA", "AKIAIOSFODNN7EXAMPLE", "AKIAQAAAAAAAAAAAAAAA"} {
		if _, _, _, err := b.Lookup(t.Context(), unknown, ""); !errors.Is(err, model.ErrUnknownAccessKey) {
			t.Errorf("%q: %v", unknown, err)
		}
	}
	if _, _, _, err := b.Lookup(t.Context(), key, "token"); !errors.Is(err, model.ErrSecurityToken) {
		t.Errorf("with a token: %v", err)
	}
	put(t, b, tables.AccessKeys, key, &model.AccessKey{ID: key, Secret: "secret", User: "bob", Status: model.AccessKeyInactive})
	if _, _, _, err := b.Lookup(t.Context(), key, ""); !errors.Is(err, model.ErrUnknownAccessKey) {
		t.Errorf("inactive: %v", err)
	}
}

func TestAccessKeyIDHoldsAccount(t *testing.T) {
	for _, acct := range []string{"000000000000", "000000000001", "123456789012", "999999999999"} {
		for _, random := range []uint64{0, 1, 1<<39 - 1, 0x1234567890} {
			id, err := model.MakeAccessKeyID("AKIA", acct, random)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := model.AccountOfAccessKeyID(id); !ok || got != acct || len(id) != 20 {
				t.Errorf("%s of %s gives %s", id, acct, got)
			}
		}
	}
	if _, err := model.MakeAccessKeyID("AKIA", "bob", 0); err == nil {
		t.Error("bob is an account")
	}
}

func TestMintRoleSession(t *testing.T) {
	b := newBench(t)
	role := b.addRole(t, trustTasks, `"Effect":"Allow","Action":"s3:*","Resource":"*"`)
	mint := func() (identity.Credentials, error) {
		return b.MintRoleSession(t.Context(), role.ARN, "0123", "ecs-tasks.amazonaws.com", time.Hour, nil)
	}
	c, err := mint()
	if err != nil {
		t.Fatal(err)
	}
	// The token outlives the server.
	b.open(t)
	secret, who, acct, err := b.Lookup(t.Context(), c.AccessKeyID, c.SessionToken)
	if err != nil || secret != c.Secret || acct != account {
		t.Fatalf("%+v %v", who, err)
	}
	if who.ARN != "arn:aws:sts::123456789012:assumed-role/Web/0123" || who.UserID != "AROAWEB:0123" || who.RoleARN != role.ARN {
		t.Errorf("identity %+v", who)
	}
	other, err := mint()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"none": "", "garbage": "garbage", "another's": other.SessionToken, "cut": c.SessionToken[:40]} {
		if _, _, _, err := b.Lookup(t.Context(), c.AccessKeyID, token); !errors.Is(err, model.ErrSecurityToken) {
			t.Errorf("token %s: %v", name, err)
		}
	}
	b.clock.advance(time.Hour - time.Second)
	if _, _, _, err := b.Lookup(t.Context(), c.AccessKeyID, c.SessionToken); err != nil {
		t.Errorf("before the end: %v", err)
	}
	b.clock.advance(time.Second)
	if _, _, _, err := b.Lookup(t.Context(), c.AccessKeyID, c.SessionToken); !errors.Is(err, model.ErrExpiredToken) {
		t.Errorf("at the end: %v", err)
	}
	// A role that was made anew is another role.
	c, err = mint()
	if err != nil {
		t.Fatal(err)
	}
	again := *role
	again.ID = "AROANEW"
	put(t, b, tables.Roles, "web", &again)
	if _, _, _, err := b.Lookup(t.Context(), c.AccessKeyID, c.SessionToken); !errors.Is(err, model.ErrSecurityToken) {
		t.Errorf("role made anew: %v", err)
	}
}

func TestMintRefuses(t *testing.T) {
	b := newBench(t)
	role := b.addRole(t, trustTasks+`,"Condition":{"StringEquals":{"aws:SourceAccount":"`+account+`"},"ArnLike":{"aws:SourceArn":"arn:aws:ecs:*:`+account+`:*"}}`, "")
	source := map[string]string{"aws:SourceAccount": account, "aws:SourceArn": "arn:aws:ecs:eu-west-1:" + account + ":task/web/1"}
	for _, tt := range []struct {
		name, role, service string
		conditions          map[string]string
		minted, exists      bool
	}{
		{"right", role.ARN, "ecs-tasks.amazonaws.com", source, true, true},
		{"other service", role.ARN, "ec2.amazonaws.com", source, false, true},
		{"condition unmet", role.ARN, "ecs-tasks.amazonaws.com", nil, false, true},
		{"no role", model.RoleARN(account, "/", "none"), "ecs-tasks.amazonaws.com", source, false, false},
		{"wrong path", model.RoleARN(account, "/", "Web"), "ecs-tasks.amazonaws.com", source, false, false},
		{"no ARN", "Web", "ecs-tasks.amazonaws.com", source, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.MintRoleSession(t.Context(), tt.role, "s", tt.service, time.Hour, tt.conditions)
			refusal, ok := errors.AsType[*identity.CannotAssume](err)
			if tt.minted != (err == nil) || ok != (err != nil) || ok && refusal.Exists != tt.exists {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAuthorize(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		name, statement, action, resource string
		conditions                        map[string]string
		want                              string
	}{
		{"nothing", "", "ecr:PutImage", image, nil, "because no identity-based policy allows the ecr:PutImage action"},
		{"allowed", `"Effect":"Allow","Action":"ecr:*","Resource":"` + image + `"`, "ecr:PutImage", image, nil, ""},
		{"other resource", `"Effect":"Allow","Action":"ecr:*","Resource":"` + image + `"`, "ecr:PutImage", image + "2", nil, "because no identity-based policy allows the ecr:PutImage action"},
		{"region", `"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1","aws:username":"Bob","aws:PrincipalTag/team":"red","aws:PrincipalAccount":"` + account + `"}}`, "ecr:PutImage", image, nil, ""},
		{"address", `"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, "ecr:PutImage", image, nil, "because no identity-based policy allows the ecr:PutImage action"},
		{"own condition", `"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}`, "iam:PassRole", "*", map[string]string{"iam:PassedToService": "ecs-tasks.amazonaws.com"}, ""},
		{"tag keys", `"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}`, "ecs:TagResource", "*", map[string]string{"aws:RequestTag/a": "1", "aws:RequestTag/b": "2"}, "because no identity-based policy allows the ecs:TagResource action"},
		{"denied", `"Effect":"Deny","Action":"*","Resource":"*"`, "ecr:PutImage", image, nil, "with an explicit deny in an identity-based policy"},
		{"who am I", `"Effect":"Deny","Action":"*","Resource":"*"`, "sts:GetCallerIdentity", "*", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := b.call(t, b.addUser(t, tt.statement), "")
			err := b.Authorize(t.Context(), c, tt.action, []string{tt.resource}, tt.conditions)
			got := ""
			if d, ok := errors.AsType[*model.Denied](err); ok {
				got = d.Reason
			} else if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAuthorizeByGroupBoundaryAndSession(t *testing.T) {
	b := newBench(t)
	key := b.addUser(t, "")
	put(t, b, tables.Groups, "dev", &model.Group{IAMPrincipal: model.IAMPrincipal{
		Name: "dev", Attached: []string{"arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"},
	}})
	allowed := func(c *api.Call, action string) bool {
		t.Helper()
		err := b.Authorize(t.Context(), c, action, []string{image}, nil)
		if _, denied := errors.AsType[*model.Denied](err); err != nil && !denied {
			t.Fatal(err)
		}
		return err == nil
	}
	c := b.call(t, key, "")
	if !allowed(c, "ecr:PutImage") || allowed(c, "ecr:DeleteRepository") {
		t.Error("the group's policy is not in force")
	}
	user, err := tables.Users.Get(t.Context(), b.store, account, "", "bob")
	if err != nil {
		t.Fatal(err)
	}
	bounded := user.Copy()
	bounded.PermissionsBoundary = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
	put(t, b, tables.Users, "bob", bounded)
	if allowed(c, "ecr:PutImage") || !allowed(c, "ecr:BatchGetImage") {
		t.Error("the boundary is not in force")
	}
	role := b.addRole(t, trustTasks, `"Effect":"Allow","Action":"ecr:*","Resource":"*"`)
	s := model.NewRoleSession(role, "s")
	s.PolicyARNs = []string{bounded.PermissionsBoundary}
	s.Policy = policyText(`"Effect":"Allow","Action":"ecr:PutImage","Resource":"*"`)
	token, err := b.Mint(&s, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c = b.call(t, s.AccessKeyID, token)
	if !allowed(c, "ecr:PutImage") || !allowed(c, "ecr:BatchGetImage") || allowed(c, "ecr:DeleteRepository") {
		t.Error("the session's policies are not in force")
	}
}

func TestAuthorizeResource(t *testing.T) {
	b := newBench(t)
	c := b.call(t, b.addUser(t, ""), "")
	grant := policyText(`"Effect":"Allow","Action":"ecr:BatchGetImage","Principal":{"AWS":"` + c.Identity.ARN + `"}`)
	for _, tt := range []struct {
		owner, text string
		want        bool
	}{{account, "", false}, {account, grant, true}, {"999999999999", grant, false}} {
		err := b.AuthorizeResource(t.Context(), c, "ecr:BatchGetImage", image, tt.owner, tt.text, nil)
		if (err == nil) != tt.want {
			t.Errorf("%s with %q: %v", tt.owner, tt.text, err)
		}
	}
}

func TestUsageIsWritten(t *testing.T) {
	b := newBench(t)
	key := b.addUser(t, "")
	c := b.call(t, key, "")
	_ = b.Authorize(t.Context(), c, "ecs:ListTasks", []string{"*"}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	row, err := tables.IAMLastUsed.Get(t.Context(), b.store, account, "", key)
	if err != nil || row.V.Service != "ecs" || row.V.Region != "eu-west-1" || !row.V.Time.Equal(b.clock.Now()) {
		t.Errorf("%+v, %v", row.V, err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	s := memory.New()
	d, err := identity.New(b.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		b.Fatal(err)
	}
	r := &model.Role{IAMPrincipal: model.IAMPrincipal{
		Name: "web", Path: "/", ID: "AROAWEB", ARN: model.RoleARN(account, "/", "web"),
		Attached: []string{"arn:aws:iam::aws:policy/AmazonECS_FullAccess", "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"},
	}}
	tx := store.NewTxn()
	tables.Roles.Put(tx, account, "", "web", r)
	if _, err := tx.Commit(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	session := model.NewRoleSession(r, "s")
	token, err := d.Mint(&session, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, who, acct, err := d.Lookup(b.Context(), session.AccessKeyID, token)
		if err != nil {
			b.Fatal(err)
		}
		c := &api.Call{Account: acct, Identity: who, Region: "eu-west-1", SourceIP: "127.0.0.1", Time: session.Issued}
		if err := d.Authorize(b.Context(), c, "ecr:BatchGetImage", []string{image}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
