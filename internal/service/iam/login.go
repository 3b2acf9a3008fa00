package iam

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"unicode"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// passwordRounds is the work that trying a password takes.
	passwordRounds = 600_000
	minPassword    = 8
	// passwordKinds of characters out of four must be in a password: upper and
	// lower case, digits and others.
	passwordKinds = 3
)

// checkPassword applies the policy of accounts that have none of their own.
func checkPassword(p string) error {
	var upper, lower, digit, other int
	for _, r := range p {
		switch {
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	switch {
	case len(p) < minPassword:
		return iam.NewPasswordPolicyViolationException("Password should have a minimum length of %d", minPassword)
	case upper+lower+digit+other < passwordKinds:
		return iam.NewPasswordPolicyViolationException("Password should have a minimum of %d of the following mix of character types: uppercase, lowercase, numbers, and symbols", passwordKinds)
	}
	return nil
}

// setPassword puts a new password's hash into a login profile.
func setPassword(l *model.LoginProfile, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	l.Salt = make([]byte, 16)
	_, _ = rand.Read(l.Salt) // never fails
	l.Rounds = passwordRounds
	var err error
	l.Hash, err = pbkdf2.Key(sha256.New, password, l.Salt, l.Rounds, sha256.Size)
	return err
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
	if err := setPassword(l, *in.Password); err != nil {
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
	fresh := &model.LoginProfile{}
	if in.Password != nil {
		if err := setPassword(fresh, *in.Password); err != nil {
			return nil, err
		}
	}
	_, err := s.changeLogin(ctx, in.UserName, func(u *model.User) error {
		if u.Login == nil {
			return noLogin(u.Name)
		}
		if in.Password != nil {
			u.Login.Hash, u.Login.Salt, u.Login.Rounds = fresh.Hash, fresh.Salt, fresh.Rounds
		}
		if in.PasswordResetRequired != nil {
			u.Login.ResetRequired = *in.PasswordResetRequired
		}
		return nil
	})
	return &iam.UpdateLoginProfileOutput{}, err
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

// userNamed checks that the user of a request exists.
func (s *Service) userNamed(ctx context.Context, name *string) error {
	given, err := callersName(ctx, name)
	if err != nil {
		if api.CallFrom(ctx).Identity.Root {
			return nil // the root user's own
		}
		return err
	}
	_, err = s.user(ctx, given)
	return err
}

// ListMFADevices lists a user's MFA devices. None can be made: EnableMFADevice
// is not served.
func (s *Service) ListMFADevices(ctx context.Context, in *iam.ListMFADevicesInput) (*iam.ListMFADevicesOutput, error) {
	return &iam.ListMFADevicesOutput{MFADevices: []iam.MFADevice{}, IsTruncated: new(false)}, s.userNamed(ctx, in.UserName)
}

// ListVirtualMFADevices lists the account's virtual MFA devices. None can be
// made: CreateVirtualMFADevice is not served.
func (s *Service) ListVirtualMFADevices(context.Context, *iam.ListVirtualMFADevicesInput) (*iam.ListVirtualMFADevicesOutput, error) {
	return &iam.ListVirtualMFADevicesOutput{VirtualMFADevices: []iam.VirtualMFADevice{}, IsTruncated: new(false)}, nil
}

// ListSSHPublicKeys lists a user's SSH keys. None can be made:
// UploadSSHPublicKey is not served.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *iam.ListSSHPublicKeysInput) (*iam.ListSSHPublicKeysOutput, error) {
	return &iam.ListSSHPublicKeysOutput{SSHPublicKeys: []iam.SSHPublicKeyMetadata{}, IsTruncated: new(false)}, s.userNamed(ctx, in.UserName)
}

// ListServiceSpecificCredentials lists a user's credentials for single
// services. None can be made: CreateServiceSpecificCredential is not served.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *iam.ListServiceSpecificCredentialsInput) (*iam.ListServiceSpecificCredentialsOutput, error) {
	return &iam.ListServiceSpecificCredentialsOutput{
		ServiceSpecificCredentials: []iam.ServiceSpecificCredentialMetadata{}, IsTruncated: new(false),
	}, s.userNamed(ctx, in.UserName)
}

// ListSigningCertificates lists a user's certificates. None can be made:
// UploadSigningCertificate is not served.
func (s *Service) ListSigningCertificates(ctx context.Context, in *iam.ListSigningCertificatesInput) (*iam.ListSigningCertificatesOutput, error) {
	return &iam.ListSigningCertificatesOutput{Certificates: []iam.SigningCertificate{}, IsTruncated: new(false)}, s.userNamed(ctx, in.UserName)
}
