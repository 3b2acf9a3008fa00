package iam_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/seal"
	service "roadstead.dev/internal/service/iam"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
)

const (
	account = "123456789012"
	trust   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	allow   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	admin   = "arn:aws:iam::aws:policy/AdministratorAccess"
)

// bench is a service on an empty store, and a context to call it by.
type bench struct {
	*service.Service
	store   store.Store
	ctx     context.Context
	sealing *seal.Key
}

func newBench(t *testing.T) bench {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	d, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	root := api.Identity{ARN: "arn:aws:iam::" + account + ":root", UserID: account, Root: true, AccessKeyID: "root"}
	return bench{service.New(service.Config{Store: s, Principals: d, Key: sealing}), s, as(t.Context(), root), sealing}
}

func as(ctx context.Context, who api.Identity) context.Context {
	return api.WithCall(ctx, &api.Call{
		Account: account, Region: "us-east-1", Partition: "aws", Identity: who,
		Time:      time.Date(2025, 6, 1, 12, 0, 0, 5e8, time.UTC),
		Authorize: func(context.Context, string, string, map[string]string) error { return nil },
	})
}

// ok is the output of a call that has to succeed.
func ok[T any](t *testing.T, out T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused checks an error's code and words.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	e, is := err.(api.Error) //nolint:errorlint // handlers answer with it plainly
	if !is {
		t.Fatalf("got %v, want %s: %s", err, code, message)
	}
	if e.ErrorCode() != code || e.ErrorMessage() != message {
		t.Fatalf("got %s: %s\nwant %s: %s", e.ErrorCode(), e.ErrorMessage(), code, message)
	}
}

func (b bench) createRole(t *testing.T, name string) *iam.Role {
	t.Helper()
	out, err := b.CreateRole(b.ctx, &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: new(trust)})
	return ok(t, out, err).Role
}

func (b bench) createUser(t *testing.T, name string) *iam.User {
	t.Helper()
	out, err := b.CreateUser(b.ctx, &iam.CreateUserInput{UserName: &name})
	return ok(t, out, err).User
}

func (b bench) createPolicy(t *testing.T, name string) string {
	t.Helper()
	out, err := b.CreatePolicy(b.ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: new(allow)})
	return *ok(t, out, err).Policy.Arn
}

func TestRole(t *testing.T) {
	b := newBench(t)
	created, err := b.CreateRole(b.ctx, &iam.CreateRoleInput{
		RoleName: new("Web"), Path: new("/app/"), AssumeRolePolicyDocument: new(trust), Description: new("d"),
		MaxSessionDuration: new(int32(7200)), Tags: []iam.Tag{{Key: new("k"), Value: new("v")}},
	})
	role := ok(t, created, err).Role
	if got, want := *role.Arn, "arn:aws:iam::123456789012:role/app/Web"; got != want {
		t.Errorf("ARN %s, want %s", got, want)
	}
	if len(*role.RoleId) != 21 || !strings.HasPrefix(*role.RoleId, "AROA") {
		t.Errorf("id %s", *role.RoleId)
	}
	if got, _ := url.PathUnescape(*role.AssumeRolePolicyDocument); got != trust || strings.ContainsAny(*role.AssumeRolePolicyDocument, `+{"`) {
		t.Errorf("document %s", *role.AssumeRolePolicyDocument)
	}
	if !role.CreateDate.Equal(time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("created %s", role.CreateDate)
	}
	got, err := b.GetRole(b.ctx, &iam.GetRoleInput{RoleName: new("wEB")})
	want := *role
	want.RoleLastUsed = &iam.RoleLastUsed{}
	if diff := cmp.Diff(&want, ok(t, got, err).Role); diff != "" {
		t.Error(diff)
	}
	_, err = b.CreateRole(b.ctx, &iam.CreateRoleInput{RoleName: new("WEB"), AssumeRolePolicyDocument: new(trust)})
	refused(t, err, "EntityAlreadyExists", "Role with name WEB already exists.")
	_, err = b.GetRole(b.ctx, &iam.GetRoleInput{RoleName: new("none")})
	refused(t, err, "NoSuchEntity", "The role with name none cannot be found.")

	if _, err := b.UpdateRole(b.ctx, &iam.UpdateRoleInput{RoleName: new("Web"), Description: new("e")}); err != nil {
		t.Fatal(err)
	}
	got, err = b.GetRole(b.ctx, &iam.GetRoleInput{RoleName: new("Web")})
	if r := ok(t, got, err).Role; *r.Description != "e" || *r.MaxSessionDuration != 7200 {
		t.Errorf("updated to %q and %d", *r.Description, *r.MaxSessionDuration)
	}

	for _, doc := range []string{`{}`, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/none"},"Action":"sts:AssumeRole"}]}`} {
		if _, err := b.UpdateAssumeRolePolicy(b.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: new("Web"), PolicyDocument: &doc}); api.Code(err) != "MalformedPolicyDocument" {
			t.Errorf("%s: %v", doc, err)
		}
	}
	ownRole := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/app/Web"},"Action":"sts:AssumeRole"}]}`
	if _, err := b.UpdateAssumeRolePolicy(b.ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: new("Web"), PolicyDocument: &ownRole}); err != nil {
		t.Error(err)
	}
}

func TestDeleteConflicts(t *testing.T) {
	b := newBench(t)
	b.createRole(t, "web")
	steps := []struct {
		do, undo func() error
		message  string
	}{
		{
			func() error {
				_, err := b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: new(admin)})
				return err
			},
			func() error {
				_, err := b.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: new("web"), PolicyArn: new(admin)})
				return err
			},
			"Cannot delete entity, must detach all policies first.",
		},
		{
			func() error {
				_, err := b.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: new("web"), PolicyName: new("p"), PolicyDocument: new(allow)})
				return err
			},
			func() error {
				_, err := b.DeleteRolePolicy(b.ctx, &iam.DeleteRolePolicyInput{RoleName: new("web"), PolicyName: new("p")})
				return err
			},
			"Cannot delete entity, must delete policies first.",
		},
		{
			func() error {
				if _, err := b.CreateInstanceProfile(b.ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new("ip")}); err != nil {
					return err
				}
				_, err := b.AddRoleToInstanceProfile(b.ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: new("ip"), RoleName: new("web")})
				return err
			},
			func() error {
				_, err := b.DeleteInstanceProfile(b.ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: new("ip")})
				refused(t, err, "DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
				_, err = b.RemoveRoleFromInstanceProfile(b.ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: new("ip"), RoleName: new("web")})
				return err
			},
			"Cannot delete entity, must remove roles from instance profile first.",
		},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		_, err := b.DeleteRole(b.ctx, &iam.DeleteRoleInput{RoleName: new("web")})
		refused(t, err, "DeleteConflict", s.message)
		if err := s.undo(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.DeleteRole(b.ctx, &iam.DeleteRoleInput{RoleName: new("web")}); err != nil {
		t.Fatal(err)
	}
}

func TestUserAndKeys(t *testing.T) {
	b := newBench(t)
	u := b.createUser(t, "Bob")
	self := as(t.Context(), api.Identity{ARN: *u.Arn, UserID: *u.UserId})
	got, err := b.GetUser(self, &iam.GetUserInput{})
	if diff := cmp.Diff(u, ok(t, got, err).User); diff != "" {
		t.Error(diff)
	}
	var ids []string
	for range 2 {
		out, err := b.CreateAccessKey(self, &iam.CreateAccessKeyInput{})
		k := ok(t, out, err).AccessKey
		if !strings.HasPrefix(*k.AccessKeyId, "AKIA") || len(*k.AccessKeyId) != 20 || len(*k.SecretAccessKey) != 40 || *k.UserName != "Bob" {
			t.Errorf("key %+v", k)
		}
		ids = append(ids, *k.AccessKeyId)
	}
	_, err = b.CreateAccessKey(self, &iam.CreateAccessKeyInput{})
	refused(t, err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	_, err = b.CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{})
	refused(t, err, "ValidationError", "Must specify userName when calling with non-User credentials")
	_, err = b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")})
	refused(t, err, "DeleteConflict", "Cannot delete entity, must delete access keys first.")

	if _, err := b.UpdateUser(b.ctx, &iam.UpdateUserInput{UserName: new("Bob"), NewUserName: new("Rob"), NewPath: new("/x/")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.UpdateAccessKey(b.ctx, &iam.UpdateAccessKeyInput{UserName: new("rob"), AccessKeyId: &ids[0], Status: iam.StatusTypeInactive}); err != nil {
		t.Fatal(err)
	}
	list, err := b.ListAccessKeys(b.ctx, &iam.ListAccessKeysInput{UserName: new("Rob")})
	for _, k := range ok(t, list, err).AccessKeyMetadata {
		want := iam.StatusTypeActive
		if *k.AccessKeyId == ids[0] {
			want = iam.StatusTypeInactive
		}
		if k.Status != want || *k.UserName != "Rob" {
			t.Errorf("%s is %s of %s", *k.AccessKeyId, k.Status, *k.UserName)
		}
	}
	_, err = b.DeleteAccessKey(b.ctx, &iam.DeleteAccessKeyInput{UserName: new("Rob"), AccessKeyId: new("AKIANONE")})
	refused(t, err, "NoSuchEntity", "The Access Key with id AKIANONE cannot be found.")
	for _, id := range ids {
		if _, err := b.DeleteAccessKey(b.ctx, &iam.DeleteAccessKeyInput{UserName: new("Rob"), AccessKeyId: &id}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("Rob")}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetUser(b.ctx, &iam.GetUserInput{UserName: new("Bob")})
	refused(t, err, "NoSuchEntity", "The user with name Bob cannot be found.")
}

func TestGroups(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	for _, g := range []string{"dev", "ops"} {
		if _, err := b.CreateGroup(b.ctx, &iam.CreateGroupInput{GroupName: &g}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddUserToGroup(b.ctx, &iam.AddUserToGroupInput{GroupName: &g, UserName: new("bob")}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.DeleteGroup(b.ctx, &iam.DeleteGroupInput{GroupName: new("dev")})
	refused(t, err, "DeleteConflict", "Cannot delete entity, must remove users from group first.")
	if _, err := b.UpdateGroup(b.ctx, &iam.UpdateGroupInput{GroupName: new("dev"), NewGroupName: new("Devs")}); err != nil {
		t.Fatal(err)
	}
	groups, err := b.ListGroupsForUser(b.ctx, &iam.ListGroupsForUserInput{UserName: new("bob")})
	var names []string
	for _, g := range ok(t, groups, err).Groups {
		names = append(names, *g.GroupName)
	}
	if diff := cmp.Diff([]string{"Devs", "ops"}, names); diff != "" {
		t.Error(diff)
	}
	g, err := b.GetGroup(b.ctx, &iam.GetGroupInput{GroupName: new("devs")})
	if users := ok(t, g, err).Users; len(users) != 1 || *users[0].UserName != "bob" {
		t.Errorf("members %v", users)
	}
	if _, err := b.RemoveUserFromGroup(b.ctx, &iam.RemoveUserFromGroupInput{GroupName: new("Devs"), UserName: new("bob")}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeleteGroup(b.ctx, &iam.DeleteGroupInput{GroupName: new("Devs")}); err != nil {
		t.Fatal(err)
	}
}

func TestManagedPolicy(t *testing.T) {
	b := newBench(t)
	arn := b.createPolicy(t, "p")
	_, err := b.CreatePolicy(b.ctx, &iam.CreatePolicyInput{PolicyName: new("P"), PolicyDocument: new(allow)})
	refused(t, err, "EntityAlreadyExists", "A policy called P already exists. Duplicate names are not allowed.")
	for i := 2; i <= 5; i++ {
		out, err := b.CreatePolicyVersion(b.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: new(allow), SetAsDefault: new(i == 5)})
		if v := ok(t, out, err).PolicyVersion; *v.VersionId != fmt.Sprint("v", i) || *v.IsDefaultVersion != (i == 5) {
			t.Errorf("version %s, default %v", *v.VersionId, *v.IsDefaultVersion)
		}
	}
	_, err = b.CreatePolicyVersion(b.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: new(allow)})
	refused(t, err, "LimitExceeded", "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.")
	_, err = b.DeletePolicyVersion(b.ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: new("v5")})
	refused(t, err, "DeleteConflict", "Cannot delete the default version of a policy.")
	versions, err := b.ListPolicyVersions(b.ctx, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	if v := ok(t, versions, err).Versions; len(v) != 5 || *v[0].VersionId != "v5" {
		t.Errorf("versions %v", v)
	}

	b.createRole(t, "web")
	b.createUser(t, "bob")
	if _, err := b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn}); err != nil {
		t.Fatal("attaching again:", err)
	}
	if _, err := b.PutUserPermissionsBoundary(b.ctx, &iam.PutUserPermissionsBoundaryInput{UserName: new("bob"), PermissionsBoundary: &arn}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetPolicy(b.ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if p := ok(t, got, err).Policy; *p.AttachmentCount != 1 || *p.PermissionsBoundaryUsageCount != 1 || *p.DefaultVersionId != "v5" {
		t.Errorf("policy %+v", p)
	}
	entities, err := b.ListEntitiesForPolicy(b.ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: &arn})
	if e := ok(t, entities, err); len(e.PolicyRoles) != 1 || *e.PolicyRoles[0].RoleName != "web" || len(e.PolicyUsers) != 1 {
		t.Errorf("entities %+v", e)
	}
	_, err = b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn})
	refused(t, err, "DeleteConflict", "Cannot delete a policy attached to entities.")
	if _, err := b.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn}); err != nil {
		t.Fatal(err)
	}
	_, err = b.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn})
	refused(t, err, "NoSuchEntity", "Policy "+arn+" was not found.")
	if _, err := b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")}); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 5; i++ {
		if _, err := b.DeletePolicyVersion(b.ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: new(fmt.Sprint("v", i))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetPolicy(b.ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	refused(t, err, "NoSuchEntity", "Policy "+arn+" was not found.")
	_, err = b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: &arn})
	refused(t, err, "NoSuchEntity", "Policy "+arn+" does not exist or is not attachable.")
	_, err = b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: new("some-long-text-that-is-no-arn")})
	refused(t, err, "ValidationError", "Invalid ARN:  Could not be parsed!")
}

func TestPagination(t *testing.T) {
	b := newBench(t)
	for i := range 7 {
		b.createRole(t, fmt.Sprint("role", i))
	}
	var names []string
	in := &iam.ListRolesInput{MaxItems: new(int32(3))}
	for {
		out, err := b.ListRoles(b.ctx, in)
		ok(t, out, err)
		for _, r := range out.Roles {
			names = append(names, *r.RoleName)
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	if diff := cmp.Diff([]string{"role0", "role1", "role2", "role3", "role4", "role5", "role6"}, names); diff != "" {
		t.Error(diff)
	}
	policies, err := b.ListPolicies(b.ctx, &iam.ListPoliciesInput{Scope: iam.PolicyScopeTypeAws, MaxItems: new(int32(1000))})
	if n := len(ok(t, policies, err).Policies); n < 50 {
		t.Errorf("%d AWS managed policies", n)
	}
}

func TestServiceLinkedRole(t *testing.T) {
	b := newBench(t)
	out, err := b.CreateServiceLinkedRole(b.ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: new("ecs.amazonaws.com")})
	if got, want := *ok(t, out, err).Role.Arn, "arn:aws:iam::123456789012:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"; got != want {
		t.Errorf("ARN %s", got)
	}
	_, err = b.CreateServiceLinkedRole(b.ctx, &iam.CreateServiceLinkedRoleInput{AWSServiceName: new("ecs.amazonaws.com")})
	refused(t, err, "InvalidInput", "Service role name AWSServiceRoleForECS has been taken in this account, please try a different suffix.")
	_, err = b.DeleteRole(b.ctx, &iam.DeleteRoleInput{RoleName: new("AWSServiceRoleForECS")})
	refused(t, err, "UnmodifiableEntity", "Cannot perform the operation on the protected role 'AWSServiceRoleForECS' - this role is only modifiable by AWS")
	task, err := b.DeleteServiceLinkedRole(b.ctx, &iam.DeleteServiceLinkedRoleInput{RoleName: new("AWSServiceRoleForECS")})
	ok(t, task, err)
	status, err := b.GetServiceLinkedRoleDeletionStatus(b.ctx, &iam.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task.DeletionTaskId})
	if s := ok(t, status, err).Status; s != iam.DeletionTaskStatusTypeSucceeded {
		t.Errorf("status %s", s)
	}
}

func TestTags(t *testing.T) {
	b := newBench(t)
	b.createRole(t, "web")
	tag := func(k, v string) error {
		_, err := b.TagRole(b.ctx, &iam.TagRoleInput{RoleName: new("web"), Tags: []iam.Tag{{Key: &k, Value: &v}}})
		return err
	}
	for _, kv := range [][2]string{{"Env", "a"}, {"env", "b"}, {"team", "c"}} {
		if err := tag(kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, tag("aws:x", "y"), "InvalidInput", "Tag keys beginning with aws: are reserved for system use.")
	if _, err := b.UntagRole(b.ctx, &iam.UntagRoleInput{RoleName: new("web"), TagKeys: []string{"TEAM"}}); err != nil {
		t.Fatal(err)
	}
	out, err := b.ListRoleTags(b.ctx, &iam.ListRoleTagsInput{RoleName: new("web")})
	if diff := cmp.Diff([]iam.Tag{{Key: new("env"), Value: new("b")}}, ok(t, out, err).Tags); diff != "" {
		t.Error(diff)
	}
}

func TestInlineLimits(t *testing.T) {
	b := newBench(t)
	b.createRole(t, "web")
	_, err := b.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: new("web"), PolicyName: new("p"), PolicyDocument: new("{}")})
	refused(t, err, "MalformedPolicyDocument", "Syntax errors in policy.")
	big := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::` + strings.Repeat("x", 10240) + `"}]}`
	_, err = b.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: new("web"), PolicyName: new("p"), PolicyDocument: &big})
	refused(t, err, "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role web")
	_, err = b.GetRolePolicy(b.ctx, &iam.GetRolePolicyInput{RoleName: new("web"), PolicyName: new("p")})
	refused(t, err, "NoSuchEntity", "The role policy with name p cannot be found.")
}

func TestAccountAlias(t *testing.T) {
	b := newBench(t)
	for _, a := range []string{"first", "second"} {
		if _, err := b.CreateAccountAlias(b.ctx, &iam.CreateAccountAliasInput{AccountAlias: &a}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.ListAccountAliases(b.ctx, &iam.ListAccountAliasesInput{})
	if diff := cmp.Diff([]string{"second"}, ok(t, out, err).AccountAliases); diff != "" {
		t.Error(diff)
	}
	_, err = b.DeleteAccountAlias(b.ctx, &iam.DeleteAccountAliasInput{AccountAlias: new("first")})
	refused(t, err, "NoSuchEntity", "The account alias first cannot be found.")
	if _, err := b.DeleteAccountAlias(b.ctx, &iam.DeleteAccountAliasInput{AccountAlias: new("second")}); err != nil {
		t.Fatal(err)
	}
	summary, err := b.GetAccountSummary(b.ctx, &iam.GetAccountSummaryInput{})
	if n := ok(t, summary, err).SummaryMap["Roles"]; n != 0 {
		t.Errorf("%d roles", n)
	}
}

func TestSimulate(t *testing.T) {
	b := newBench(t)
	u := b.createUser(t, "bob")
	if _, err := b.PutUserPolicy(b.ctx, &iam.PutUserPolicyInput{UserName: new("bob"), PolicyName: new("p"), PolicyDocument: new(allow)}); err != nil {
		t.Fatal(err)
	}
	out, err := b.SimulatePrincipalPolicy(b.ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: u.Arn, ActionNames: []string{"s3:GetObject", "ecs:RunTask", "s3:PutObject"},
		PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:Put*","Resource":"*"}}`},
	})
	got := map[string]iam.PolicyEvaluationDecisionType{}
	for _, r := range ok(t, out, err).EvaluationResults {
		got[*r.EvalActionName] = r.EvalDecision
	}
	want := map[string]iam.PolicyEvaluationDecisionType{"s3:GetObject": "allowed", "ecs:RunTask": "implicitDeny", "s3:PutObject": "explicitDeny"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = b.SimulatePrincipalPolicy(b.ctx, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: new("arn:aws:iam::123456789012:user/none"), ActionNames: []string{"a:b"}})
	if api.Code(err) != "NoSuchEntity" {
		t.Error(err)
	}
}

func TestScopeOf(t *testing.T) {
	b := newBench(t)
	described := iam.New(b.Service)
	if _, err := b.CreateRole(b.ctx, &iam.CreateRoleInput{RoleName: new("web"), Path: new("/app/"), AssumeRolePolicyDocument: new(trust), Tags: []iam.Tag{{Key: new("team"), Value: new("red")}}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		op         string
		in         any
		arn        string
		conditions map[string]string
	}{
		{"GetRole", &iam.GetRoleInput{RoleName: new("web")}, "arn:aws:iam::123456789012:role/app/web", map[string]string{"aws:ResourceTag/team": "red", "iam:ResourceTag/team": "red"}},
		{"CreateUser", &iam.CreateUserInput{UserName: new("u"), Path: new("/p/"), Tags: []iam.Tag{{Key: new("a"), Value: new("b")}}}, "arn:aws:iam::123456789012:user/p/u", map[string]string{"aws:RequestTag/a": "b"}},
		{"AttachUserPolicy", &iam.AttachUserPolicyInput{UserName: new("u"), PolicyArn: new(admin)}, "arn:aws:iam::123456789012:user/u", map[string]string{"iam:PolicyARN": admin}},
		{"CreatePolicy", &iam.CreatePolicyInput{PolicyName: new("p")}, "arn:aws:iam::123456789012:policy/p", map[string]string{}},
		{"AddUserToGroup", &iam.AddUserToGroupInput{UserName: new("u"), GroupName: new("g")}, "arn:aws:iam::123456789012:group/g", map[string]string{}},
	} {
		arns, conditions := b.ScopeOf(b.ctx, described.Operation(tt.op), tt.in)
		if diff := cmp.Diff([]string{tt.arn}, arns); diff != "" {
			t.Errorf("%s: %s", tt.op, diff)
		}
		if diff := cmp.Diff(tt.conditions, conditions); diff != "" {
			t.Errorf("%s: %s", tt.op, diff)
		}
	}
}
