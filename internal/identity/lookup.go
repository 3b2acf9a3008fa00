package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Lookup finds the secret of an access key, who it belongs to, and the
// account. It fails with model.ErrUnknownAccessKey, model.ErrSecurityToken or
// model.ErrExpiredToken; any other error is internal.
func (d *Directory) Lookup(ctx context.Context, accessKeyID, sessionToken string) (secret string, who api.Identity, account string, err error) {
	if strings.HasPrefix(accessKeyID, model.IAMSessionKeyPrefix) {
		return d.lookupSession(ctx, accessKeyID, sessionToken)
	}
	if sessionToken != "" {
		return "", api.Identity{}, "", model.ErrSecurityToken
	}
	if k, ok := d.root[accessKeyID]; ok {
		return k.Secret, api.Identity{
			ARN: RootARN(k.Account), UserID: k.Account, AccessKeyID: accessKeyID, Root: true,
		}, k.Account, nil
	}
	account, ok := model.AccountOfAccessKeyID(accessKeyID)
	if !ok {
		return "", api.Identity{}, "", model.ErrUnknownAccessKey
	}
	key, err := tables.AccessKeys.Get(ctx, d.store, account, "", accessKeyID)
	if errors.Is(err, store.ErrNotFound) || err == nil && key.V.Status != model.AccessKeyActive {
		return "", api.Identity{}, "", model.ErrUnknownAccessKey
	}
	if err != nil {
		return "", api.Identity{}, "", fmt.Errorf("look up access key: %w", err)
	}
	user, err := tables.Users.Get(ctx, d.store, account, "", key.V.User)
	if errors.Is(err, store.ErrNotFound) {
		return "", api.Identity{}, "", model.ErrUnknownAccessKey
	}
	if err != nil {
		return "", api.Identity{}, "", fmt.Errorf("look up access key's user: %w", err)
	}
	return key.V.Secret, api.Identity{ARN: user.V.ARN, UserID: user.V.ID, AccessKeyID: accessKeyID}, account, nil
}

// RootARN names an account's root user.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

func (d *Directory) lookupSession(ctx context.Context, accessKeyID, token string) (string, api.Identity, string, error) {
	fail := func(err error) (string, api.Identity, string, error) { return "", api.Identity{}, "", err }
	if token == "" {
		return fail(model.ErrSecurityToken)
	}
	s, err := d.openSession(accessKeyID, token)
	if err != nil {
		return fail(err)
	}
	if !d.clock.Now().Before(s.Expires) {
		return fail(model.ErrExpiredToken)
	}
	who := api.Identity{
		ARN: s.ARN, UserID: s.UserID, AccessKeyID: s.AccessKeyID, Root: s.Root,
		SessionTags: s.Tags, SessionPolicy: sessionPolicies(s),
	}
	// Credentials die with the principal that they stand for.
	switch {
	case s.Role != "":
		role, err := tables.Roles.Get(ctx, d.store, s.Account, "", s.Role)
		if errors.Is(err, store.ErrNotFound) || err == nil && role.V.ID != s.RoleID {
			return fail(model.ErrSecurityToken)
		}
		if err != nil {
			return fail(fmt.Errorf("look up session's role: %w", err))
		}
		who.RoleARN = role.V.ARN
	case s.User != "":
		user, err := tables.Users.Get(ctx, d.store, s.Account, "", s.User)
		if errors.Is(err, store.ErrNotFound) || err == nil && s.Federated == "" && user.V.ID != s.UserID {
			return fail(model.ErrSecurityToken)
		}
		if err != nil {
			return fail(fmt.Errorf("look up session's user: %w", err))
		}
	}
	return s.Secret, who, s.Account, nil
}

// sessionPolicies packs a session's policies into the one string that an
// api.Identity has for them: the document itself, or where managed policies
// narrow the session too, a JSON array of documents and ARNs.
func sessionPolicies(s *model.Session) string {
	if len(s.PolicyARNs) == 0 {
		return s.Policy
	}
	list := slices.Clone(s.PolicyARNs)
	if s.Policy != "" {
		list = append(list, s.Policy)
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

func unpackSessionPolicies(packed string) []string {
	var list []string
	switch {
	case packed == "":
		return nil
	case packed[0] == '[' && json.Unmarshal([]byte(packed), &list) == nil:
		return list
	}
	return []string{packed}
}
