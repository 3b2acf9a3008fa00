package iam_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// statements draws a document of random statements over few actions,
// resources and keys, so that they meet.
func statements(t *rapid.T, name string) string {
	actions := rapid.SampledFrom([]string{"*", "ecs:*", "ecs:RunTask", "ecs:*Task", "ec2:RunTask", "ECS:stoptask"})
	resources := rapid.SampledFrom([]string{"*", "arn:aws:ecs:*:*:task/*", "arn:aws:ecs:*:*:task/${aws:username}", "arn:aws:ecs:*:*:cluster/a"})
	conditions := rapid.SampledFrom([]string{
		"", `"StringEquals":{"ecs:cluster":"a"}`, `"StringNotLikeIfExists":{"ecs:cluster":"b*"}`, `"Null":{"ecs:cluster":"true"}`,
		`"StringEquals":{"aws:PrincipalTag/team":"${ecs:cluster, 'red'}"}`, `"ForAllValues:StringEquals":{"ecs:cluster":["a","c"]}`,
		`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/b*"}`, `"NumericLessThan":{"ecs:cpu":"512"}`,
	})
	list := make([]map[string]any, rapid.IntRange(1, 3).Draw(t, name+" statements"))
	for i := range list {
		st := map[string]any{"Effect": rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect")}
		st[rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, "action")] = actions.Draw(t, "actions")
		st[rapid.SampledFrom([]string{"Resource", "Resource", "NotResource"}).Draw(t, "resource")] = resources.Draw(t, "resources")
		if c := conditions.Draw(t, "condition"); c != "" {
			st["Condition"] = json.RawMessage("{" + c + "}")
		}
		list[i] = st
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSimulationAgreesWithEnforcement decides requests by SimulatePrincipalPolicy
// and by what the gateway asks.
func TestSimulationAgreesWithEnforcement(t *testing.T) {
	b := newBench(t)
	d, err := identity.New(t.Context(), identity.Config{Store: b.store, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:iam::" + account + ":user/bob"
	rapid.Check(t, func(t *rapid.T) {
		boundary := ""
		tx := store.NewTxn()
		if rapid.Bool().Draw(t, "bounded") {
			boundary = "arn:aws:iam::" + account + ":policy/bound"
			tables.Policies.Put(tx, account, "", "bound", &model.Policy{
				Name: "bound", ARN: boundary, DefaultVersion: "v1", Versions: []model.PolicyVersion{{ID: "v1", Document: statements(t, "boundary")}},
			})
		}
		u := &model.User{PermissionsBoundary: boundary, Groups: []string{"dev"}, Tags: model.Tags{"team": rapid.SampledFrom([]string{"a", "red"}).Draw(t, "team")}}
		u.IAMPrincipal = model.IAMPrincipal{Name: "bob", Path: "/", ID: "AIDABOB", ARN: arn, Policies: map[string]string{"p": statements(t, "user")}}
		tables.Users.Put(tx, account, "", "bob", u)
		g := &model.Group{IAMPrincipal: model.IAMPrincipal{Name: "dev", ARN: "arn:aws:iam::" + account + ":group/dev", Policies: map[string]string{"p": statements(t, "group")}}}
		tables.Groups.Put(tx, account, "", "dev", g)
		if _, err := tx.Commit(b.ctx, b.store); err != nil {
			t.Fatal(err)
		}
		keys := map[string]string{}
		if rapid.Bool().Draw(t, "in a cluster") {
			keys["ecs:cluster"] = rapid.SampledFrom([]string{"a", "b1", "red"}).Draw(t, "cluster")
		}
		if rapid.Bool().Draw(t, "with a size") {
			keys["ecs:cpu"] = fmt.Sprint(rapid.IntRange(1, 1024).Draw(t, "cpu"))
		}
		in := &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: &arn, ActionNames: []string{"ecs:RunTask", "ecs:StopTask", "ec2:RunTask"},
			ResourceArns: []string{"arn:aws:ecs:eu-west-1:1:task/bob", "arn:aws:ecs:eu-west-1:1:cluster/a", "*"},
		}
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			in.ContextEntries = append(in.ContextEntries, iam.ContextEntry{ContextKeyName: new(k), ContextKeyValues: []string{keys[k]}, ContextKeyType: "string"})
		}
		out, err := b.SimulatePrincipalPolicy(b.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.EvaluationResults) != 9 {
			t.Fatalf("%d results", len(out.EvaluationResults))
		}
		c := &api.Call{Account: account, Region: "eu-west-1", Time: time.Now(), Identity: api.Identity{ARN: arn, UserID: "AIDABOB", AccessKeyID: "AKIABOB"}}
		for _, r := range out.EvaluationResults {
			err := d.Authorize(b.ctx, c, *r.EvalActionName, []string{*r.EvalResourceName}, keys)
			if (err == nil) != (r.EvalDecision == "allowed") {
				t.Fatalf("%s on %s: simulated as %s, enforced as %v", *r.EvalActionName, *r.EvalResourceName, r.EvalDecision, err)
			}
		}
	})
}

// TestQuotas fills an account.
func TestQuotas(t *testing.T) {
	b := newBench(t)
	tx := store.NewTxn()
	for i := range 300 {
		name := fmt.Sprintf("g%03d", i)
		tables.Groups.Put(tx, account, "", name, &model.Group{IAMPrincipal: model.IAMPrincipal{Name: name, Path: "/"}})
	}
	for i := range 1000 {
		name := fmt.Sprintf("r%04d", i)
		tables.Roles.Put(tx, account, "", name, &model.Role{IAMPrincipal: model.IAMPrincipal{Name: name, Path: "/"}})
	}
	if _, err := tx.Commit(b.ctx, b.store); err != nil {
		t.Fatal(err)
	}
	_, err := b.CreateGroup(b.ctx, &iam.CreateGroupInput{GroupName: new("more")})
	refused(t, err, "LimitExceeded", "Cannot exceed quota for GroupsPerAccount: 300")
	_, err = b.CreateRole(b.ctx, &iam.CreateRoleInput{RoleName: new("more"), AssumeRolePolicyDocument: new(trust)})
	refused(t, err, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000")
	_, err = b.CreateRole(b.ctx, &iam.CreateRoleInput{RoleName: new("r0001"), AssumeRolePolicyDocument: new(trust)})
	refused(t, err, "EntityAlreadyExists", "Role with name r0001 already exists.")
	// A marker opens the list that it was made for, and fits into a request.
	roles, err := b.ListRoles(b.ctx, &iam.ListRolesInput{MaxItems: new(int32(1))})
	marker := ok(t, roles, err).Marker
	if len(*marker) > 320 {
		t.Errorf("a marker of %d characters", len(*marker))
	}
	_, err = b.ListGroups(b.ctx, &iam.ListGroupsInput{Marker: marker})
	refused(t, err, "ValidationError", "Invalid Marker.")
}
