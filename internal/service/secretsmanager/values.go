package secretsmanager

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// value is what a version holds.
type value struct {
	content []byte
	binary  bool
}

// given is the value in a request, nil where there is none.
func given(text *string, binary []byte) (*value, error) {
	switch {
	case text != nil && binary != nil:
		return nil, invalid("You can't specify both a binary secret value and a string secret value in the same secret.")
	case text != nil:
		return &value{content: []byte(*text)}, nil
	case binary != nil:
		return &value{content: binary, binary: true}, nil
	}
	return nil, nil //nolint:nilnil // a request without a value is one
}

func (v *value) split() (text *string, binary []byte) {
	if v.binary {
		return nil, v.content
	}
	return new(string(v.content)), nil
}

// open reads the value of a version.
func (s *Service) open(ctx context.Context, key store.Key, v *model.Secret, version string) (*value, error) {
	id := model.SecretValueID(v.ARN, version)
	row, err := tables.SecretValues.Get(ctx, s.Store, key.Account, key.Region, id)
	if err != nil {
		return nil, fmt.Errorf("read secret value: %w", err)
	}
	content, err := s.Key.Open(id, row.V.Sealed)
	if err != nil {
		return nil, fmt.Errorf("read secret value: %w", err)
	}
	return &value{content, row.V.Binary}, nil
}

// sameValue is nil when the version, which exists, holds val: the request
// that made it has come again.
func (s *Service) sameValue(ctx context.Context, row store.Row[model.Secret], version string, val *value) error {
	have, err := s.open(ctx, row.Key, row.V, version)
	if err != nil {
		return err
	}
	if have.binary != val.binary || !bytes.Equal(have.content, val.content) {
		return secretsmanager.NewResourceExistsException("You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", version, row.V.ARN)
	}
	return nil
}

// addVersion adds a new version to v and its value to tx. The first version
// is the current one, whatever stages say.
func (s *Service) addVersion(tx *store.Txn, key store.Key, v *model.Secret, token string, val *value, stages []string, at time.Time) error {
	if v.Versions == nil {
		v.Versions = map[string]model.SecretVersion{}
	}
	if v.Staged(model.StageCurrent) == "" && !slices.Contains(stages, model.StageCurrent) {
		stages = append([]string{model.StageCurrent}, stages...)
	}
	for _, old := range outdated(v.Versions, at) {
		delete(v.Versions, old)
		tables.SecretValues.Erase(tx, key.Account, key.Region, model.SecretValueID(v.ARN, old))
	}
	v.Versions[token] = model.SecretVersion{CreatedAt: at}
	for _, stage := range stages {
		attach(v.Versions, token, stage)
	}
	if most := slices.MaxFunc(counts(v.Versions), cmp.Compare[int]); most > maxStages {
		return secretsmanager.NewLimitExceededException("You can attach up to %d staging labels to a version.", maxStages)
	}
	v.ChangedAt = at
	id := model.SecretValueID(v.ARN, token)
	tables.SecretValues.Put(tx, key.Account, key.Region, id, &model.SecretValue{Sealed: s.Key.Seal(id, val.content), Binary: val.binary})
	return nil
}

// GetSecretValue implements secretsmanager.Handler.
func (s *Service) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	row, err := s.usable(ctx, *in.SecretId)
	if err != nil {
		return nil, err
	}
	version, err := choose(row.V, str(in.VersionId), str(in.VersionStage))
	if err != nil {
		return nil, err
	}
	val, err := s.open(ctx, row.Key, row.V, version)
	if errors.Is(err, store.ErrNotFound) { // it has just been deleted
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	if err := s.noteAccess(ctx, row, version); err != nil {
		return nil, err
	}
	out := &secretsmanager.GetSecretValueOutput{
		ARN: &row.V.ARN, Name: &row.V.Name, VersionId: &version, VersionStages: row.V.Versions[version].Stages,
		CreatedDate: new(row.V.Versions[version].CreatedAt),
	}
	out.SecretString, out.SecretBinary = val.split()
	return out, nil
}

// choose finds the version that a request asks for.
func choose(v *model.Secret, version, stage string) (string, error) {
	if version == "" {
		if stage == "" {
			stage = model.StageCurrent
		}
		if version = v.Staged(stage); version == "" {
			return "", secretsmanager.NewResourceNotFoundException("Secrets Manager can't find the specified secret value for staging label: %s", stage)
		}
		return version, nil
	}
	found, ok := v.Versions[version]
	if !ok {
		return "", secretsmanager.NewResourceNotFoundException("Secrets Manager can't find the specified secret value for VersionId: %s", version)
	}
	if stage != "" && !slices.Contains(found.Stages, stage) {
		return "", secretsmanager.NewInvalidRequestException("You provided a VersionStage that is not associated to the provided VersionId.")
	}
	return version, nil
}

// noteAccess keeps the day on which a value was last read: one write a day.
func (s *Service) noteAccess(ctx context.Context, row store.Row[model.Secret], version string) error {
	day := api.CallFrom(ctx).Time.UTC().Truncate(24 * time.Hour)
	if row.V.Versions[version].AccessedOn.Equal(day) && row.V.AccessedOn.Equal(day) {
		return nil
	}
	_, err := tables.Secrets.Update(ctx, s.Store, row.Key.Account, row.Key.Region, row.Key.ID, func(v *model.Secret) error {
		found, ok := v.Versions[version]
		if !ok || v.ARN != row.V.ARN {
			return store.ErrUnchanged
		}
		v.AccessedOn, found.AccessedOn = day, day
		v.Versions[version] = found
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("note the access to a secret: %w", err)
	}
	return nil
}

// PutSecretValue implements secretsmanager.Handler.
func (s *Service) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput) (*secretsmanager.PutSecretValueOutput, error) {
	val, err := given(in.SecretString, in.SecretBinary)
	switch {
	case err != nil:
		return nil, err
	case val == nil:
		return nil, invalid("You must provide either SecretString or SecretBinary.")
	case in.RotationToken != nil:
		return nil, invalid("Secrets are not rotated: RotationToken must be empty.")
	case in.ClientRequestToken == nil:
		return nil, errNoToken
	}
	token, stages := *in.ClientRequestToken, in.VersionStages
	if len(stages) == 0 {
		stages = []string{model.StageCurrent}
	}
	v, err := s.update(ctx, s.usable, *in.SecretId, func(tx *store.Txn, key store.Key, v *model.Secret) error {
		if _, ok := v.Versions[token]; ok {
			if err := s.sameValue(ctx, store.Row[model.Secret]{Key: key, V: v}, token, val); err != nil {
				return err
			}
			return store.ErrUnchanged
		}
		return s.addVersion(tx, key, v, token, val, stages, now(ctx))
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.PutSecretValueOutput{ARN: &v.ARN, Name: &v.Name, VersionId: &token, VersionStages: v.Versions[token].Stages}, nil
}

// UpdateSecretVersionStage implements secretsmanager.Handler.
func (s *Service) UpdateSecretVersionStage(ctx context.Context, in *secretsmanager.UpdateSecretVersionStageInput) (*secretsmanager.UpdateSecretVersionStageOutput, error) {
	v, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		v.ChangedAt = now(ctx)
		return moveStage(v, *in.VersionStage, str(in.RemoveFromVersionId), str(in.MoveToVersionId))
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.UpdateSecretVersionStageOutput{ARN: &v.ARN, Name: &v.Name}, nil
}

// defaultKey stands for the key of versions that no key of the user's encrypts.
const defaultKey = "DefaultEncryptionKey"

// ListSecretVersionIds implements secretsmanager.Handler.
func (s *Service) ListSecretVersionIds(ctx context.Context, in *secretsmanager.ListSecretVersionIdsInput) (*secretsmanager.ListSecretVersionIdsOutput, error) {
	row, err := s.read(ctx, *in.SecretId)
	if err != nil {
		return nil, err
	}
	var all []secretsmanager.SecretVersionsListEntry
	for id, v := range row.V.Versions {
		if len(v.Stages) == 0 && !isTrue(in.IncludeDeprecated) {
			continue
		}
		e := secretsmanager.SecretVersionsListEntry{
			VersionId: new(id), VersionStages: v.Stages, CreatedDate: when(v.CreatedAt), LastAccessedDate: when(v.AccessedOn),
			KmsKeyIds: []string{defaultKey},
		}
		if row.V.KMSKeyID != "" {
			e.KmsKeyIds[0] = row.V.KMSKeyID
		}
		all = append(all, e)
	}
	position := func(e secretsmanager.SecretVersionsListEntry) string { return stamp(e.CreatedDate) + *e.VersionId }
	page, next, err := paginate(all, position, false, in.NextToken, in.MaxResults,
		listOf(ctx, "ListSecretVersionIds", row.V.ARN, isTrue(in.IncludeDeprecated))...)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.ListSecretVersionIdsOutput{ARN: &row.V.ARN, Name: &row.V.Name, Versions: page, NextToken: next}, nil
}

// BatchGetSecretValue implements secretsmanager.Handler.
func (s *Service) BatchGetSecretValue(ctx context.Context, in *secretsmanager.BatchGetSecretValueInput) (*secretsmanager.BatchGetSecretValueOutput, error) {
	out := &secretsmanager.BatchGetSecretValueOutput{SecretValues: []secretsmanager.SecretValueEntry{}, Errors: []secretsmanager.APIErrorType{}}
	ids := in.SecretIdList
	switch {
	case (len(ids) > 0) == (len(in.Filters) > 0):
		return nil, invalid("Either 'SecretIdList' or 'Filters' must be provided, but not both.")
	case in.MaxResults != nil && len(in.Filters) == 0:
		return nil, invalid("'Filters' not specified. 'Filters' must also be specified when 'MaxResults' is provided.")
	case len(ids) == 0:
		most := in.MaxResults
		if most == nil {
			most = new(int32(maxBatch))
		}
		list, err := s.ListSecrets(ctx, &secretsmanager.ListSecretsInput{Filters: in.Filters, MaxResults: most, NextToken: in.NextToken})
		if err != nil {
			return nil, err
		}
		out.NextToken = list.NextToken
		for _, e := range list.SecretList {
			ids = append(ids, *e.ARN)
		}
	}
	for _, id := range ids {
		e, err := s.oneOfBatch(ctx, id)
		if known, ok := errors.AsType[api.Error](err); ok {
			out.Errors = append(out.Errors, secretsmanager.APIErrorType{SecretId: new(id), ErrorCode: new(known.ErrorCode()), Message: new(known.ErrorMessage())})
			continue
		}
		if err != nil {
			return nil, err
		}
		out.SecretValues = append(out.SecretValues, *e)
	}
	return out, nil
}

// maxBatch is the most that BatchGetSecretValue answers at once.
const maxBatch = 20

// oneOfBatch is GetSecretValue with its own permission.
func (s *Service) oneOfBatch(ctx context.Context, id string) (*secretsmanager.SecretValueEntry, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &id}
	arns, conditions := s.ScopeOf(ctx, nil, in)
	for _, arn := range arns {
		if err := api.CallFrom(ctx).Authorize(ctx, "secretsmanager:GetSecretValue", arn, conditions); err != nil {
			return nil, err
		}
	}
	v, err := s.GetSecretValue(ctx, in)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.SecretValueEntry{
		ARN: v.ARN, Name: v.Name, CreatedDate: v.CreatedDate, SecretString: v.SecretString, SecretBinary: v.SecretBinary,
		VersionId: v.VersionId, VersionStages: v.VersionStages,
	}, nil
}
