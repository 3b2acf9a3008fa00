package iam

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// passwordRounds is the work that trying a password takes.
const passwordRounds = 600_000

// setPassword puts a new password's hash into a login profile, if the account's
// policy allows the password.
func (s *Service) setPassword(ctx context.Context, l *model.LoginProfile, password string) error {
	p, err := s.passwordPolicy(ctx)
	if err != nil {
		return err
	}
	if err := checkPassword(p, password); err != nil {
		return err
	}
	// A user's hashes share their salt, so that one look tells whether a
	// password is one of the former ones.
	if l.Salt == nil {
		l.Salt, l.Rounds = make([]byte, 16), passwordRounds
		_, _ = rand.Read(l.Salt) // never fails
	}
	hash, err := hashPassword(l, password)
	if err != nil {
		return err
	}
	reuse := 0
	if p != nil {
		reuse = p.ReusePrevention
	}
	used := l.Former
	if l.Hash != nil {
		used = slices.Insert(slices.Clone(used), 0, l.Hash)
	}
	for _, h := range used[:min(len(used), reuse)] {
		if subtle.ConstantTimeCompare(h, hash) == 1 {
			return iam.NewPasswordPolicyViolationException("The password was used recently: the account's password policy forbids to use one of the last %d again.", reuse)
		}
	}
	l.Hash, l.Former = hash, used[:min(len(used), maxFormer)]
	return nil
}

func hashPassword(l *model.LoginProfile, password string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, l.Salt, l.Rounds, sha256.Size)
}

func noLogin(user string) error {
	return iam.NewNoSuchEntityException("Login Profile for User %s cannot be found.", user)
}

// changeLogin lets change alter a user's login profile, nil where there is
// none.
func (s *Service) changeLogin(ctx context.Context, name *string, change func(u *model.User) error) (*model.User, error) {
	given, err := callersName(ctx, name)
	if err != nil {
		return nil, err
	}
	var out *model.User
	err = s.write(ctx, func(tx *store.Txn) error {
		row, err := s.user(ctx, given)
		if err != nil {
			return err
		}
		out = row.Copy()
		if err := change(out); err != nil {
			return err
		}
		tables.Users.Replace(tx, row, out)
		return nil
	})
	return out, err
}

func describedLogin(u *model.User) *iam.LoginProfile {
	return &iam.LoginProfile{UserName: &u.Name, CreateDate: &u.Login.CreateDate, PasswordResetRequired: &u.Login.ResetRequired}
}

// CreateLoginProfile gives a user a password.
func (s *Service) CreateLoginProfile(ctx context.Context, in *iam.CreateLoginProfileInput) (*iam.CreateLoginProfileOutput, error) {
	if in.Password == nil {
		return nil, fault(400, "ValidationError", "1 validation error detected: Value null at 'password' failed to satisfy constraint: Member must not be null")
	}
	l := &model.LoginProfile{CreateDate: now(api.CallFrom(ctx)), ResetRequired: in.PasswordResetRequired != nil && *in.PasswordResetRequired}
	if err := s.setPassword(ctx, l, *in.Password); err != nil {
		return nil, err
	}
	u, err := s.changeLogin(ctx, in.UserName, func(u *model.User) error {
		if u.Login != nil {
			return iam.NewEntityAlreadyExistsException("Login Profile for user %s already exists.", u.Name)
		}
		u.Login = l
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateLoginProfileOutput{LoginProfile: describedLogin(u)}, nil
}

// GetLoginProfile tells whether a user has a password.
func (s *Service) GetLoginProfile(ctx context.Context, in *iam.GetLoginProfileInput) (*iam.GetLoginProfileOutput, error) {
	name, err := callersName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	row, err := s.user(ctx, name)
	if err != nil {
		return nil, err
	}
	if row.V.Login == nil {
		return nil, noLogin(row.V.Name)
	}
	return &iam.GetLoginProfileOutput{LoginProfile: describedLogin(row.V)}, nil
}

// UpdateLoginProfile changes a user's password.
func (s *Service) UpdateLoginProfile(ctx context.Context, in *iam.UpdateLoginProfileInput) (*iam.UpdateLoginProfileOutput, error) {
	_, err := s.changeLogin(ctx, in.UserName, func(u *model.User) error {
		if u.Login == nil {
			return noLogin(u.Name)
		}
		if in.PasswordResetRequired != nil {
			u.Login.ResetRequired = *in.PasswordResetRequired
		}
		if in.Password == nil {
			return nil
		}
		return s.setPassword(ctx, u.Login, *in.Password)
	})
	return &iam.UpdateLoginProfileOutput{}, err
}

// ChangePassword lets a user change its own password.
func (s *Service) ChangePassword(ctx context.Context, in *iam.ChangePasswordInput) (*iam.ChangePasswordOutput, error) {
	name, err := callersName(ctx, nil)
	if err != nil {
		return nil, iam.NewInvalidUserTypeException("Only IAM Users can change their own password.")
	}
	_, err = s.changeLogin(ctx, &name, func(u *model.User) error {
		if u.Login == nil {
			return noLogin(u.Name)
		}
		old, err := hashPassword(u.Login, *in.OldPassword)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare(old, u.Login.Hash) != 1 {
			return fault(403, "AccessDenied", "The old password was incorrect.")
		}
		u.Login.ResetRequired = false
		return s.setPassword(ctx, u.Login, *in.NewPassword)
	})
	return &iam.ChangePasswordOutput{}, err
}

// DeleteLoginProfile takes a user's password away.
func (s *Service) DeleteLoginProfile(ctx context.Context, in *iam.DeleteLoginProfileInput) (*iam.DeleteLoginProfileOutput, error) {
	_, err := s.changeLogin(ctx, in.UserName, func(u *model.User) error {
		if u.Login == nil {
			return noLogin(u.Name)
		}
		u.Login = nil
		return nil
	})
	return &iam.DeleteLoginProfileOutput{}, err
}
