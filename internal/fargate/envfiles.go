package fargate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/objects"
)

// Object implements execution.Objects.
func (s *Account) Object(ctx context.Context, task *acs.Task, bucket, key string) ([]byte, error) {
	ctx, call, err := s.call(ctx, task, "")
	if err != nil {
		return nil, err
	}
	body, _, err := s.Objects.Get(ctx, objects.Caller(call), objects.Location{Bucket: bucket, Key: key})
	switch {
	case errors.Is(err, objects.ErrNoBucket):
		return nil, errors.New("NoSuchBucket: The specified bucket does not exist")
	case errors.Is(err, objects.ErrNoObject):
		return nil, errors.New("NoSuchKey: The specified key does not exist.")
	case errors.Is(err, objects.ErrDenied):
		if d, ok := errors.AsType[*model.Denied](err); ok {
			return nil, fmt.Errorf("AccessDenied: User: %s is not authorized to perform: %s on resource: %q %s", call.Identity.ARN, d.Action, d.Resource, d.Reason)
		}
		return nil, errors.New("AccessDenied: Access Denied")
	case err != nil:
		return nil, err
	}
	defer func() { _ = body.Close() }() // it was read
	text, err := io.ReadAll(io.LimitReader(body, execution.MaxEnvironmentFile+1))
	if err == nil && len(text) > execution.MaxEnvironmentFile {
		err = execution.ErrFileTooLarge
	}
	return text, err
}
