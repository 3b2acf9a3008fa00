// Package execution is what a node does with a task's execution role before
// the task's containers start: it reads their secrets, and what logs in to
// their images' registries. Where AWS answers from is its user's to say.
package execution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// Secret names a secret's value: the secret by its ARN or name, and a version
// of it by its stage or id, where those are not empty.
type Secret struct{ ID, Stage, Version string }

// Source is AWS, as tasks' execution roles may use it. Errors are worded as
// SDKs print them: "AccessDeniedException: User: …".
type Source interface {
	// SecretValue is a secret's text; nil for one that is binary. region may be
	// empty: the task's own.
	SecretValue(ctx context.Context, task *acs.Task, region string, s Secret) (*string, error)
	// Parameters are the values of up to MaxParameters parameters, decrypted,
	// in the order of their names; or the names that are invalid.
	Parameters(ctx context.Context, task *acs.Task, region string, names []string) (values, invalid []string, err error)
}

// MaxParameters is how many parameters are read at once.
const MaxParameters = 10

// ErrNoRole says that a task has nothing to read secrets with.
var ErrNoRole = errors.New("the task has no execution role")

// Secrets reads what tasks' secrets hold.
type Secrets struct{ Source Source }

var _ node.Secrets = (*Secrets)(nil)

const (
	providerSecretsManager = "asm"
	// retried is what AWS says between what was asked for and what went wrong.
	retried = ": service call has been retried 1 time(s): "
)

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
			some := places[:min(MaxParameters, len(places))]
			places = places[len(some):]
			if err := s.parameters(ctx, task, region, c.Secrets, some, values); err != nil {
				return nil, fmt.Errorf("unable to retrieve secrets from ssm%s%w", retried, err)
			}
		}
	}
	return values, nil
}

// parameters reads those parameters among secrets whose places are given.
func (s *Secrets) parameters(ctx context.Context, task *acs.Task, region string, secrets []acs.Secret, places []int, values []string) error {
	var names []string
	for _, i := range places {
		names = append(names, secrets[i].ValueFrom)
	}
	found, invalid, err := s.Source.Parameters(ctx, task, region, names)
	switch {
	case err != nil:
		return err
	case len(invalid) > 0:
		return fmt.Errorf("invalid ssm parameters: %s", strings.Join(invalid, ", "))
	case len(found) != len(places):
		return fmt.Errorf("%d parameters were asked for and %d answered", len(places), len(found))
	}
	for k, i := range places {
		values[i] = found[k]
	}
	return nil
}

// secret reads a secret, or one key of the JSON object that it holds.
func (s *Secrets) secret(ctx context.Context, task *acs.Task, valueFrom, region string) (string, error) {
	id, key, err := parseSecret(valueFrom)
	if err != nil {
		return "", err
	}
	text, err := s.read(ctx, task, id, region)
	if err != nil || key == "" {
		return text, err
	}
	return pickKey(text, key)
}

func (s *Secrets) read(ctx context.Context, task *acs.Task, id Secret, region string) (string, error) {
	text, err := s.Source.SecretValue(ctx, task, region, id)
	switch {
	case errors.Is(err, ErrNoRole):
		return "", err
	case err != nil:
		return "", fmt.Errorf("failed to fetch secret %s from secrets manager: %w", id.ID, err)
	case text == nil:
		return "", fmt.Errorf("secret %s is binary: only secrets with text can be used", id.ID)
	}
	return *text, nil
}

// parseSecret takes apart what names a secret: an ARN, with
// ":json-key:version-stage:version-id" behind it or without, or a name. Each
// of the three may be empty; the colons may not be left out.
func parseSecret(valueFrom string) (id Secret, key string, err error) {
	id.ID = valueFrom
	arn, err := model.ParseARN(valueFrom)
	if err != nil {
		return id, "", nil //nolint:nilerr // a name
	}
	parts := strings.Split(arn.Resource, ":")
	switch len(parts) {
	case 2: // secret:name
		return id, "", nil
	case 5:
	default:
		return id, "", errors.New("unexpected ARN format with parameters when trying to retrieve ASM secret")
	}
	arn.Resource = strings.Join(parts[:2], ":")
	return Secret{ID: arn.String(), Stage: parts[3], Version: parts[4]}, parts[2], nil
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

// RegistryAuth reads the user name and the password for a registry.
func (s *Secrets) RegistryAuth(ctx context.Context, task *acs.Task, data *acs.ASMAuthData) (*engine.RegistryAuth, error) {
	text, err := s.read(ctx, task, Secret{ID: data.CredentialsParameter}, data.Region)
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
