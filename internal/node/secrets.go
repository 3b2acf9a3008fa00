package node

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/model/acs"
)

// noSecrets begins the reason of a task whose secrets or whose registry's
// credentials cannot be had.
const noSecrets = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "

// secretValues are what a container's secrets hold: environment variables, and
// options of its log driver.
type secretValues struct{ env, log map[string]string }

// targetLogDriver is the Target of a secret that is a log option.
const targetLogDriver = "LOG_DRIVER"

// secretsOf reads the secrets of a container, once until forgetSecrets. An
// error's text follows noSecrets.
func (t *task) secretsOf(ctx context.Context, task *acs.Task, c *acs.Container) (secretValues, error) {
	if len(c.Secrets) == 0 {
		return secretValues{}, nil
	}
	t.mu.Lock()
	have, ok := t.secrets[c.Name]
	t.mu.Unlock()
	if ok {
		return have, nil
	}
	if t.node.cfg.Secrets == nil {
		return secretValues{}, fmt.Errorf("unable to retrieve secret from %s: service call has been retried 1 time(s): this node has no access to secrets", c.Secrets[0].Provider)
	}
	values, err := t.node.cfg.Secrets.Values(ctx, task, c)
	if err != nil {
		return secretValues{}, err
	}
	if len(values) != len(c.Secrets) {
		return secretValues{}, errors.New("not all secrets have a value")
	}
	got := secretValues{env: map[string]string{}, log: map[string]string{}}
	for i, s := range c.Secrets {
		if s.Target == targetLogDriver {
			got.log[s.Name] = values[i]
		} else {
			got.env[s.Name] = values[i]
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets[c.Name] = got
	return got, nil
}

// forgetSecrets lets go of what a container has been made with.
func (t *task) forgetSecrets(container string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.secrets, container)
	delete(t.envFiles, container)
}
