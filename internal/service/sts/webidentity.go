package sts

import (
	"context"
	"errors"
	"strconv"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// AssumeRoleWithWebIdentity makes credentials of a role for who holds a token
// of an identity provider that the role trusts. The request is not signed.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	account, _, _, ok := model.IAMNameOf(*in.RoleArn, "role")
	switch {
	case !ok:
		return nil, validation("%s is invalid", *in.RoleArn)
	case in.ProviderId != nil:
		return nil, validation("ProviderId is for OAuth 2.0 access tokens, which are not served: tokens of OpenID Connect providers name their issuer.")
	}
	who, err := s.directory.VerifyWebIdentity(ctx, account, *in.WebIdentityToken)
	if err != nil {
		return nil, tokenFault(err)
	}
	role, err := s.trusted(ctx, in, who)
	if err != nil {
		return nil, err
	}
	duration := defaultDuration
	if in.DurationSeconds != nil {
		duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	if duration > time.Duration(role.MaxSessionDuration)*time.Second {
		return nil, validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	session := model.NewRoleSession(role, *in.RoleSessionName)
	session.Provider = who.Provider.ARN
	if err := s.narrow(ctx, &session, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	credentials, err := s.mint(&session, duration)
	if err != nil {
		return nil, err
	}
	return &sts.AssumeRoleWithWebIdentityOutput{
		Credentials:                 credentials,
		AssumedRoleUser:             &sts.AssumedRoleUser{Arn: &session.ARN, AssumedRoleId: &session.UserID},
		Audience:                    &who.Audience,
		Provider:                    &who.Provider.ARN,
		SubjectFromWebIdentityToken: &who.Subject,
		PackedPolicySize:            packedSize(&session),
	}, nil
}

// trusted reads the role, and wants it to trust the token. A role that is not
// there is refused as one that does not trust.
func (s *Service) trusted(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, who *identity.WebIdentity) (*model.Role, error) {
	refused := denied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
	role, err := s.directory.Role(ctx, *in.RoleArn)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	conditions := map[string]string{"sts:RoleSessionName": *in.RoleSessionName}
	if in.DurationSeconds != nil {
		conditions["sts:DurationSeconds"] = strconv.Itoa(int(*in.DurationSeconds))
	}
	err = s.directory.AuthorizeWebIdentity(ctx, api.CallFrom(ctx), role, who, conditions)
	if _, ok := errors.AsType[*model.Denied](err); ok {
		return nil, refused
	}
	return role, err
}

// tokenFault words what is wrong with a token.
func tokenFault(err error) error {
	if e, ok := errors.AsType[*identity.InvalidToken](err); ok {
		return sts.NewInvalidIdentityTokenException("%s", e.Message)
	}
	if e, ok := errors.AsType[*identity.ExpiredToken](err); ok {
		return sts.NewExpiredTokenException("%s", e.Error())
	}
	if _, ok := errors.AsType[*identity.ProviderUnreachable](err); ok {
		return sts.NewInvalidIdentityTokenException("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	return err
}
