package sts

import (
	"context"
	"errors"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/sts"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
)

const (
	// userDuration is how long a user's own session lasts by default, and
	// rootDuration how long a root's lasts at most.
	userDuration = 12 * time.Hour
	rootDuration = time.Hour
	// maxPacked bounds session policies and tags, in bytes.
	maxPacked = 2048
)

// narrow puts session policies on a session.
func (s *Service) narrow(ctx context.Context, session *model.Session, document *string, arns []sts.PolicyDescriptorType) error {
	if document != nil {
		_, err := policy.Parse(*document, policy.Identity)
		if m, ok := errors.AsType[*policy.Malformed](err); ok {
			return sts.NewMalformedPolicyDocumentException("%s", m.Message)
		}
		session.Policy = *document
	}
	for _, p := range arns {
		arn := str(p.Arn)
		if account, _, _, ok := model.IAMNameOf(arn, "policy"); !ok || account != "aws" && account != session.Account {
			return validation("The specified policy ARN %s is not valid.", arn)
		}
		if _, err := s.directory.PolicyDocument(ctx, arn); errors.Is(err, store.ErrNotFound) {
			return sts.NewMalformedPolicyDocumentException("The policy %s does not exist.", arn)
		} else if err != nil {
			return err
		}
		session.PolicyARNs = append(session.PolicyARNs, arn)
	}
	if packed(session) > maxPacked {
		return sts.NewPackedPolicyTooLargeException("Packed policy consumes %d%% of allotted space, please use smaller policy.", packed(session)*100/maxPacked)
	}
	return nil
}

// packed is the room that session policies and tags take.
func packed(s *model.Session) int {
	n := len(s.Policy)
	for _, a := range s.PolicyARNs {
		n += len(a)
	}
	for k, v := range s.Tags {
		n += len(k) + len(v)
	}
	return n
}

// packedSize is that room in per cent, nil where there is nothing to pack.
func packedSize(s *model.Session) *int32 {
	n := packed(s)
	if n == 0 {
		return nil
	}
	return new(int32(max(1, n*100/maxPacked)))
}

// duration reads how long a caller's own session is to last.
func duration(c *api.Call, seconds *int32) time.Duration {
	d := userDuration
	if seconds != nil {
		d = time.Duration(*seconds) * time.Second
	}
	if c.Identity.Root {
		d = min(d, rootDuration)
	}
	return d
}

// GetSessionToken makes temporary credentials of the caller's own.
func (s *Service) GetSessionToken(ctx context.Context, in *sts.GetSessionTokenInput) (*sts.GetSessionTokenOutput, error) {
	c := api.CallFrom(ctx)
	if temporary(c) {
		return nil, denied("Cannot call GetSessionToken with session credentials")
	}
	mfa, err := s.mfa(ctx, c, in.SerialNumber, in.TokenCode)
	if err != nil {
		return nil, err
	}
	session := &model.Session{
		MFA:     mfa,
		Account: c.Account, ARN: c.Identity.ARN, UserID: c.Identity.UserID, Root: c.Identity.Root, User: callersID(c),
	}
	credentials, err := s.mint(session, duration(c, in.DurationSeconds))
	if err != nil {
		return nil, err
	}
	return &sts.GetSessionTokenOutput{Credentials: credentials}, nil
}

// GetFederationToken makes temporary credentials for somebody whom the caller
// vouches for, and whom the given policies narrow.
func (s *Service) GetFederationToken(ctx context.Context, in *sts.GetFederationTokenInput) (*sts.GetFederationTokenOutput, error) {
	c := api.CallFrom(ctx)
	if temporary(c) {
		return nil, denied("Cannot call GetFederationToken with session credentials")
	}
	tags, _, err := sessionTags(nil, in.Tags, nil)
	if err != nil {
		return nil, err
	}
	session := &model.Session{
		Account: c.Account, ARN: federatedARN(c.Account, *in.Name), UserID: c.Account + ":" + *in.Name,
		User: callersID(c), Federated: *in.Name, Tags: tags,
	}
	if err := s.narrow(ctx, session, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	credentials, err := s.mint(session, duration(c, in.DurationSeconds))
	if err != nil {
		return nil, err
	}
	return &sts.GetFederationTokenOutput{
		Credentials:      credentials,
		FederatedUser:    &sts.FederatedUser{Arn: &session.ARN, FederatedUserId: &session.UserID},
		PackedPolicySize: packedSize(session),
	}, nil
}

func federatedARN(account, name string) string {
	return "arn:aws:sts::" + account + ":federated-user/" + name
}

func temporary(c *api.Call) bool {
	return strings.HasPrefix(c.Identity.AccessKeyID, model.IAMSessionKeyPrefix)
}

// callersID is the record id of the calling user, empty for root.
func callersID(c *api.Call) string {
	_, _, name, _ := model.IAMNameOf(c.Identity.ARN, "user")
	return strings.ToLower(name)
}
