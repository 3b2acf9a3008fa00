package gateway

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/store"
)

// run calls an operation's handler, and once more where something that it had
// read was gone or changed when it wrote: it reads anew, and answers what is so
// now. A client that reads of an internal failure does no less.
func run(ctx context.Context, op *api.Operation, in any) (any, error) {
	out, err := op.Invoke(ctx, in)
	if overtaken(err) && ctx.Err() == nil {
		return op.Invoke(ctx, in)
	}
	return out, err
}

// overtaken tells whether another request was faster.
func overtaken(err error) bool {
	if _, answered := errors.AsType[api.Error](err); answered {
		return false
	}
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict)
}
