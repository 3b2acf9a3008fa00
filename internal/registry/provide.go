package registry

import (
	"context"

	"roadstead.dev/internal/registry/reference"
)

// Provider makes repositories and brings images that are asked for and not
// there. May asks whether the caller may do an IAM action on the repository.
// What cannot be provided is no error: then there is what there was.
type Provider interface {
	// Pull is asked before a manifest is read.
	Pull(ctx context.Context, sp Space, name string, ref reference.Reference, may func(action string) error) error
	// Push is asked before an upload begins to a repository that does not exist.
	Push(ctx context.Context, sp Space, name string, may func(action string) error) error
}

// provide gives the Provider its turn, if there is one and the request is of
// the kind, and tells whether it had it.
func (c *call) provide(action string, repo Repository, known bool) (bool, error) {
	if c.Provider == nil {
		return false, nil
	}
	may := func(action string) error { return c.authorize(action, repo.ARN, repo.Policy) }
	switch {
	case action == actGetImage:
		ref, err := reference.Parse(c.last)
		if err != nil {
			return false, err
		}
		return true, c.Provider.Pull(c.ctx, c.space, c.name, ref, may)
	case action == actStart && !known:
		return true, c.Provider.Push(c.ctx, c.space, c.name, may)
	}
	return false, nil
}
