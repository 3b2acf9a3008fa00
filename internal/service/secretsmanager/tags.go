package secretsmanager

import (
	"context"
	"maps"
	"strings"

	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// maxTags is how many tags a secret may have.
const maxTags = 50

// addTags is old with tags set.
func addTags(old model.Tags, tags []secretsmanager.Tag) (model.Tags, error) {
	out := maps.Clone(old)
	if out == nil {
		out = model.Tags{}
	}
	seen := map[string]bool{}
	for _, t := range tags {
		k := str(t.Key)
		switch {
		case k == "":
			return nil, invalid("Tag keys can't be empty.")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return nil, invalid("Tag keys can't begin with aws:.")
		case seen[k]:
			return nil, invalid("You can't use the same tag key more than once: %s", k)
		}
		seen[k] = true
		out[k] = str(t.Value)
	}
	if len(out) > maxTags {
		return nil, invalid("You can add up to %d tags to a secret.", maxTags)
	}
	return out, nil
}

// TagResource implements secretsmanager.Handler.
func (s *Service) TagResource(ctx context.Context, in *secretsmanager.TagResourceInput) (*secretsmanager.TagResourceOutput, error) {
	_, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		var err error
		v.Tags, err = addTags(v.Tags, in.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.TagResourceOutput{}, nil
}

// UntagResource implements secretsmanager.Handler.
func (s *Service) UntagResource(ctx context.Context, in *secretsmanager.UntagResourceInput) (*secretsmanager.UntagResourceOutput, error) {
	_, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		for _, k := range in.TagKeys {
			delete(v.Tags, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.UntagResourceOutput{}, nil
}
