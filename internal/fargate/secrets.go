package fargate

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/objects"
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

// Account is AWS as tasks' execution roles may use it: the services' own
// handlers, after the question whether the role may.
type Account struct {
	Roles          Roles
	SecretsManager SecretsManager
	ParameterStore Parameters
	Objects        objects.Reader
}

var (
	_ execution.Source  = (*Account)(nil)
	_ execution.Objects = (*Account)(nil)
)

// call is a call as the task's execution role, in a region.
func (s *Account) call(ctx context.Context, task *acs.Task, region string) (context.Context, *api.Call, error) {
	if task.ExecutionRoleCredentials == nil {
		return nil, nil, execution.ErrNoRole
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
func (s *Account) allow(ctx context.Context, call *api.Call, action string, svc api.ResourceScoper, in any) error {
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

// Parameters implements execution.Source.
func (s *Account) Parameters(ctx context.Context, task *acs.Task, region string, names []string) (values, invalid []string, err error) {
	ctx, call, err := s.call(ctx, task, region)
	if err != nil {
		return nil, nil, err
	}
	in := &ssm.GetParametersInput{WithDecryption: new(true), Names: names}
	if err := s.allow(ctx, call, "ssm:GetParameters", s.ParameterStore, in); err != nil {
		return nil, nil, err
	}
	out, err := s.ParameterStore.GetParameters(ctx, in)
	if err != nil {
		return nil, nil, worded(err)
	}
	for _, p := range out.Parameters {
		values = append(values, *p.Value)
	}
	return values, out.InvalidParameters, nil
}

// SecretValue implements execution.Source.
func (s *Account) SecretValue(ctx context.Context, task *acs.Task, region string, id execution.Secret) (*string, error) {
	ctx, call, err := s.call(ctx, task, region)
	if err != nil {
		return nil, err
	}
	in := &secretsmanager.GetSecretValueInput{SecretId: &id.ID}
	if id.Stage != "" {
		in.VersionStage = &id.Stage
	}
	if id.Version != "" {
		in.VersionId = &id.Version
	}
	if err := s.allow(ctx, call, "secretsmanager:GetSecretValue", s.SecretsManager, in); err != nil {
		return nil, err
	}
	out, err := s.SecretsManager.GetSecretValue(ctx, in)
	if err != nil {
		return nil, worded(err)
	}
	return out.SecretString, nil
}

// worded makes an error of a service read as SDKs print it.
func worded(err error) error {
	if e, ok := errors.AsType[api.Error](err); ok {
		return fmt.Errorf("%s: %s", e.ErrorCode(), e.ErrorMessage())
	}
	return err
}
