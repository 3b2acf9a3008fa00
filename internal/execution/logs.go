package execution

import (
	"fmt"
	"strings"

	"roadstead.dev/internal/logger"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/node"
)

// LogConfig is where a container's output goes by the awslogs driver's options:
// through the spool in dir. It is nil for a driver that discards output. An
// error's text follows "ResourceInitializationError: ".
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html
func LogConfig(t node.LogTarget, dir string) (*logger.Config, error) {
	switch t.Driver {
	case "", "none":
		return nil, nil //nolint:nilnil // output is discarded
	case "awslogs":
	default:
		return nil, fmt.Errorf("log driver %s is not supported", t.Driver)
	}
	arn, err := model.ParseARN(t.TaskArn)
	if err != nil {
		return nil, err
	}
	start, err := logger.StartPattern(t.Options["awslogs-multiline-pattern"], t.Options["awslogs-datetime-format"])
	if err != nil {
		return nil, fmt.Errorf("failed to validate logger args: %w", err)
	}
	cfg := &logger.Config{
		Dir: dir, Account: arn.Account, Region: t.Options["awslogs-region"], Group: t.Options["awslogs-group"],
		CreateGroup: t.Options["awslogs-create-group"] == "true", MultilinePattern: start, Stream: t.ContainerID,
	}
	if cfg.Region == "" {
		cfg.Region = arn.Region
	}
	if p := t.Options["awslogs-stream-prefix"]; p != "" {
		cfg.Stream = p + "/" + t.ContainerName + "/" + TaskID(t.TaskArn)
	}
	return cfg, nil
}

// TaskID is the last part of a task's ARN.
func TaskID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
