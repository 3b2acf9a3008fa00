package fargate

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/logger"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Logs prepares the destinations of containers' output.
type Logs struct {
	Roles Roles
	Store store.Store
	// Executable is the absolute path of the program that the container runtime
	// starts as the logger.
	Executable string
	// SpoolDir is where loggers write.
	SpoolDir string
}

var _ node.Logs = (*Logs)(nil)

// Open checks that the execution role may write the stream and that the group
// is there, and returns the URI that makes the runtime log to it.
func (l *Logs) Open(ctx context.Context, t node.LogTarget) (string, error) {
	cfg, err := execution.LogConfig(t, l.SpoolDir)
	if cfg == nil || err != nil {
		return "", err
	}
	if err := l.authorize(ctx, t, *cfg); err != nil {
		return "", err
	}
	_, err = tables.LogGroups.Get(ctx, l.Store, cfg.Account, cfg.Region, cfg.Group)
	switch {
	case errors.Is(err, store.ErrNotFound) && !cfg.CreateGroup:
		return "", fmt.Errorf("failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1")
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	return logger.URI(l.Executable, *cfg), nil
}

// authorize asks for what the driver does with the execution role.
func (l *Logs) authorize(ctx context.Context, t node.LogTarget, cfg logger.Config) error {
	if t.Execution == nil {
		return errors.New("the task has no execution role to write its logs with")
	}
	call, err := l.Roles.call(ctx, t.Execution.RoleArn, t.TaskArn)
	if err != nil {
		return err
	}
	call.Region = cfg.Region
	group := model.LogGroupARN(cfg.Region, cfg.Account, cfg.Group)
	stream := model.LogStreamARN(cfg.Region, cfg.Account, cfg.Group, cfg.Stream)
	if cfg.CreateGroup {
		if err := l.Roles.authorize(ctx, call, "logs:CreateLogGroup", group); err != nil {
			return fmt.Errorf("failed to validate logger args: failed to create Cloudwatch log group: %w", err)
		}
	}
	for _, action := range []string{"logs:CreateLogStream", "logs:PutLogEvents"} {
		if err := l.Roles.authorize(ctx, call, action, stream); err != nil {
			return fmt.Errorf("failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log stream: %w", err)
		}
	}
	return nil
}
