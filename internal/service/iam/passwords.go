package iam

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// passwordPolicyID is the record of an account's password policy.
	passwordPolicyID = "policy"
	// minPassword is the least length that a policy may ask for, and the one
	// that it asks for by default; strictPassword is that of accounts without
	// a policy of their own.
	minPassword    = 6
	strictPassword = 8
	// passwordKinds of characters out of four must be in the passwords of
	// accounts without a policy of their own.
	passwordKinds = 3
	// maxFormer is how many former passwords a policy may forbid.
	maxFormer = 24
)

// passwordPolicy is the account's, nil where it has none of its own.
func (s *Service) passwordPolicy(ctx context.Context) (*model.PasswordPolicy, error) {
	row, err := tables.PasswordPolicies.Get(ctx, s.store, api.CallFrom(ctx).Account, "", passwordPolicyID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // an account without a policy is one
	}
	return row.V, err
}

// passwordSymbols are what counts as a symbol in a password.
const passwordSymbols = "!@#$%^&*()_+-=[]{}|'"

// checkPassword applies an account's policy, or without one what IAM asks for
// then.
func checkPassword(p *model.PasswordPolicy, password string) error {
	violated := func(format string, args ...any) error {
		return iam.NewPasswordPolicyViolationException(format, args...)
	}
	upper := strings.ContainsFunc(password, unicode.IsUpper)
	lower := strings.ContainsFunc(password, unicode.IsLower)
	digit := strings.ContainsFunc(password, unicode.IsDigit)
	if p == nil {
		other := strings.ContainsFunc(password, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		kinds := 0
		for _, has := range []bool{upper, lower, digit, other} {
			if has {
				kinds++
			}
		}
		switch {
		case len(password) < strictPassword:
			return violated("Password should have a minimum length of %d", strictPassword)
		case kinds < passwordKinds:
			return violated("Password should have a minimum of %d of the following mix of character types: uppercase, lowercase, numbers, and symbols", passwordKinds)
		}
		return nil
	}
	switch {
	case len(password) < p.MinimumLength:
		return violated("Password should have a minimum length of %d", p.MinimumLength)
	case p.Uppercase && !upper:
		return violated("Password should have at least one uppercase letter")
	case p.Lowercase && !lower:
		return violated("Password should have at least one lowercase letter")
	case p.Numbers && !digit:
		return violated("Password should have at least one number")
	case p.Symbols && !strings.ContainsAny(password, passwordSymbols):
		return violated("Password should have at least one symbol")
	}
	return nil
}

func isTrue(p *bool) bool { return p != nil && *p }

// UpdateAccountPasswordPolicy sets the account's password policy. What is not
// given goes back to its default.
func (s *Service) UpdateAccountPasswordPolicy(ctx context.Context, in *iam.UpdateAccountPasswordPolicyInput) (*iam.UpdateAccountPasswordPolicyOutput, error) {
	p := &model.PasswordPolicy{
		MinimumLength: minPassword, Symbols: isTrue(in.RequireSymbols), Numbers: isTrue(in.RequireNumbers),
		Uppercase: isTrue(in.RequireUppercaseCharacters), Lowercase: isTrue(in.RequireLowercaseCharacters),
		AllowChange: isTrue(in.AllowUsersToChangePassword), HardExpiry: in.HardExpiry,
	}
	if in.MinimumPasswordLength != nil {
		p.MinimumLength = int(*in.MinimumPasswordLength)
	}
	if in.MaxPasswordAge != nil {
		p.MaxAge = int(*in.MaxPasswordAge)
	}
	if in.PasswordReusePrevention != nil {
		p.ReusePrevention = int(*in.PasswordReusePrevention)
	}
	tx := store.NewTxn()
	tables.PasswordPolicies.Put(tx, api.CallFrom(ctx).Account, "", passwordPolicyID, p)
	_, err := tx.Commit(ctx, s.store)
	return &iam.UpdateAccountPasswordPolicyOutput{}, err
}

func noPasswordPolicy(ctx context.Context) error {
	return iam.NewNoSuchEntityException("The Password Policy with domain name %s cannot be found.", api.CallFrom(ctx).Account)
}

// GetAccountPasswordPolicy tells the account's password policy.
func (s *Service) GetAccountPasswordPolicy(ctx context.Context, _ *iam.GetAccountPasswordPolicyInput) (*iam.GetAccountPasswordPolicyOutput, error) {
	p, err := s.passwordPolicy(ctx)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, noPasswordPolicy(ctx)
	}
	out := &iam.PasswordPolicy{
		MinimumPasswordLength: new(int32(p.MinimumLength)), RequireSymbols: &p.Symbols, RequireNumbers: &p.Numbers,
		RequireUppercaseCharacters: &p.Uppercase, RequireLowercaseCharacters: &p.Lowercase,
		AllowUsersToChangePassword: &p.AllowChange, ExpirePasswords: new(p.MaxAge > 0), HardExpiry: p.HardExpiry,
	}
	if p.MaxAge > 0 {
		out.MaxPasswordAge = new(int32(p.MaxAge))
	}
	if p.ReusePrevention > 0 {
		out.PasswordReusePrevention = new(int32(p.ReusePrevention))
	}
	return &iam.GetAccountPasswordPolicyOutput{PasswordPolicy: out}, nil
}

// DeleteAccountPasswordPolicy takes the account's password policy away.
func (s *Service) DeleteAccountPasswordPolicy(ctx context.Context, _ *iam.DeleteAccountPasswordPolicyInput) (*iam.DeleteAccountPasswordPolicyOutput, error) {
	return &iam.DeleteAccountPasswordPolicyOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := tables.PasswordPolicies.Get(ctx, s.store, api.CallFrom(ctx).Account, "", passwordPolicyID)
		if err != nil {
			return absent(err, noPasswordPolicy(ctx))
		}
		tables.PasswordPolicies.Delete(tx, row)
		return nil
	})
}
