// Package sts serves AWS Security Token Service: who the caller is, and
// temporary credentials.
package sts

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
)

// Directory knows principals and makes credentials.
type Directory interface {
	// Role reads a role by its ARN; store.ErrNotFound when there is none.
	Role(ctx context.Context, arn string) (*model.Role, error)
	// AuthorizeAssume decides by the role's trust policy and the caller's own
	// whether the caller may do action on the role; *model.Denied when not.
	AuthorizeAssume(ctx context.Context, c *api.Call, action string, role *model.Role, conditions map[string]string) error
	// PolicyDocument is the text of a managed policy; store.ErrNotFound when
	// there is none.
	PolicyDocument(ctx context.Context, arn string) (string, error)
	// Session is the session whose credentials signed the request, nil for
	// long-term keys.
	Session(accessKeyID string) *model.Session
	// VerifyMFA checks a code of a user's MFA device: identity.ErrMFADevice or
	// identity.ErrMFACode.
	VerifyMFA(ctx context.Context, userARN, serial, code string) error
	// DecodeMessage is the JSON in an encoded authorization message of the
	// account's; identity.ErrMessage where it is none.
	DecodeMessage(account, encoded string) (string, error)
	// VerifyWebIdentity checks a token of an identity provider of the account's.
	VerifyWebIdentity(ctx context.Context, account, token string) (*identity.WebIdentity, error)
	// AuthorizeWebIdentity decides by the role's trust policy whether who holds
	// the token may assume the role; *model.Denied when not.
	AuthorizeWebIdentity(ctx context.Context, c *api.Call, role *model.Role, who *identity.WebIdentity, conditions map[string]string) error
	// Mint sets a session's key, secret and times and returns its token.
	Mint(s *model.Session, duration time.Duration) (token string, err error)
}

// Config is what a Service needs; Directory is required.
type Config struct {
	Directory Directory
	// RootMayAssume lets an account's root user assume roles, which AWS
	// forbids. A server for development that has no key but the root's sets it.
	RootMayAssume bool
}

// Service implements STS's operations.
type Service struct {
	directory     Directory
	rootMayAssume bool
}

var (
	_ sts.Handler        = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes the service.
func New(cfg Config) *Service {
	return &Service{directory: cfg.Directory, rootMayAssume: cfg.RootMayAssume}
}

// ScopeOf names the role or the federated user that an operation is about.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	switch in := in.(type) {
	case *sts.AssumeRoleInput:
		return []string{str(in.RoleArn)}, nil
	case *sts.GetFederationTokenInput:
		return []string{federatedARN(api.CallFrom(ctx).Account, str(in.Name))}, nil
	}
	return nil, nil
}

// GetCallerIdentity tells who the caller is. It needs no permission.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	c := api.CallFrom(ctx)
	return &sts.GetCallerIdentityOutput{Account: &c.Account, Arn: &c.Identity.ARN, UserId: &c.Identity.UserID}, nil
}

// GetAccessKeyInfo tells which account an access key id belongs to.
func (s *Service) GetAccessKeyInfo(ctx context.Context, in *sts.GetAccessKeyInfoInput) (*sts.GetAccessKeyInfoOutput, error) {
	account, ok := model.AccountOfAccessKeyID(*in.AccessKeyId)
	if c := api.CallFrom(ctx); !ok && *in.AccessKeyId == c.Identity.AccessKeyID {
		account, ok = c.Account, true
	}
	if !ok {
		return nil, validation("Invalid access key id: %s", *in.AccessKeyId)
	}
	return &sts.GetAccessKeyInfoOutput{Account: &account}, nil
}

// DecodeAuthorizationMessage tells what an encoded message of a denial holds.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, in *sts.DecodeAuthorizationMessageInput) (*sts.DecodeAuthorizationMessageOutput, error) {
	text, err := s.directory.DecodeMessage(api.CallFrom(ctx).Account, *in.EncodedMessage)
	if errors.Is(err, identity.ErrMessage) {
		return nil, sts.NewInvalidAuthorizationMessageException("Message is not valid")
	}
	if err != nil {
		return nil, err
	}
	return &sts.DecodeAuthorizationMessageOutput{DecodedMessage: &text}, nil
}

// mint makes the credentials of a session.
func (s *Service) mint(session *model.Session, duration time.Duration) (*sts.Credentials, error) {
	token, err := s.directory.Mint(session, duration)
	if err != nil {
		return nil, err
	}
	return &sts.Credentials{
		AccessKeyId: &session.AccessKeyID, SecretAccessKey: &session.Secret,
		SessionToken: &token, Expiration: &session.Expires,
	}, nil
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func validation(format string, args ...any) error {
	return api.NewFault("ValidationError", format, args...)
}

func denied(format string, args ...any) error {
	f := api.NewFault("AccessDenied", format, args...)
	f.Status = 403
	return f
}
