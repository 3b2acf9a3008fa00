package sts

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/identity"
)

// mfa checks the code of an MFA device, where a request brings one.
func (s *Service) mfa(ctx context.Context, c *api.Call, serial, code *string) (bool, error) {
	switch {
	case serial == nil && code == nil:
		return false, nil
	case serial == nil || code == nil:
		return false, denied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	}
	err := s.directory.VerifyMFA(ctx, c.Identity.ARN, *serial, *code)
	switch {
	case errors.Is(err, identity.ErrMFADevice):
		return false, denied("MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
	case errors.Is(err, identity.ErrMFACode):
		return false, denied("MultiFactorAuthentication failed with invalid MFA one time pass code. ")
	}
	return err == nil, err
}
