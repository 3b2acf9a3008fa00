package iam_test

import (
	"net/url"
	"slices"
	"testing"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
)

// holder is how a user, group or role is given policies.
type holder struct {
	name           string
	missing        string // what is said of an embedded policy that is not there
	put, drop      func(doc *string) error
	get            func() (*string, error)
	names          func() ([]string, error)
	attach, detach func(arn *string) error
	attached       func() ([]iam.AttachedPolicy, error)
}

func holders(b bench) []holder {
	u, g, r, p := new("bob"), new("dev"), new("web"), new("p")
	return []holder{
		{
			"user", "The user policy with name p cannot be found.",
			func(d *string) error {
				_, err := b.PutUserPolicy(b.ctx, &iam.PutUserPolicyInput{UserName: u, PolicyName: p, PolicyDocument: d})
				return err
			},
			func(*string) error {
				_, err := b.DeleteUserPolicy(b.ctx, &iam.DeleteUserPolicyInput{UserName: u, PolicyName: p})
				return err
			},
			func() (*string, error) {
				out, err := b.GetUserPolicy(b.ctx, &iam.GetUserPolicyInput{UserName: u, PolicyName: p})
				if err != nil {
					return nil, err
				}
				return out.PolicyDocument, nil
			},
			func() ([]string, error) {
				out, err := b.ListUserPolicies(b.ctx, &iam.ListUserPoliciesInput{UserName: u})
				return out.PolicyNames, err
			},
			func(arn *string) error {
				_, err := b.AttachUserPolicy(b.ctx, &iam.AttachUserPolicyInput{UserName: u, PolicyArn: arn})
				return err
			},
			func(arn *string) error {
				_, err := b.DetachUserPolicy(b.ctx, &iam.DetachUserPolicyInput{UserName: u, PolicyArn: arn})
				return err
			},
			func() ([]iam.AttachedPolicy, error) {
				out, err := b.ListAttachedUserPolicies(b.ctx, &iam.ListAttachedUserPoliciesInput{UserName: u})
				return out.AttachedPolicies, err
			},
		},
		{
			"group", "The group policy with name p cannot be found.",
			func(d *string) error {
				_, err := b.PutGroupPolicy(b.ctx, &iam.PutGroupPolicyInput{GroupName: g, PolicyName: p, PolicyDocument: d})
				return err
			},
			func(*string) error {
				_, err := b.DeleteGroupPolicy(b.ctx, &iam.DeleteGroupPolicyInput{GroupName: g, PolicyName: p})
				return err
			},
			func() (*string, error) {
				out, err := b.GetGroupPolicy(b.ctx, &iam.GetGroupPolicyInput{GroupName: g, PolicyName: p})
				if err != nil {
					return nil, err
				}
				return out.PolicyDocument, nil
			},
			func() ([]string, error) {
				out, err := b.ListGroupPolicies(b.ctx, &iam.ListGroupPoliciesInput{GroupName: g})
				return out.PolicyNames, err
			},
			func(arn *string) error {
				_, err := b.AttachGroupPolicy(b.ctx, &iam.AttachGroupPolicyInput{GroupName: g, PolicyArn: arn})
				return err
			},
			func(arn *string) error {
				_, err := b.DetachGroupPolicy(b.ctx, &iam.DetachGroupPolicyInput{GroupName: g, PolicyArn: arn})
				return err
			},
			func() ([]iam.AttachedPolicy, error) {
				out, err := b.ListAttachedGroupPolicies(b.ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: g})
				return out.AttachedPolicies, err
			},
		},
		{
			"role", "The role policy with name p cannot be found.",
			func(d *string) error {
				_, err := b.PutRolePolicy(b.ctx, &iam.PutRolePolicyInput{RoleName: r, PolicyName: p, PolicyDocument: d})
				return err
			},
			func(*string) error {
				_, err := b.DeleteRolePolicy(b.ctx, &iam.DeleteRolePolicyInput{RoleName: r, PolicyName: p})
				return err
			},
			func() (*string, error) {
				out, err := b.GetRolePolicy(b.ctx, &iam.GetRolePolicyInput{RoleName: r, PolicyName: p})
				if err != nil {
					return nil, err
				}
				return out.PolicyDocument, nil
			},
			func() ([]string, error) {
				out, err := b.ListRolePolicies(b.ctx, &iam.ListRolePoliciesInput{RoleName: r})
				return out.PolicyNames, err
			},
			func(arn *string) error {
				_, err := b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: r, PolicyArn: arn})
				return err
			},
			func(arn *string) error {
				_, err := b.DetachRolePolicy(b.ctx, &iam.DetachRolePolicyInput{RoleName: r, PolicyArn: arn})
				return err
			},
			func() ([]iam.AttachedPolicy, error) {
				out, err := b.ListAttachedRolePolicies(b.ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r})
				return out.AttachedPolicies, err
			},
		},
	}
}

func TestPoliciesOfHolders(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	b.createRole(t, "web")
	if _, err := b.CreateGroup(b.ctx, &iam.CreateGroupInput{GroupName: new("dev")}); err != nil {
		t.Fatal(err)
	}
	arn := b.createPolicy(t, "read")
	for _, h := range holders(b) {
		t.Run(h.name, func(t *testing.T) {
			_, err := h.get()
			refused(t, err, "NoSuchEntity", h.missing)
			if err := h.put(new(allow)); err != nil {
				t.Fatal(err)
			}
			doc, err := h.get()
			if got, _ := url.PathUnescape(*ok(t, doc, err)); got != allow {
				t.Errorf("document %s", got)
			}
			names, err := h.names()
			if !slices.Equal(ok(t, names, err), []string{"p"}) {
				t.Errorf("%q", names)
			}
			if err := h.drop(nil); err != nil {
				t.Fatal(err)
			}
			refused(t, h.drop(nil), "NoSuchEntity", h.missing)
			for range 2 { // attaching again is no error
				if err := h.attach(&arn); err != nil {
					t.Fatal(err)
				}
			}
			attached, err := h.attached()
			if a := ok(t, attached, err); len(a) != 1 || *a[0].PolicyName != "read" {
				t.Errorf("%+v", a)
			}
			if err := h.detach(&arn); err != nil {
				t.Fatal(err)
			}
			refused(t, h.detach(&arn), "NoSuchEntity", "Policy "+arn+" was not found.")
		})
	}
	if _, err := b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn}); err != nil {
		t.Error("attachments were miscounted:", err)
	}
}

func TestBoundaries(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	b.createRole(t, "web")
	arn := b.createPolicy(t, "bound")
	if _, err := b.PutRolePermissionsBoundary(b.ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: new("web"), PermissionsBoundary: &arn}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutUserPermissionsBoundary(b.ctx, &iam.PutUserPermissionsBoundaryInput{UserName: new("bob"), PermissionsBoundary: &arn}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetRole(b.ctx, &iam.GetRoleInput{RoleName: new("web")})
	if r := ok(t, got, err).Role; *r.PermissionsBoundary.PermissionsBoundaryArn != arn {
		t.Errorf("%+v", r.PermissionsBoundary)
	}
	_, err = b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn})
	if api.Code(err) != "DeleteConflict" {
		t.Error(err)
	}
	for range 2 {
		_, err = b.DeleteRolePermissionsBoundary(b.ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: new("web")})
	}
	if api.Code(err) != "NoSuchEntity" {
		t.Error(err)
	}
	if _, err := b.DeleteUserPermissionsBoundary(b.ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: new("bob")}); err != nil {
		t.Error(err)
	}
	if _, err := b.DeletePolicy(b.ctx, &iam.DeletePolicyInput{PolicyArn: &arn}); err != nil {
		t.Error(err)
	}
	described, err := b.UpdateRoleDescription(b.ctx, &iam.UpdateRoleDescriptionInput{RoleName: new("web"), Description: new("d")})
	if *ok(t, described, err).Role.Description != "d" {
		t.Errorf("%+v", described)
	}
}

func TestPolicyVersions(t *testing.T) {
	b := newBench(t)
	arn := b.createPolicy(t, "read")
	second := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`
	if _, err := b.CreatePolicyVersion(b.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &second}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SetDefaultPolicyVersion(b.ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: &arn, VersionId: new("v2")}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetPolicyVersion(b.ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: new("v2")})
	v := ok(t, got, err).PolicyVersion
	if doc, _ := url.PathUnescape(*v.Document); doc != second || !*v.IsDefaultVersion {
		t.Errorf("%+v", v)
	}
	_, err = b.SetDefaultPolicyVersion(b.ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: &arn, VersionId: new("v3")})
	refused(t, err, "NoSuchEntity", "Policy "+arn+" version v3 does not exist or is not attachable.")
}

func TestContextKeysAndCustomSimulation(t *testing.T) {
	b := newBench(t)
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecs:RunTask","Resource":"arn:aws:ecs:*:*:task-definition/${aws:username}:*","Condition":{"StringEquals":{"ecs:cluster":"a"}}}]}`
	keys, err := b.GetContextKeysForCustomPolicy(b.ctx, &iam.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{doc}})
	if k := ok(t, keys, err).ContextKeyNames; !slices.Equal(k, []string{"aws:username", "ecs:cluster"}) {
		t.Errorf("%q", k)
	}
	u := b.createUser(t, "bob")
	if _, err := b.PutUserPolicy(b.ctx, &iam.PutUserPolicyInput{UserName: u.UserName, PolicyName: new("p"), PolicyDocument: &doc}); err != nil {
		t.Fatal(err)
	}
	of, err := b.GetContextKeysForPrincipalPolicy(b.ctx, &iam.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: u.Arn})
	if k := ok(t, of, err).ContextKeyNames; len(k) != 2 {
		t.Errorf("%q", k)
	}
	in := &iam.SimulateCustomPolicyInput{
		PolicyInputList: []string{doc}, ActionNames: []string{"ecs:RunTask", "ecs:StopTask"}, ResourceArns: []string{"arn:aws:ecs:eu-west-1:1:task-definition/bob:1"},
		ContextEntries: []iam.ContextEntry{{ContextKeyName: new("aws:username"), ContextKeyValues: []string{"bob"}, ContextKeyType: "string"}},
		MaxItems:       new(int32(1)),
	}
	first, err := b.SimulateCustomPolicy(b.ctx, in)
	if r := ok(t, first, err).EvaluationResults; len(r) != 1 || r[0].EvalDecision != "implicitDeny" || !slices.Equal(r[0].MissingContextValues, []string{"ecs:cluster"}) {
		t.Errorf("%+v", r)
	}
	in.Marker = first.Marker
	second, err := b.SimulateCustomPolicy(b.ctx, in)
	if r := ok(t, second, err).EvaluationResults; len(r) != 1 || *r[0].EvalActionName != "ecs:StopTask" || second.Marker != nil {
		t.Errorf("%+v", r)
	}
	in.Marker, in.ContextEntries = nil, append(in.ContextEntries, iam.ContextEntry{ContextKeyName: new("ecs:cluster"), ContextKeyValues: []string{"a"}, ContextKeyType: "string"})
	allowed, err := b.SimulateCustomPolicy(b.ctx, in)
	if r := ok(t, allowed, err).EvaluationResults; r[0].EvalDecision != "allowed" || len(r[0].MatchedStatements) != 1 {
		t.Errorf("%+v", r)
	}
	_, err = b.SimulateCustomPolicy(b.ctx, &iam.SimulateCustomPolicyInput{PolicyInputList: []string{doc}, ActionNames: []string{"a:b"}, ResourcePolicy: &doc})
	if api.Code(err) != "InvalidInput" {
		t.Error(err)
	}
}

// TestTagsOfEntities tags what Terraform tags.
func TestTagsOfEntities(t *testing.T) {
	b := newBench(t)
	u := b.createUser(t, "bob")
	arn := b.createPolicy(t, "read")
	if _, err := b.CreateInstanceProfile(b.ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: new("web")}); err != nil {
		t.Fatal(err)
	}
	made, err := b.CreateOpenIDConnectProvider(b.ctx, &iam.CreateOpenIDConnectProviderInput{
		Url: new("https://id.test"), ClientIDList: []string{"a", "b"}, ThumbprintList: []string{"990f4193972f2becf12ddeda5237f9c952f20d9e"},
	})
	provider := ok(t, made, err).OpenIDConnectProviderArn
	tags, keys := []iam.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}, []string{"a"}
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(b.TagUser(b.ctx, &iam.TagUserInput{UserName: u.UserName, Tags: tags}))
	note(b.UntagUser(b.ctx, &iam.UntagUserInput{UserName: u.UserName, TagKeys: keys}))
	note(b.TagPolicy(b.ctx, &iam.TagPolicyInput{PolicyArn: &arn, Tags: tags}))
	note(b.UntagPolicy(b.ctx, &iam.UntagPolicyInput{PolicyArn: &arn, TagKeys: keys}))
	note(b.TagInstanceProfile(b.ctx, &iam.TagInstanceProfileInput{InstanceProfileName: new("web"), Tags: tags}))
	note(b.UntagInstanceProfile(b.ctx, &iam.UntagInstanceProfileInput{InstanceProfileName: new("web"), TagKeys: keys}))
	note(b.TagOpenIDConnectProvider(b.ctx, &iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, Tags: tags}))
	note(b.UntagOpenIDConnectProvider(b.ctx, &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, TagKeys: keys}))
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	has := func(what string, got []iam.Tag, err error) {
		t.Helper()
		if err != nil || len(got) != 1 || *got[0].Key != "b" || *got[0].Value != "2" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	users, err := b.ListUserTags(b.ctx, &iam.ListUserTagsInput{UserName: u.UserName})
	has("user", users.Tags, err)
	policies, err := b.ListPolicyTags(b.ctx, &iam.ListPolicyTagsInput{PolicyArn: &arn})
	has("policy", policies.Tags, err)
	profiles, err := b.ListInstanceProfileTags(b.ctx, &iam.ListInstanceProfileTagsInput{InstanceProfileName: new("web")})
	has("profile", profiles.Tags, err)
	providers, err := b.ListOpenIDConnectProviderTags(b.ctx, &iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: provider})
	has("provider", providers.Tags, err)

	// The provider's lists, and the profiles of a role.
	note(b.RemoveClientIDFromOpenIDConnectProvider(b.ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, ClientID: new("a")}))
	note(b.UpdateOpenIDConnectProviderThumbprint(b.ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: provider, ThumbprintList: []string{"1111111111111111111111111111111111111111"}}))
	got, err := b.GetOpenIDConnectProvider(b.ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider})
	if p := ok(t, got, err); !slices.Equal(p.ClientIDList, []string{"b"}) || p.ThumbprintList[0][0] != '1' {
		t.Errorf("%+v", p)
	}
	listed, err := b.ListOpenIDConnectProviders(b.ctx, &iam.ListOpenIDConnectProvidersInput{})
	if l := ok(t, listed, err).OpenIDConnectProviderList; len(l) != 1 || *l[0].Arn != *provider {
		t.Errorf("%+v", l)
	}
	b.createRole(t, "web")
	note(b.AddRoleToInstanceProfile(b.ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: new("web"), RoleName: new("web")}))
	all, err := b.ListInstanceProfiles(b.ctx, &iam.ListInstanceProfilesInput{})
	ofRole, rerr := b.ListInstanceProfilesForRole(b.ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: new("web")})
	if len(ok(t, all, err).InstanceProfiles) != 1 || len(ok(t, ofRole, rerr).InstanceProfiles) != 1 || *ofRole.InstanceProfiles[0].Roles[0].RoleName != "web" {
		t.Errorf("%+v %+v", all, ofRole)
	}
	key, err := b.CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{UserName: u.UserName})
	used, uerr := b.GetAccessKeyLastUsed(b.ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: ok(t, key, err).AccessKey.AccessKeyId})
	if l := ok(t, used, uerr); *l.UserName != "bob" || *l.AccessKeyLastUsed.ServiceName != "N/A" || l.AccessKeyLastUsed.LastUsedDate != nil {
		t.Errorf("%+v", l)
	}
}
