package secretsmanager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// The bounds of a recovery window, and what it is when nothing is asked, in
// days.
const (
	minWindow     = 7
	maxWindow     = 30
	defaultWindow = 30
)

// now is the call's time as records keep it.
func now(ctx context.Context) time.Time {
	return api.CallFrom(ctx).Time.UTC().Truncate(time.Millisecond)
}

// CreateSecret implements secretsmanager.Handler.
func (s *Service) CreateSecret(ctx context.Context, in *secretsmanager.CreateSecretInput) (*secretsmanager.CreateSecretOutput, error) {
	c := api.CallFrom(ctx)
	val, err := given(in.SecretString, in.SecretBinary)
	switch {
	case err != nil:
		return nil, err
	case len(in.AddReplicaRegions) > 0:
		return nil, invalid("Secrets are not replicated to other regions: AddReplicaRegions must be empty.")
	case str(in.Type) != "":
		return nil, invalid("Managed external secrets are not served: Type must be empty.")
	case in.ClientRequestToken == nil:
		return nil, errNoToken
	}
	if err := checkName(*in.Name); err != nil {
		return nil, err
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	for {
		old, err := tables.Secrets.Get(ctx, s.Store, c.Account, c.Region, *in.Name)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("read secret: %w", err)
		}
		tx := store.NewTxn()
		if err == nil {
			if !old.V.Gone(c.Time) {
				return s.createAgain(ctx, old, *in.ClientRequestToken, val)
			}
			s.erase(tx, old, false)
		}
		v := &model.Secret{
			Name: *in.Name, ARN: model.MakeARN("secretsmanager", c.Region, c.Account, "secret:"+*in.Name+"-"+suffix()),
			Description: str(in.Description), KMSKeyID: str(in.KmsKeyId), Tags: tags.Initial(), CreatedAt: now(ctx), ChangedAt: now(ctx),
			Versions: map[string]model.SecretVersion{},
		}
		out := &secretsmanager.CreateSecretOutput{ARN: &v.ARN, Name: &v.Name}
		if val != nil {
			if err := s.addVersion(tx, tables.Secrets.Key(c.Account, c.Region, v.Name), v, *in.ClientRequestToken, val, nil, now(ctx)); err != nil {
				return nil, err
			}
			out.VersionId = in.ClientRequestToken
		}
		if old.V != nil {
			tables.Secrets.Replace(tx, old, v)
		} else {
			tables.Secrets.Create(tx, c.Account, c.Region, v.Name, v)
		}
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return out, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write secret: %w", err)
		}
	}
}

// createAgain answers a CreateSecret whose name is taken: with what the first
// one made when the token tells that this is the same request.
func (s *Service) createAgain(ctx context.Context, old store.Row[model.Secret], token string, val *value) (*secretsmanager.CreateSecretOutput, error) {
	if !old.V.DeletionDate.IsZero() {
		return nil, secretsmanager.NewInvalidRequestException("You can't create this secret because a secret with this name is already scheduled for deletion.")
	}
	if _, ok := old.V.Versions[token]; !ok || val == nil {
		return nil, secretsmanager.NewResourceExistsException("The operation failed because the secret %s already exists.", old.V.Name)
	}
	if err := s.sameValue(ctx, old, token, val); err != nil {
		return nil, err
	}
	return &secretsmanager.CreateSecretOutput{ARN: &old.V.ARN, Name: &old.V.Name, VersionId: &token}, nil
}

// suffix is the end of a new secret's ARN.
func suffix() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return pick(letters, 6)
}

// UpdateSecret implements secretsmanager.Handler.
func (s *Service) UpdateSecret(ctx context.Context, in *secretsmanager.UpdateSecretInput) (*secretsmanager.UpdateSecretOutput, error) {
	val, err := given(in.SecretString, in.SecretBinary)
	switch {
	case err != nil:
		return nil, err
	case str(in.Type) != "":
		return nil, invalid("Managed external secrets are not served: Type must be empty.")
	case in.ClientRequestToken == nil:
		return nil, errNoToken
	}
	v, err := s.update(ctx, s.usable, *in.SecretId, func(tx *store.Txn, key store.Key, v *model.Secret) error {
		if in.Description != nil {
			v.Description = *in.Description
		}
		if in.KmsKeyId != nil {
			v.KMSKeyID = *in.KmsKeyId
		}
		v.ChangedAt = now(ctx)
		if val == nil {
			return nil
		}
		if _, ok := v.Versions[*in.ClientRequestToken]; ok {
			return s.sameValue(ctx, store.Row[model.Secret]{Key: key, V: v}, *in.ClientRequestToken, val)
		}
		return s.addVersion(tx, key, v, *in.ClientRequestToken, val, []string{model.StageCurrent}, now(ctx))
	})
	if err != nil {
		return nil, err
	}
	out := &secretsmanager.UpdateSecretOutput{ARN: &v.ARN, Name: &v.Name}
	if val != nil {
		out.VersionId = in.ClientRequestToken
	}
	return out, nil
}

// DescribeSecret implements secretsmanager.Handler.
func (s *Service) DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput) (*secretsmanager.DescribeSecretOutput, error) {
	row, err := s.read(ctx, *in.SecretId)
	if err != nil {
		return nil, err
	}
	e := entry(row.V)
	return &secretsmanager.DescribeSecretOutput{
		ARN: e.ARN, Name: e.Name, Description: e.Description, KmsKeyId: e.KmsKeyId, CreatedDate: e.CreatedDate,
		LastChangedDate: e.LastChangedDate, LastAccessedDate: e.LastAccessedDate, DeletedDate: e.DeletedDate,
		Tags: e.Tags, VersionIdsToStages: e.SecretVersionsToStages,
	}, nil
}

// entry is what lists tell of a secret.
func entry(v *model.Secret) secretsmanager.SecretListEntry {
	e := secretsmanager.SecretListEntry{
		ARN: new(v.ARN), Name: new(v.Name), Description: opt(v.Description), KmsKeyId: opt(v.KMSKeyID),
		CreatedDate: when(v.CreatedAt), LastChangedDate: when(v.ChangedAt), LastAccessedDate: when(v.AccessedOn),
		DeletedDate: when(v.DeletionDate),
	}
	for _, k := range slices.Sorted(maps.Keys(v.Tags)) {
		e.Tags = append(e.Tags, secretsmanager.Tag{Key: new(k), Value: new(v.Tags[k])})
	}
	for id, version := range v.Versions {
		if len(version.Stages) == 0 {
			continue
		}
		if e.SecretVersionsToStages == nil {
			e.SecretVersionsToStages = map[string][]string{}
		}
		e.SecretVersionsToStages[id] = version.Stages
	}
	return e
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// DeleteSecret implements secretsmanager.Handler.
func (s *Service) DeleteSecret(ctx context.Context, in *secretsmanager.DeleteSecretInput) (*secretsmanager.DeleteSecretOutput, error) {
	force, at := isTrue(in.ForceDeleteWithoutRecovery), now(ctx)
	window := int64(defaultWindow)
	if in.RecoveryWindowInDays != nil {
		window = *in.RecoveryWindowInDays
		if force {
			return nil, invalid("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
		}
		if window < minWindow || window > maxWindow {
			return nil, invalid("The RecoveryWindowInDays value must be between %d and %d days (inclusive).", minWindow, maxWindow)
		}
	}
	if force {
		return s.deleteNow(ctx, *in.SecretId)
	}
	v, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		v.DeletionDate = at.AddDate(0, 0, int(window))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.DeleteSecretOutput{ARN: &v.ARN, Name: &v.Name, DeletionDate: &v.DeletionDate}, nil
}

// deleteNow erases a secret. One that is not there is no error, so that the
// request can be tried again.
func (s *Service) deleteNow(ctx context.Context, secretID string) (*secretsmanager.DeleteSecretOutput, error) {
	for {
		row, err := s.read(ctx, secretID)
		if errors.Is(err, errNotFound) {
			c := api.CallFrom(ctx)
			arn, name := secretID, secretID
			if p, perr := locate(c, secretID); perr == nil {
				name = p.name
			}
			if !strings.HasPrefix(arn, "arn:") {
				arn = model.MakeARN("secretsmanager", c.Region, c.Account, "secret:"+name)
			}
			return &secretsmanager.DeleteSecretOutput{ARN: &arn, Name: &name, DeletionDate: new(now(ctx))}, nil
		}
		if err != nil {
			return nil, err
		}
		tx := store.NewTxn()
		s.erase(tx, row, true)
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return &secretsmanager.DeleteSecretOutput{ARN: &row.V.ARN, Name: &row.V.Name, DeletionDate: new(now(ctx))}, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("delete secret: %w", err)
		}
	}
}

// RestoreSecret implements secretsmanager.Handler.
func (s *Service) RestoreSecret(ctx context.Context, in *secretsmanager.RestoreSecretInput) (*secretsmanager.RestoreSecretOutput, error) {
	v, err := s.update(ctx, s.read, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		if v.DeletionDate.IsZero() {
			return store.ErrUnchanged
		}
		v.DeletionDate = time.Time{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.RestoreSecretOutput{ARN: &v.ARN, Name: &v.Name}, nil
}

// erase adds the removal of a secret's values to tx, and with self that of the
// secret.
func (s *Service) erase(tx *store.Txn, row store.Row[model.Secret], self bool) {
	for version := range row.V.Versions {
		tables.SecretValues.Erase(tx, row.Key.Account, row.Key.Region, model.SecretValueID(row.V.ARN, version))
	}
	if self {
		tables.Secrets.Delete(tx, row)
	}
}

// purgeEvery is how often secrets are looked for whose window has passed.
const purgeEvery = time.Hour

// Run erases secrets whose recovery window has passed, until ctx ends. They
// are out of reach as soon as it passes.
func (s *Service) Run(ctx context.Context) error {
	for timer := s.Clock.NewTimer(0); ; timer.Reset(purgeEvery) {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := s.Purge(ctx, s.Clock.Now()); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Purge erases the secrets whose recovery window has passed at now.
func (s *Service) Purge(ctx context.Context, now time.Time) error {
	rows, err := tables.Secrets.List(ctx, s.Store, store.Query{})
	if err != nil {
		return fmt.Errorf("list secrets: %w", err)
	}
	for _, row := range rows {
		if !row.V.Gone(now) {
			continue
		}
		tx := store.NewTxn()
		s.erase(tx, row, true)
		if _, err := tx.Commit(ctx, s.Store); err != nil && !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("purge secret: %w", err)
		}
	}
	return nil
}
