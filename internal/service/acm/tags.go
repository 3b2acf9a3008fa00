package acm

import (
	"context"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// maxTags is how many tags a certificate may have.
const maxTags = 50

func checkKey(key string) error {
	if strings.HasPrefix(strings.ToLower(key), "aws:") {
		return acm.NewInvalidTagException("Invalid Tag Key: %q. AWS internal tags cannot be changed with this API", key)
	}
	return nil
}

// addTags is old with tags set.
func addTags(old model.Tags, tags []acm.Tag) (model.Tags, error) {
	out := maps.Clone(old)
	if out == nil {
		out = model.Tags{}
	}
	seen := map[string]bool{}
	for _, t := range tags {
		k := str(t.Key)
		if err := checkKey(k); err != nil {
			return nil, err
		}
		if seen[k] {
			return nil, acm.NewInvalidTagException("Duplicate Tag Key: %q", k)
		}
		seen[k] = true
		out[k] = str(t.Value)
	}
	if len(out) > maxTags {
		return nil, acm.NewTooManyTagsException("The certificate would have %d tags. It may have %d.", len(out), maxTags)
	}
	return out, nil
}

// AddTagsToCertificate implements acm.Handler.
func (s *Service) AddTagsToCertificate(ctx context.Context, in *acm.AddTagsToCertificateInput) (*acm.AddTagsToCertificateOutput, error) {
	return &acm.AddTagsToCertificateOutput{}, s.update(ctx, *in.CertificateArn, func(v *model.Certificate) error {
		tags, err := addTags(v.Tags, in.Tags)
		v.Tags = tags
		return err
	})
}

// RemoveTagsFromCertificate implements acm.Handler. A tag that comes with a
// value goes only when it has that value.
func (s *Service) RemoveTagsFromCertificate(ctx context.Context, in *acm.RemoveTagsFromCertificateInput) (*acm.RemoveTagsFromCertificateOutput, error) {
	return &acm.RemoveTagsFromCertificateOutput{}, s.update(ctx, *in.CertificateArn, func(v *model.Certificate) error {
		before := len(v.Tags)
		for _, t := range in.Tags {
			if err := checkKey(*t.Key); err != nil {
				return err
			}
			if has, ok := v.Tags[*t.Key]; ok && (t.Value == nil || *t.Value == has) {
				delete(v.Tags, *t.Key)
			}
		}
		if len(v.Tags) == before {
			return store.ErrUnchanged
		}
		return nil
	})
}

// ListTagsForCertificate implements acm.Handler.
func (s *Service) ListTagsForCertificate(ctx context.Context, in *acm.ListTagsForCertificateInput) (*acm.ListTagsForCertificateOutput, error) {
	row, err := s.read(ctx, *in.CertificateArn)
	if err != nil {
		return nil, err
	}
	out := &acm.ListTagsForCertificateOutput{}
	for _, k := range slices.Sorted(maps.Keys(row.V.Tags)) {
		out.Tags = append(out.Tags, acm.Tag{Key: new(k), Value: new(row.V.Tags[k])})
	}
	return out, nil
}
