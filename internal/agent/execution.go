package agent

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/home"
	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// roleCredentials signs with what the control plane sent for a role.
func roleCredentials(c *acs.IAMRoleCredentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// worded makes a refusal read as SDKs print it.
func worded(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return fmt.Errorf("%s: %s", e.Code, e.Message)
	}
	return err
}

// Account is AWS as tasks' execution roles may use it, through its APIs.
type Account struct{ API *API }

var _ execution.Source = Account{}

// SecretValue implements execution.Source.
func (a Account) SecretValue(ctx context.Context, task *acs.Task, region string, s execution.Secret) (*string, error) {
	if task.ExecutionRoleCredentials == nil {
		return nil, execution.ErrNoRole
	}
	in := map[string]string{"SecretId": s.ID}
	if s.Stage != "" {
		in["VersionStage"] = s.Stage
	}
	if s.Version != "" {
		in["VersionId"] = s.Version
	}
	var out struct{ SecretString *string }
	err := a.API.do(ctx, call{serviceSecrets, "GetSecretValue", region, roleCredentials(task.ExecutionRoleCredentials)}, in, &out)
	return out.SecretString, worded(err)
}

// Parameters implements execution.Source.
func (a Account) Parameters(ctx context.Context, task *acs.Task, region string, names []string) (values, invalid []string, err error) {
	if task.ExecutionRoleCredentials == nil {
		return nil, nil, execution.ErrNoRole
	}
	var out struct {
		Parameters        []struct{ Value string }
		InvalidParameters []string
	}
	in := map[string]any{"Names": names, "WithDecryption": true}
	err = a.API.do(ctx, call{serviceSSM, "GetParameters", region, roleCredentials(task.ExecutionRoleCredentials)}, in, &out)
	for _, p := range out.Parameters {
		values = append(values, p.Value)
	}
	return values, out.InvalidParameters, worded(err)
}

// Images finds the credentials of image registries.
type Images struct {
	API     *API
	Secrets *execution.Secrets
}

var _ node.RegistryCredentials = Images{}

// ForImage gives a registry token of the execution role's for images in ECR,
// or of the machine's own role where the task has none; the credentials in the
// secret that the container names; and nothing for others.
func (i Images) ForImage(ctx context.Context, task *acs.Task, c *acs.Container) (*engine.RegistryAuth, error) {
	auth := c.RegistryAuthentication
	if auth != nil && auth.ASMAuthData != nil {
		return i.Secrets.RegistryAuth(ctx, task, auth.ASMAuthData)
	}
	// A host that only looks like one of ours gets no token.
	if auth == nil || auth.ECRAuthData == nil || !home.Is(c.Image) {
		return nil, nil //nolint:nilnil // the interface's way of saying anonymous
	}
	login := call{service: serviceECR, operation: "GetAuthorizationToken", region: auth.ECRAuthData.Region}
	if auth.ECRAuthData.UseExecutionRole {
		if task.ExecutionRoleCredentials == nil {
			return nil, execution.ErrNoRole
		}
		login.credentials = roleCredentials(task.ExecutionRoleCredentials)
	}
	var out struct {
		AuthorizationData []struct {
			AuthorizationToken string `json:"authorizationToken"`
		} `json:"authorizationData"`
	}
	if err := i.API.do(ctx, login, struct{}{}, &out); err != nil {
		return nil, worded(err)
	}
	if len(out.AuthorizationData) == 0 {
		return nil, errors.New("ECR has answered no authorization data")
	}
	text, err := base64.StdEncoding.DecodeString(out.AuthorizationData[0].AuthorizationToken)
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return nil, errors.New("ECR's authorization token is malformed")
	}
	return &engine.RegistryAuth{Username: user, Password: password}, nil
}
