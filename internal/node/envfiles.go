package node

import (
	"context"
	"errors"

	"roadstead.dev/internal/model/acs"
)

// noEnvFiles begins the reason of a task whose environment files cannot be had.
const noEnvFiles = "ResourceInitializationError: failed to download env files: "

// envFilesOf reads the variables in a container's environment files, once until
// forgetSecrets. An error's text follows noEnvFiles.
func (t *task) envFilesOf(ctx context.Context, task *acs.Task, c *acs.Container) (map[string]string, error) {
	if len(c.EnvironmentFiles) == 0 {
		return nil, nil
	}
	t.mu.Lock()
	have, ok := t.envFiles[c.Name]
	t.mu.Unlock()
	if ok {
		return have, nil
	}
	if t.node.cfg.EnvironmentFiles == nil {
		return nil, errors.New("file download command: this node has no access to Amazon S3")
	}
	got, err := t.node.cfg.EnvironmentFiles.Variables(ctx, task, c)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.envFiles[c.Name] = got
	return got, nil
}
