package fargate

import (
	"context"
	"errors"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/home"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/registry/token"
)

// Images finds the credentials of image registries.
type Images struct {
	Roles   Roles
	Tokens  *token.Signer
	Secrets *execution.Secrets
	Clock   clock.Clock
}

var _ node.RegistryCredentials = (*Images)(nil)

// ForImage gives a registry token of the execution role's for images in ECR,
// the credentials in the secret that the container names, and nothing for
// others.
func (i *Images) ForImage(ctx context.Context, task *acs.Task, c *acs.Container) (*engine.RegistryAuth, error) {
	if c.RegistryAuthentication != nil && c.RegistryAuthentication.ASMAuthData != nil {
		return i.Secrets.RegistryAuth(ctx, task, c.RegistryAuthentication.ASMAuthData)
	}
	// A host that only looks like one gets no token, and neither does another
	// port of this machine: home.Images goes to this server's, whatever port is
	// named.
	if !home.Is(c.Image) {
		return nil, nil //nolint:nilnil // the interface's way of saying anonymous
	}
	if task.ExecutionRoleCredentials == nil {
		return nil, errors.New("the task has no execution role to pull the image with")
	}
	call, err := i.Roles.call(ctx, task.ExecutionRoleCredentials.RoleArn, task.Arn)
	if err != nil {
		return nil, err
	}
	if err := i.Roles.authorize(ctx, call, "ecr:GetAuthorizationToken", "*"); err != nil {
		return nil, err
	}
	password, err := i.Tokens.Issue(token.Claims{Account: call.Account, Identity: call.Identity, Expires: i.Clock.Now().Add(token.Lifetime)})
	if err != nil {
		return nil, err
	}
	return &engine.RegistryAuth{Username: "AWS", Password: password}, nil
}
