package identity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TestResourceTags asks for resources of every service by a policy that speaks
// of their tags.
func TestResourceTags(t *testing.T) {
	b := newBench(t)
	const region = "eu-west-1"
	tags := model.Tags{"team": "red"}
	arn := func(service, resource string) string { return model.MakeARN(service, region, account, resource) }
	at := func(write func(tx *store.Txn)) {
		t.Helper()
		tx := store.NewTxn()
		write(tx)
		if _, err := tx.Commit(t.Context(), b.store); err != nil {
			t.Fatal(err)
		}
	}
	at(func(tx *store.Txn) {
		tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{Tags: tags})
		tables.ECRRepositories.Put(tx, account, region, "web/app", &model.ECRRepository{Name: "web/app", Tags: tags})
		tables.ECSClusters.Put(tx, account, region, "web", &model.Cluster{Tags: tags})
		tables.ECSServices.Put(tx, account, region, "web/app", &model.Service{Tags: tags})
		tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID("app", 3), &model.TaskDefinition{Tags: tags})
		tables.TargetGroups.Put(tx, account, region, "0123456789abcdef", &model.TargetGroup{Tags: tags})
		tables.AutoScalingGroups.Put(tx, account, region, "web", &model.AutoScalingGroup{Tags: []model.ASGTag{{Key: "team", Value: tags["team"]}}})
		tables.LogGroups.Put(tx, account, region, "/app/web", &model.LogGroup{Name: "/app/web", Tags: tags})
		tables.Secrets.Put(tx, account, region, "db", &model.Secret{Name: "db", Tags: tags})
		tables.Parameters.Put(tx, account, region, "/app/p", &model.Parameter{Name: "/app/p", Tags: tags})
		tables.Roles.Put(tx, account, "", "web", &model.Role{Tags: tags})
	})
	for _, key := range []string{"aws:ResourceTag/team", "SERVICE:ResourceTag/team"} {
		for service, resource := range map[string]string{
			"ec2": arn("ec2", "vpc/vpc-1"), "ecr": arn("ecr", "repository/web/app"), "elasticloadbalancing": arn("elasticloadbalancing", "targetgroup/web/0123456789abcdef"),
			"logs": arn("logs", "log-group:/app/web:*"), "secretsmanager": arn("secretsmanager", "secret:db-a1B2c3"), "ssm": arn("ssm", "parameter/app/p"),
			"ecs": arn("ecs", "cluster/web"), "autoscaling": arn("autoscaling", "autoScalingGroup:1:autoScalingGroupName/web"), "iam": model.RoleARN(account, "/x/", "web"),
		} {
			key := strings.Replace(key, "SERVICE", service, 1)
			user := b.addUser(t, `"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"`+key+`":"${aws:PrincipalTag/team}"}}`)
			c := b.call(t, user, "")
			if err := b.Authorize(t.Context(), c, service+":Do", []string{resource}, nil); err != nil {
				t.Errorf("%s by %s: %v", resource, key, err)
			}
			if err := b.Authorize(t.Context(), c, service+":Do", []string{resource, strings.Replace(resource, "web", "none", 1) + "x"}, nil); err == nil {
				t.Errorf("%s by %s: the second resource got the first one's tags", resource, key)
			}
		}
	}
	user := b.addUser(t, `"Effect":"Allow","Action":"ecs:*","Resource":"*","Condition":{"StringEquals":{"ecs:ResourceTag/team":"red"}}`)
	for _, resource := range []string{arn("ecs", "service/web/app"), arn("ecs", "task-definition/app:3")} {
		if err := b.Authorize(t.Context(), b.call(t, user, ""), "ecs:Do", []string{resource}, nil); err != nil {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

// TestTagsOfTrustStores holds that a trust store's tags are asked for as those of
// other load balancers' resources are.
func TestTagsOfTrustStores(t *testing.T) {
	b := newBench(t)
	tx := store.NewTxn()
	tables.TrustStores.Put(tx, account, "us-east-1", "0123456789abcdef", &model.TrustStore{Tags: model.Tags{"team": "red"}})
	if _, err := tx.Commit(t.Context(), b.store); err != nil {
		t.Fatal(err)
	}
	user := b.addUser(t, `"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}`)
	if err := b.Authorize(t.Context(), b.call(t, user, ""), "elasticloadbalancing:DeleteTrustStore", []string{model.MakeARN("elasticloadbalancing", "us-east-1", account, "truststore/t/0123456789abcdef")}, nil); err == nil {
		t.Error("a denial by tag does not hold")
	}
}

// TestSeveralValues holds that a request's subnets are values of their own.
func TestSeveralValues(t *testing.T) {
	b := newBench(t)
	user := b.addUser(t, `"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"elasticloadbalancing:Subnet":["subnet-1","subnet-2"]}}`)
	for subnets, allowed := range map[string]bool{"subnet-2,subnet-1": true, "subnet-1,subnet-3": false} {
		err := b.Authorize(t.Context(), b.call(t, user, ""), "elasticloadbalancing:SetSubnets", []string{"*"}, map[string]string{"elasticloadbalancing:Subnet": subnets})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", subnets, err)
		}
	}
}

func TestEncodedDenials(t *testing.T) {
	b := newBench(t)
	user := b.addUser(t, `"Sid":"No","Effect":"Deny","Action":"ec2:Delete*","Resource":"*"`)
	c := b.call(t, user, "")
	err := b.Authorize(t.Context(), c, "ec2:DeleteVpc", []string{"arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1"}, map[string]string{"ec2:Tenancy": "default"})
	denied, ok := errors.AsType[*model.Denied](err)
	if !ok || denied.Encoded == "" {
		t.Fatalf("%v", err)
	}
	text, err := b.DecodeMessage(account, denied.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Allowed, ExplicitDeny bool
		MatchedStatements     struct {
			Items []struct{ StatementID string }
		}
		Context struct {
			Principal  struct{ ID, Name, ARN string }
			Action     string
			Resource   string
			Conditions struct {
				Items []struct {
					Key    string
					Values struct{ Items []struct{ Value string } }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	if m.Allowed || !m.ExplicitDeny || m.MatchedStatements.Items[0].StatementID != "No" || m.Context.Principal.Name != "Bob" || m.Context.Action != "ec2:DeleteVpc" {
		t.Errorf("%s", text)
	}
	found := false
	for _, k := range m.Context.Conditions.Items {
		found = found || k.Key == "ec2:tenancy" && k.Values.Items[0].Value == "default"
	}
	if !found {
		t.Errorf("the request's keys are missing: %s", text)
	}
	// It opens for its own account only, whole, and as nothing else.
	token, err := b.Mint(&model.Session{Account: account, ARN: c.Identity.ARN}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]struct{ account, text string }{
		"another account": {"999999999999", denied.Encoded},
		"cut":             {account, denied.Encoded[:len(denied.Encoded)-4]},
		"changed":         {account, "A" + denied.Encoded[1:]},
		"empty":           {account, ""},
		"a session token": {account, strings.TrimRight(token, "=")},
	} {
		if try.text == denied.Encoded && try.account == account {
			continue
		}
		if _, err := b.DecodeMessage(try.account, try.text); !errors.Is(err, identity.ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Authorize(t.Context(), c, "ecs:ListClusters", []string{"*"}, nil); err != nil {
		if d, ok := errors.AsType[*model.Denied](err); !ok || d.Encoded != "" {
			t.Errorf("only EC2's denials are encoded: %v", err)
		}
	}
	// A long request still fits.
	long := map[string]string{}
	for i := range 64 {
		long["aws:RequestTag/"+strings.Repeat(string(rune('a'+i%26)), 100)+string(rune('A'+i/26))] = strings.Repeat(token, 2)
	}
	err = b.Authorize(t.Context(), c, "ec2:DeleteVpc", []string{"arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1"}, long)
	if d, ok := errors.AsType[*model.Denied](err); !ok || len(d.Encoded) > 10240 {
		t.Errorf("a message of %d characters", len(d.Encoded))
	}
}

func TestUsersChangeTheirPasswords(t *testing.T) {
	b := newBench(t)
	c := b.call(t, b.addUser(t, ""), "")
	change := func(user string) error {
		return b.Authorize(t.Context(), c, "iam:ChangePassword", []string{"arn:aws:iam::" + account + ":user/" + user}, nil)
	}
	if change("Bob") == nil {
		t.Error("allowed without a password policy")
	}
	put(t, b, tables.PasswordPolicies, "policy", &model.PasswordPolicy{AllowChange: true})
	if err := change("Bob"); err != nil {
		t.Error(err)
	}
	if err := change("path/Bob"); err != nil {
		t.Error(err)
	}
	if change("Eve") == nil {
		t.Error("Bob may change Eve's password")
	}
}
