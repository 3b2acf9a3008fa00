package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// PoliciesOf is the policies of a user, group or role, with the context keys
// that describe it; store.ErrNotFound when there is none by that ARN.
func (d *Directory) PoliciesOf(ctx context.Context, arn string) (*policy.Set, policy.Context, error) {
	set, keys := &policy.Set{}, policy.Context{}
	keys.Set("aws:PrincipalArn", arn)
	if account, _, name, ok := model.IAMNameOf(arn, "user"); ok {
		row, err := tables.Users.Get(ctx, d.store, account, "", strings.ToLower(name))
		if err != nil || row.V.ARN != arn {
			return nil, nil, notFound(arn, err)
		}
		keys.Set("aws:PrincipalAccount", account)
		keys.Set("aws:PrincipalType", "User")
		keys.Set("aws:userid", row.V.ID)
		return set, keys, d.addUser(ctx, account, row.Key.ID, true, set, keys)
	}
	if account, _, name, ok := model.IAMNameOf(arn, "group"); ok {
		row, err := tables.Groups.Get(ctx, d.store, account, "", strings.ToLower(name))
		if err != nil || row.V.ARN != arn {
			return nil, nil, notFound(arn, err)
		}
		return set, keys, d.addIdentity(ctx, &row.V.IAMPrincipal, set)
	}
	if _, err := d.Role(ctx, arn); err != nil {
		return nil, nil, err
	}
	account, _, _, _ := model.IAMNameOf(arn, "role")
	keys.Set("aws:PrincipalAccount", account)
	keys.Set("aws:PrincipalType", "AssumedRole")
	return set, keys, d.addRole(ctx, arn, set, keys)
}

func notFound(arn string, err error) error {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s: %w", arn, store.ErrNotFound)
	}
	return err
}
