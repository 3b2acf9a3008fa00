package iam

import (
	"context"
	"strings"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxTags is the quota of tags per resource.
const maxTags = 50

// tagged is a resource whose tags may be changed, and how to write it.
type tagged struct {
	kind string
	tags *model.Tags
	put  func(tx *store.Txn)
}

// taggable reads a resource by name or ARN for changing its tags.
type taggable func(ctx context.Context, name string) (tagged, error)

func (s *Service) taggedUser(ctx context.Context, name string) (tagged, error) {
	row, err := s.user(ctx, name)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"user", &v.Tags, func(tx *store.Txn) { tables.Users.Replace(tx, row, v) }}, nil
}

func (s *Service) taggedRole(ctx context.Context, name string) (tagged, error) {
	row, err := s.role(ctx, name)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"role", &v.Tags, func(tx *store.Txn) { tables.Roles.Replace(tx, row, v) }}, nil
}

func (s *Service) taggedProfile(ctx context.Context, name string) (tagged, error) {
	row, err := s.profile(ctx, name)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"profile", &v.Tags, func(tx *store.Txn) { tables.InstanceProfiles.Replace(tx, row, v) }}, nil
}

func (s *Service) taggedPolicy(ctx context.Context, arn string) (tagged, error) {
	row, err := s.ownPolicy(ctx, arn)
	if err != nil {
		return tagged{}, err
	}
	v := row.Copy()
	return tagged{"policy", &v.Tags, func(tx *store.Txn) { tables.Policies.Replace(tx, row, v) }}, nil
}

// tag adds tags. A key that differs from an old one by case replaces it.
func (s *Service) tag(ctx context.Context, read taggable, name *string, list []iam.Tag) error {
	add, err := modelTags(list)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *store.Txn) error {
		t, err := read(ctx, *name)
		if err != nil {
			return err
		}
		if *t.tags == nil {
			*t.tags = model.Tags{}
		}
		for k, v := range add {
			removeTag(*t.tags, k)
			(*t.tags)[k] = v
		}
		if len(*t.tags) > maxTags {
			return iam.NewLimitExceededException("The number of tags has reached the maximum limit.")
		}
		t.put(tx)
		return nil
	})
}

func removeTag(tags model.Tags, key string) {
	for k := range tags {
		if strings.EqualFold(k, key) {
			delete(tags, k)
		}
	}
}

func (s *Service) untag(ctx context.Context, read taggable, name *string, keys []string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		t, err := read(ctx, *name)
		if err != nil {
			return err
		}
		for _, k := range keys {
			removeTag(*t.tags, k)
		}
		t.put(tx)
		return nil
	})
}

func (s *Service) listTags(ctx context.Context, read taggable, name, marker *string, limit *int32) ([]iam.Tag, *bool, *string, error) {
	t, err := read(ctx, *name)
	if err != nil {
		return nil, nil, nil, err
	}
	return page(ctx, tagList(*t.tags), func(t iam.Tag) string { return *t.Key }, marker, limit, "tags", t.kind, *name)
}

// TagUser adds tags to a user.
func (s *Service) TagUser(ctx context.Context, in *iam.TagUserInput) (*iam.TagUserOutput, error) {
	return &iam.TagUserOutput{}, s.tag(ctx, s.taggedUser, in.UserName, in.Tags)
}

// UntagUser removes tags from a user.
func (s *Service) UntagUser(ctx context.Context, in *iam.UntagUserInput) (*iam.UntagUserOutput, error) {
	return &iam.UntagUserOutput{}, s.untag(ctx, s.taggedUser, in.UserName, in.TagKeys)
}

// ListUserTags lists a user's tags.
func (s *Service) ListUserTags(ctx context.Context, in *iam.ListUserTagsInput) (*iam.ListUserTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedUser, in.UserName, in.Marker, in.MaxItems)
	return &iam.ListUserTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}

// TagRole adds tags to a role.
func (s *Service) TagRole(ctx context.Context, in *iam.TagRoleInput) (*iam.TagRoleOutput, error) {
	return &iam.TagRoleOutput{}, s.tag(ctx, s.taggedRole, in.RoleName, in.Tags)
}

// UntagRole removes tags from a role.
func (s *Service) UntagRole(ctx context.Context, in *iam.UntagRoleInput) (*iam.UntagRoleOutput, error) {
	return &iam.UntagRoleOutput{}, s.untag(ctx, s.taggedRole, in.RoleName, in.TagKeys)
}

// ListRoleTags lists a role's tags.
func (s *Service) ListRoleTags(ctx context.Context, in *iam.ListRoleTagsInput) (*iam.ListRoleTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedRole, in.RoleName, in.Marker, in.MaxItems)
	return &iam.ListRoleTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}

// TagInstanceProfile adds tags to an instance profile.
func (s *Service) TagInstanceProfile(ctx context.Context, in *iam.TagInstanceProfileInput) (*iam.TagInstanceProfileOutput, error) {
	return &iam.TagInstanceProfileOutput{}, s.tag(ctx, s.taggedProfile, in.InstanceProfileName, in.Tags)
}

// UntagInstanceProfile removes tags from an instance profile.
func (s *Service) UntagInstanceProfile(ctx context.Context, in *iam.UntagInstanceProfileInput) (*iam.UntagInstanceProfileOutput, error) {
	return &iam.UntagInstanceProfileOutput{}, s.untag(ctx, s.taggedProfile, in.InstanceProfileName, in.TagKeys)
}

// ListInstanceProfileTags lists an instance profile's tags.
func (s *Service) ListInstanceProfileTags(ctx context.Context, in *iam.ListInstanceProfileTagsInput) (*iam.ListInstanceProfileTagsOutput, error) {
	tags, more, next, err := s.listTags(ctx, s.taggedProfile, in.InstanceProfileName, in.Marker, in.MaxItems)
	return &iam.ListInstanceProfileTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}

// TagPolicy adds tags to a customer's policy.
func (s *Service) TagPolicy(ctx context.Context, in *iam.TagPolicyInput) (*iam.TagPolicyOutput, error) {
	return &iam.TagPolicyOutput{}, s.tag(ctx, s.taggedPolicy, in.PolicyArn, in.Tags)
}

// UntagPolicy removes tags from a customer's policy.
func (s *Service) UntagPolicy(ctx context.Context, in *iam.UntagPolicyInput) (*iam.UntagPolicyOutput, error) {
	return &iam.UntagPolicyOutput{}, s.untag(ctx, s.taggedPolicy, in.PolicyArn, in.TagKeys)
}

// ListPolicyTags lists a policy's tags; AWS's own have none.
func (s *Service) ListPolicyTags(ctx context.Context, in *iam.ListPolicyTagsInput) (*iam.ListPolicyTagsOutput, error) {
	if _, ok := managed.Get(*in.PolicyArn); ok {
		return &iam.ListPolicyTagsOutput{Tags: []iam.Tag{}, IsTruncated: new(false)}, nil
	}
	tags, more, next, err := s.listTags(ctx, s.taggedPolicy, in.PolicyArn, in.Marker, in.MaxItems)
	return &iam.ListPolicyTagsOutput{Tags: tags, IsTruncated: more, Marker: next}, err
}
