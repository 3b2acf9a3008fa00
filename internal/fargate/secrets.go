package fargate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// SecretsManager reads secrets for the caller in the context, who is asked
// about beforehand.
type SecretsManager interface {
	api.ResourceScoper
	api.ResourcePolicies
	GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error)
}

// Parameters reads parameters likewise. Those found come in the order of
// their names.
type Parameters interface {
	api.ResourceScoper
	GetParameters(ctx context.Context, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error)
}

// Secrets reads what tasks' secrets hold, with their execution roles'
// permissions.
type Secrets struct {
	Roles          Roles
	SecretsManager SecretsManager
	Parameters     Parameters
}

var _ node.Secrets = (*Secrets)(nil)

const (
	providerSecretsManager = "asm"
	// retried is what AWS says between what was asked for and what went wrong.
	retried = ": service call has been retried 1 time(s): "
	// maxNames is how many parameters GetParameters takes.
	maxNames = 10
)

var errNoRole = errors.New("the task has no execution role")

// Values implements node.Secrets.
func (s *Secrets) Values(ctx context.Context, task *acs.Task, c *acs.Container) ([]string, error) {
	values := make([]string, len(c.Secrets))
	byRegion := map[string][]int{} // parameters, by their places
	for i, sec := range c.Secrets {
		if sec.Provider != providerSecretsManager {
			byRegion[sec.Region] = append(byRegion[sec.Region], i)
			continue
		}
		value, err := s.secret(ctx, task, sec.ValueFrom, sec.Region)
		if err != nil {
			return nil, fmt.Errorf("unable to retrieve secret from asm%s%w", retried, err)
		}
		values[i] = value
	}
	for region, places := range byRegion {
		for len(places) > 0 {
			some := places[:min(maxNames, len(places))]
			places = places[len(some):]
			if err := s.parameters(ctx, task, region, c.Secrets, some, values); err != nil {
				return nil, fmt.Errorf("unable to retrieve secrets from ssm%s%w", retried, err)
			}
		}
	}
	return values, nil
}

// call is a call as the task's execution role, in a region.
func (s *Secrets) call(ctx context.Context, task *acs.Task, region string) (context.Context, *api.Call, error) {
	if task.ExecutionRoleCredentials == nil {
		return nil, nil, errNoRole
	}
	call, err := s.Roles.call(ctx, task.ExecutionRoleCredentials.RoleArn, task.Arn)
	if err != nil {
		return nil, nil, err
	}
	if region != "" {
		call.Region, call.Partition = region, model.Partition(region)
	}
	call.Authorize = func(ctx context.Context, action, resource string, _ map[string]string) error {
		return s.Roles.authorize(ctx, call, action, resource)
	}
	return api.WithCall(ctx, call), call, nil
}

// allow asks for the permission of an operation, as the gateway does.
func (s *Secrets) allow(ctx context.Context, call *api.Call, action string, svc api.ResourceScoper, in any) error {
	arns, conditions := svc.ScopeOf(ctx, nil, in)
	policies, _ := svc.(api.ResourcePolicies)
	for _, arn := range arns {
		owner, text := call.Account, ""
		if policies != nil {
			var err error
			if text, owner, err = policies.PolicyOf(ctx, arn); err != nil {
				return err
			}
		}
		if err := s.Roles.weigh(ctx, call, action, arn, owner, text, conditions); err != nil {
			return err
		}
	}
	return nil
}

// parameters reads those parameters among secrets whose places are given.
func (s *Secrets) parameters(ctx context.Context, task *acs.Task, region string, secrets []acs.Secret, places []int, values []string) error {
	ctx, call, err := s.call(ctx, task, region)
	if err != nil {
		return err
	}
	in := &ssm.GetParametersInput{WithDecryption: new(true)}
	for _, i := range places {
		in.Names = append(in.Names, secrets[i].ValueFrom)
	}
	if err := s.allow(ctx, call, "ssm:GetParameters", s.Parameters, in); err != nil {
		return err
	}
	out, err := s.Parameters.GetParameters(ctx, in)
	switch {
	case err != nil:
		return worded(err)
	case len(out.InvalidParameters) > 0:
		return fmt.Errorf("invalid ssm parameters: %s", strings.Join(out.InvalidParameters, ", "))
	}
	for k, i := range places {
		values[i] = *out.Parameters[k].Value
	}
	return nil
}

// secret reads a secret, or one key of the JSON object that it holds.
func (s *Secrets) secret(ctx context.Context, task *acs.Task, valueFrom, region string) (string, error) {
	in, key, err := parseSecret(valueFrom)
	if err != nil {
		return "", err
	}
	text, err := s.read(ctx, task, in, region)
	if err != nil || key == "" {
		return text, err
	}
	return pickKey(text, key)
}

func (s *Secrets) read(ctx context.Context, task *acs.Task, in *secretsmanager.GetSecretValueInput, region string) (string, error) {
	ctx, call, err := s.call(ctx, task, region)
	if err != nil {
		return "", err
	}
	err = s.allow(ctx, call, "secretsmanager:GetSecretValue", s.SecretsManager, in)
	if err != nil {
		return "", fmt.Errorf("failed to fetch secret %s from secrets manager: %w", *in.SecretId, err)
	}
	out, err := s.SecretsManager.GetSecretValue(ctx, in)
	switch {
	case err != nil:
		return "", fmt.Errorf("failed to fetch secret %s from secrets manager: %w", *in.SecretId, worded(err))
	case out.SecretString == nil:
		return "", fmt.Errorf("secret %s is binary: only secrets with text can be used", *in.SecretId)
	}
	return *out.SecretString, nil
}

// worded makes an error of a service read as SDKs print it.
func worded(err error) error {
	if e, ok := errors.AsType[api.Error](err); ok {
		return fmt.Errorf("%s: %s", e.ErrorCode(), e.ErrorMessage())
	}
	return err
}

// parseSecret takes apart what names a secret: an ARN, with
// ":json-key:version-stage:version-id" behind it or without, or a name. Each
// of the three may be empty; the colons may not be left out.
func parseSecret(valueFrom string) (in *secretsmanager.GetSecretValueInput, key string, err error) {
	in = &secretsmanager.GetSecretValueInput{SecretId: &valueFrom}
	arn, err := model.ParseARN(valueFrom)
	if err != nil {
		return in, "", nil //nolint:nilerr // a name
	}
	parts := strings.Split(arn.Resource, ":")
	switch len(parts) {
	case 2: // secret:name
		return in, "", nil
	case 5:
	default:
		return nil, "", errors.New("unexpected ARN format with parameters when trying to retrieve ASM secret")
	}
	arn.Resource = strings.Join(parts[:2], ":")
	in.SecretId = new(arn.String())
	if parts[3] != "" {
		in.VersionStage = &parts[3]
	}
	if parts[4] != "" {
		in.VersionId = &parts[4]
	}
	return in, parts[2], nil
}

// pickKey is the value of a key of a JSON object: a string's text, anything
// else as JSON.
func pickKey(text, key string) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		// The error of encoding/json quotes a character at most.
		return "", err
	}
	raw, ok := object[key]
	if !ok {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	var s string
	if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "", err
	}
	return b.String(), nil
}

// registryAuth reads the user name and the password for a registry.
func (s *Secrets) registryAuth(ctx context.Context, task *acs.Task, data *acs.ASMAuthData) (*engine.RegistryAuth, error) {
	text, err := s.read(ctx, task, &secretsmanager.GetSecretValueInput{SecretId: &data.CredentialsParameter}, data.Region)
	if err != nil {
		return nil, err
	}
	var login struct{ Username, Password string }
	switch err := json.Unmarshal([]byte(text), &login); {
	case err != nil:
		return nil, errors.New("asm fetching authorization data: unable to unmarshal secret value, invalid schema")
	case login.Username == "":
		return nil, errors.New("asm fetching username: AuthorizationData is malformed, empty field")
	case login.Password == "":
		return nil, errors.New("asm fetching password: AuthorizationData is malformed, empty field")
	}
	return &engine.RegistryAuth{Username: login.Username, Password: login.Password}, nil
}
