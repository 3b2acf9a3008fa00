package fargate

import (
	"context"
	"errors"
	"regexp"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/registry/token"
)

// Images finds the credentials of image registries.
type Images struct {
	Roles   Roles
	Tokens  *token.Signer
	Secrets *Secrets
	Clock   clock.Clock
	// Port is the one at which this server's registries are.
	Port string
}

var _ node.RegistryCredentials = (*Images)(nil)

// ownRegistry matches the images of Roadstead's own registries.
var ownRegistry = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.localhost(?::([0-9]+))?/`)

// own tells whether an image is in a registry of this server's. Whoever else
// listens on this machine gets no token.
func (i *Images) own(image string) bool {
	m := ownRegistry.FindStringSubmatch(image)
	return m != nil && (m[1] == i.Port || m[1] == "" && i.Port == "80")
}

// ForImage gives a registry token of the execution role's for images in ECR,
// the credentials in the secret that the container names, and nothing for
// others.
func (i *Images) ForImage(ctx context.Context, task *acs.Task, c *acs.Container) (*engine.RegistryAuth, error) {
	if c.RegistryAuthentication != nil && c.RegistryAuthentication.ASMAuthData != nil {
		return i.Secrets.registryAuth(ctx, task, c.RegistryAuthentication.ASMAuthData)
	}
	if !i.own(c.Image) {
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
