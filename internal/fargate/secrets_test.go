package fargate

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/seal"
	sm "roadstead.dev/internal/service/secretsmanager"
	params "roadstead.dev/internal/service/ssm"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	taskARN = "arn:aws:ecs:eu-west-1:111122223333:task/web/0123"
	trust   = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}}`
)

// bench is the secrets of tasks over the services' own handlers.
type bench struct {
	*execution.Secrets
	roles   Roles
	t       *testing.T
	store   store.Store
	secrets *sm.Service
	params  *params.Service
	ctx     context.Context
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s := memory.New()
	dir, err := identity.New(t.Context(), identity.Config{Store: s, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := seal.New([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, store: s, secrets: sm.New(sm.Config{Store: s, Clock: clock.System{}, Key: key}), params: params.New(params.Config{Store: s, Key: key})}
	b.roles = Roles{Directory: dir}
	b.Secrets = &execution.Secrets{Source: &Account{Roles: b.roles, SecretsManager: b.secrets, ParameterStore: b.params}}
	b.ctx = api.WithCall(t.Context(), &api.Call{Account: account, Region: region, Partition: "aws", Time: clock.System{}.Now(), Identity: api.Identity{Root: true}})
	return b
}

// role makes an execution role that may do actions on a resource.
func (b *bench) role(name, actions, resource string) *acs.Task {
	b.t.Helper()
	r := &model.Role{TrustPolicy: trust, MaxSessionDuration: 3600}
	r.IAMPrincipal = model.IAMPrincipal{Name: name, Path: "/", ID: "AROA" + strings.ToUpper(name), ARN: model.RoleARN(account, "/", name)}
	if actions != "" {
		r.Policies = map[string]string{"p": fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":%q,"Resource":%q}}`, actions, resource)}
	}
	tx := store.NewTxn()
	tables.Roles.Put(tx, account, "", name, r)
	if _, err := tx.Commit(b.t.Context(), b.store); err != nil {
		b.t.Fatal(err)
	}
	return &acs.Task{Arn: taskARN, ExecutionRoleCredentials: &acs.IAMRoleCredentials{RoleArn: r.ARN}}
}

func (b *bench) secret(name, value string) string {
	b.t.Helper()
	out, err := b.secrets.CreateSecret(b.ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: &value, ClientRequestToken: new(strings.Repeat("1", 32))})
	if err != nil {
		b.t.Fatal(err)
	}
	return *out.ARN
}

func (b *bench) parameter(name, value string) {
	b.t.Helper()
	if _, err := b.params.PutParameter(b.ctx, &ssm.PutParameterInput{Name: &name, Value: &value, Type: ssm.ParameterTypeSecureString}); err != nil {
		b.t.Fatal(err)
	}
}

func container(secrets ...acs.Secret) *acs.Container {
	return &acs.Container{Name: "c", Secrets: secrets}
}

func asm(valueFrom string) acs.Secret {
	return acs.Secret{Name: "A", ValueFrom: valueFrom, Region: region, Provider: "asm"}
}

func fromSSM(valueFrom string) acs.Secret {
	return acs.Secret{Name: "P", ValueFrom: valueFrom, Region: region, Provider: "ssm"}
}

func TestValues(t *testing.T) {
	b := newBench(t)
	task := b.role("exec", "*", "*")
	text := b.secret("text", "hush")
	object := b.secret("object", `{"user":"u","port":5432000,"tags":["a", "b"],"none":null,"on":true}`)
	if _, err := b.secrets.PutSecretValue(b.ctx, &secretsmanager.PutSecretValueInput{SecretId: new("text"), SecretString: new("new"), ClientRequestToken: new(strings.Repeat("2", 32))}); err != nil {
		t.Fatal(err)
	}
	var many []acs.Secret
	var want []string
	for i := range 25 { // more than GetParameters takes
		name := fmt.Sprintf("/app/p%d", i)
		b.parameter(name, fmt.Sprint(i))
		many, want = append(many, fromSSM(name)), append(want, fmt.Sprint(i))
	}
	b.parameter("plain", "p")
	for _, tt := range []struct {
		secret acs.Secret
		want   string
	}{
		{asm(text), "new"},
		{asm(text[:len(text)-7]), "new"},
		{asm("text"), "new"},
		{asm(text + ":::"), "new"},
		{asm(text + "::AWSPREVIOUS:"), "hush"},
		{asm(text + ":::" + strings.Repeat("1", 32)), "hush"},
		{asm(object + ":user::"), "u"},
		{asm(object + ":port::"), "5432000"},
		{asm(object + ":tags:AWSCURRENT:"), `["a","b"]`},
		{asm(object + ":none::"), "null"},
		{asm(object + ":on::"), "true"},
		{fromSSM("plain"), "p"},
		{fromSSM("arn:aws:ssm:eu-west-1:111122223333:parameter/app/p3"), "3"},
		{fromSSM("/app/p4:1"), "4"},
	} {
		many, want = append(many, tt.secret), append(want, tt.want)
	}
	got, err := b.Values(t.Context(), task, container(many...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestValuesErrors(t *testing.T) {
	b := newBench(t)
	all := b.role("exec", "*", "*")
	powerless := b.role("powerless", "", "")
	text, object := b.secret("text", "hush"), b.secret("object", `{"a":"b"}`)
	b.parameter("there", "v")
	const from, session = "unable to retrieve secret from asm: service call has been retried 1 time(s): ", "User: arn:aws:sts::111122223333:assumed-role/powerless/0123 is not authorized to perform: "
	for name, tt := range map[string]struct {
		task   *acs.Task
		secret acs.Secret
		want   string
	}{
		"no such secret":    {all, asm("arn:aws:secretsmanager:eu-west-1:111122223333:secret:none-abcdef"), from + "failed to fetch secret arn:aws:secretsmanager:eu-west-1:111122223333:secret:none-abcdef from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret."},
		"no such key":       {all, asm(object + ":x::"), from + "retrieved secret from Secrets Manager did not contain json key x"},
		"no JSON":           {all, asm(text + ":x::"), from + "invalid character 'h' looking for beginning of value"},
		"colons missing":    {all, asm(text + ":x"), from + "unexpected ARN format with parameters when trying to retrieve ASM secret"},
		"no such label":     {all, asm(text + "::AWSPENDING:"), from + "failed to fetch secret " + text + " from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSPENDING"},
		"denied":            {powerless, asm(text), from + "failed to fetch secret " + text + " from secrets manager: AccessDeniedException: " + session + "secretsmanager:GetSecretValue on resource: " + text + " because no identity-based policy allows the secretsmanager:GetSecretValue action"},
		"no role":           {&acs.Task{Arn: taskARN}, asm(text), "the task has no execution role"},
		"no such parameter": {all, fromSSM("none"), "unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: none"},
		"parameter denied":  {powerless, fromSSM("there"), "unable to retrieve secrets from ssm: service call has been retried 1 time(s): AccessDeniedException: " + session + "ssm:GetParameters on resource: arn:aws:ssm:eu-west-1:111122223333:parameter/there because no identity-based policy allows the ssm:GetParameters action"},
	} {
		t.Run(name, func(t *testing.T) {
			values, err := b.Values(t.Context(), tt.task, container(tt.secret))
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("%q, %v, want %s", values, err, tt.want)
			}
		})
	}
}

// A secret's own policy has a say: it lets a role in that has no permission
// elsewhere, and keeps one out that has.
func TestSecretsPolicyDecides(t *testing.T) {
	b := newBench(t)
	arn := b.secret("s", "v")
	put := func(effect, role string) {
		t.Helper()
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":%q,"Principal":{"AWS":"arn:aws:iam::111122223333:role/%s"},"Action":"secretsmanager:GetSecretValue","Resource":"*"}}`, effect, role)
		if _, err := b.secrets.PutResourcePolicy(b.ctx, &secretsmanager.PutResourcePolicyInput{SecretId: &arn, ResourcePolicy: &text}); err != nil {
			t.Fatal(err)
		}
	}
	put("Allow", "powerless")
	if v, err := b.Values(t.Context(), b.role("powerless", "", ""), container(asm(arn))); err != nil || v[0] != "v" {
		t.Error(v, err)
	}
	put("Deny", "exec")
	if v, err := b.Values(t.Context(), b.role("exec", "*", "*"), container(asm(arn))); err == nil || !strings.Contains(err.Error(), "with an explicit deny in a resource-based policy") {
		t.Error(v, err)
	}
}

func TestPermissionsNameResources(t *testing.T) {
	b := newBench(t)
	mine, other := b.secret("app/mine", "v"), b.secret("other", "v")
	task := b.role("exec", "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:*:*:secret:app/*")
	if _, err := b.Values(t.Context(), task, container(asm(mine))); err != nil {
		t.Error(err)
	}
	if v, err := b.Values(t.Context(), task, container(asm(other))); err == nil {
		t.Error(v)
	}
}

func TestRegistryCredentials(t *testing.T) {
	b := newBench(t)
	task := b.role("exec", "*", "*")
	images := &Images{Roles: b.roles, Secrets: b.Secrets, Clock: clock.System{}}
	of := func(secret, region string) (*engine.RegistryAuth, error) {
		return images.ForImage(t.Context(), task, &acs.Container{Image: "registry.example.com/a", RegistryAuthentication: &acs.RegistryAuthenticationData{
			Type: acs.RegistryAuthASM, ASMAuthData: &acs.ASMAuthData{CredentialsParameter: secret, Region: region},
		}})
	}
	arn := b.secret("login", `{"username":"u","password":"p"}`)
	for _, id := range []string{arn, "login"} {
		got, err := of(id, "")
		if d := cmp.Diff(&engine.RegistryAuth{Username: "u", Password: "p"}, got); d != "" || err != nil {
			t.Error(d, err)
		}
	}
	for value, want := range map[string]string{
		"u:p":                           "asm fetching authorization data: unable to unmarshal secret value, invalid schema",
		`{"username":"u"}`:              "asm fetching password: AuthorizationData is malformed, empty field",
		`{"password":"p"}`:              "asm fetching username: AuthorizationData is malformed, empty field",
		`{"username":7,"password":"p"}`: "asm fetching authorization data: unable to unmarshal secret value, invalid schema",
	} {
		if got, err := of(b.secret(fmt.Sprintf("l%x", value), value), region); err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
}
