package execution

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// Objects is Amazon S3, as tasks' execution roles may use it. Errors are worded
// as SDKs print them.
type Objects interface {
	// Object is what an object holds, at most MaxEnvironmentFile bytes.
	Object(ctx context.Context, task *acs.Task, bucket, key string) ([]byte, error)
}

// MaxEnvironmentFile is more bytes than a process's environment may have.
const MaxEnvironmentFile = 4 << 20

// ErrFileTooLarge says that an environment file has more bytes than
// MaxEnvironmentFile.
var ErrFileTooLarge = fmt.Errorf("the file is larger than %d bytes", MaxEnvironmentFile)

// EnvironmentFiles reads tasks' environment files.
type EnvironmentFiles struct {
	Objects Objects
	// Empty keeps variables with an empty value, as Fargate does; the ECS agent
	// leaves them out.
	Empty bool
}

var _ node.EnvironmentFiles = (*EnvironmentFiles)(nil)

// Variables implements node.EnvironmentFiles.
func (f *EnvironmentFiles) Variables(ctx context.Context, task *acs.Task, c *acs.Container) (map[string]string, error) {
	all := map[string]string{}
	for _, file := range c.EnvironmentFiles {
		bucket, key, err := EnvironmentFileAt(file.Value)
		if err != nil {
			return nil, err
		}
		text, err := f.Objects.Object(ctx, task, bucket, key)
		if err != nil {
			return nil, fmt.Errorf("file download command: non empty error stream: failed to download file %s: failed to write to a temporary file: %w", path.Base(key), err)
		}
		for name, value := range parseVariables(string(text), f.Empty) {
			if _, ok := all[name]; !ok { // the first file's counts
				all[name] = value
			}
		}
	}
	return all, nil
}

// EnvironmentFileAt is where the object is whose ARN an environment file names.
func EnvironmentFileAt(arn string) (bucket, key string, err error) {
	a, err := model.ParseARN(arn)
	if err != nil || a.Service != "s3" {
		return "", "", fmt.Errorf("%q is not the ARN of an object in Amazon S3", arn)
	}
	bucket, key, _ = strings.Cut(a.Resource, "/")
	if bucket == "" || key == "" {
		return "", "", errors.New("the ARN of an environment file must name a bucket and an object")
	}
	return bucket, key, nil
}

// parseVariables reads an environment file: a variable a line, VARIABLE=VALUE.
// Lines that begin with # and those without = are no variables. Quotation marks
// and spaces are part of values. Of a variable that is there twice the last
// line counts.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/use-environment-file.html
func parseVariables(text string, empty bool) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), "=")
		if strings.HasPrefix(line, "#") || !ok || name == "" || value == "" && !empty {
			continue
		}
		// The kernel ends both at a zero byte.
		if strings.IndexByte(line, 0) >= 0 {
			continue
		}
		out[name] = value
	}
	return out
}
