package iam

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxAccessKeys is the quota of access keys per user.
const maxAccessKeys = 2

// CreateAccessKey makes a key for a user, by default the caller. This is the
// only time that the secret is told.
func (s *Service) CreateAccessKey(ctx context.Context, in *iam.CreateAccessKeyInput) (*iam.CreateAccessKeyOutput, error) {
	c := api.CallFrom(ctx)
	name, err := callersName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	var b [38]byte
	_, _ = rand.Read(b[:]) // never fails
	keyID, err := model.MakeAccessKeyID(model.IAMAccessKeyPrefix, c.Account, binary.BigEndian.Uint64(b[:8]))
	if err != nil {
		return nil, err
	}
	k := &model.AccessKey{
		ID: keyID, Secret: base64.StdEncoding.EncodeToString(b[8:]),
		Status: model.AccessKeyActive, CreateDate: now(c),
	}
	err = s.write(ctx, func(tx *store.Txn) error {
		row, err := s.user(ctx, name)
		if err != nil {
			return err
		}
		if len(row.V.AccessKeys) >= maxAccessKeys {
			return iam.NewLimitExceededException("Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
		}
		u := row.Copy()
		u.AccessKeys = append(u.AccessKeys, k.ID)
		k.User, k.UserName = row.Key.ID, u.Name
		tables.Users.Replace(tx, row, u)
		tables.AccessKeys.Create(tx, c.Account, "", k.ID, k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateAccessKeyOutput{AccessKey: &iam.AccessKey{
		AccessKeyId: &k.ID, SecretAccessKey: &k.Secret, CreateDate: &k.CreateDate,
		Status: iam.StatusType(k.Status), UserName: &k.UserName,
	}}, nil
}

// ListAccessKeys lists a user's keys, without their secrets.
func (s *Service) ListAccessKeys(ctx context.Context, in *iam.ListAccessKeysInput) (*iam.ListAccessKeysOutput, error) {
	c := api.CallFrom(ctx)
	name, err := callersName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	row, err := s.user(ctx, name)
	if err != nil {
		return nil, err
	}
	ids, more, next, err := page(ctx, slices.Clone(row.V.AccessKeys), same, in.Marker, in.MaxItems, "keys", row.Key.ID)
	if err != nil {
		return nil, err
	}
	out := &iam.ListAccessKeysOutput{AccessKeyMetadata: []iam.AccessKeyMetadata{}, IsTruncated: more, Marker: next}
	for _, id := range ids {
		k, err := tables.AccessKeys.Get(ctx, s.store, c.Account, "", id)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted since the user was read
		}
		if err != nil {
			return nil, err
		}
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, iam.AccessKeyMetadata{
			AccessKeyId: &k.V.ID, CreateDate: &k.V.CreateDate, Status: iam.StatusType(k.V.Status), UserName: &k.V.UserName,
		})
	}
	return out, nil
}

// accessKey reads a key of a user, by default the caller.
func (s *Service) accessKey(ctx context.Context, user *string, id string) (store.Row[model.User], store.Row[model.AccessKey], error) {
	var none store.Row[model.AccessKey]
	name, err := callersName(ctx, user)
	if err != nil {
		// Root may name a key alone.
		k, kerr := tables.AccessKeys.Get(ctx, s.store, api.CallFrom(ctx).Account, "", id)
		if kerr != nil {
			return store.Row[model.User]{}, none, err
		}
		name = k.V.UserName
	}
	row, err := s.user(ctx, name)
	if err != nil {
		return row, none, err
	}
	k, err := tables.AccessKeys.Get(ctx, s.store, api.CallFrom(ctx).Account, "", id)
	if err == nil && k.V.User != row.Key.ID {
		err = store.ErrNotFound
	}
	return row, k, absent(err, iam.NewNoSuchEntityException("The Access Key with id %s cannot be found.", id))
}

// UpdateAccessKey makes a key active or inactive.
func (s *Service) UpdateAccessKey(ctx context.Context, in *iam.UpdateAccessKeyInput) (*iam.UpdateAccessKeyOutput, error) {
	if in.Status != iam.StatusTypeActive && in.Status != iam.StatusTypeInactive {
		return nil, iam.NewInvalidInputException("The status of an access key is Active or Inactive.")
	}
	return &iam.UpdateAccessKeyOutput{}, s.write(ctx, func(tx *store.Txn) error {
		_, k, err := s.accessKey(ctx, in.UserName, *in.AccessKeyId)
		if err != nil {
			return err
		}
		v := k.Copy()
		v.Status = string(in.Status)
		tables.AccessKeys.Replace(tx, k, v)
		return nil
	})
}

// DeleteAccessKey removes a key.
func (s *Service) DeleteAccessKey(ctx context.Context, in *iam.DeleteAccessKeyInput) (*iam.DeleteAccessKeyOutput, error) {
	return &iam.DeleteAccessKeyOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, k, err := s.accessKey(ctx, in.UserName, *in.AccessKeyId)
		if err != nil {
			return err
		}
		u := row.Copy()
		u.AccessKeys = slices.DeleteFunc(u.AccessKeys, func(id string) bool { return id == k.V.ID })
		tables.Users.Replace(tx, row, u)
		tables.AccessKeys.Delete(tx, k)
		return nil
	})
}

// GetAccessKeyLastUsed tells when, for what and where a key was last used.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *iam.GetAccessKeyLastUsedInput) (*iam.GetAccessKeyLastUsedOutput, error) {
	account := api.CallFrom(ctx).Account
	k, err := tables.AccessKeys.Get(ctx, s.store, account, "", *in.AccessKeyId)
	if errors.Is(err, store.ErrNotFound) {
		// AWS hides whether the key exists.
		return nil, fault(403, "AccessDenied", "User: %s is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key %s",
			api.CallFrom(ctx).Identity.ARN, *in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	out := &iam.GetAccessKeyLastUsedOutput{
		UserName:          &k.V.UserName,
		AccessKeyLastUsed: &iam.AccessKeyLastUsed{ServiceName: new("N/A"), Region: new("N/A")},
	}
	used, err := tables.IAMLastUsed.Get(ctx, s.store, account, "", k.V.ID)
	if err == nil {
		out.AccessKeyLastUsed = &iam.AccessKeyLastUsed{LastUsedDate: &used.V.Time, ServiceName: &used.V.Service, Region: &used.V.Region}
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return out, nil
}
