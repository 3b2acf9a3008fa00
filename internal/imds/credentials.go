package imds

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/identity"
)

const (
	// instanceService is the service principal that the roles of instances
	// trust.
	instanceService = "ec2.amazonaws.com"
	// sessionTime is how long credentials last, and refreshBefore how long
	// before their end there are new ones.
	sessionTime   = 6 * time.Hour
	refreshBefore = time.Hour
)

// profileInfo tells of the instance profile.
func (s *Service) profileInfo(v *view) (string, error) {
	type info struct {
		Code, LastUpdated string
		ARN               string `json:"InstanceProfileArn"`
		ID                string `json:"InstanceProfileId"`
	}
	return indented(info{"Success", instant(s.Clock.Now()), v.profile.ARN, v.profile.ID})
}

// credentials are those of the instance's role.
func (s *Service) credentials(ctx context.Context, v *view) (string, error) {
	creds, err := s.mint(ctx, v)
	if _, ok := errors.AsType[*identity.CannotAssume](err); ok {
		return indented(struct{ Code, Message, LastUpdated string }{
			"AssumeRoleUnauthorizedAccess",
			"EC2 cannot assume the role " + v.role.Name + ". Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html#troubleshoot_iam-ec2_errors-info-doc.",
			instant(s.Clock.Now()),
		})
	}
	if err != nil {
		return "", err
	}
	type answer struct {
		Code, LastUpdated, Type            string
		AccessKeyID                        string `json:"AccessKeyId"`
		SecretAccessKey, Token, Expiration string
	}
	return indented(answer{
		"Success", instant(creds.Expires.Add(-sessionTime)), "AWS-HMAC", creds.AccessKeyID, creds.Secret, creds.SessionToken, instant(creds.Expires),
	})
}

// mint makes credentials, or finds those that last long enough.
func (s *Service) mint(ctx context.Context, v *view) (identity.Credentials, error) {
	key, now := v.instance.ID+"/"+v.role.ID, s.Clock.Now()
	s.mu.Lock()
	creds, ok := s.minted[key]
	s.mu.Unlock()
	if ok && creds.Expires.Sub(now) > refreshBefore {
		return creds, nil
	}
	creds, err := s.Roles.MintRoleSession(ctx, v.role.ARN, v.instance.ID, instanceService, sessionTime, nil)
	if err != nil {
		return creds, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.minted {
		if c.Expires.Sub(now) <= refreshBefore {
			delete(s.minted, k)
		}
	}
	s.minted[key] = creds
	return creds, nil
}
