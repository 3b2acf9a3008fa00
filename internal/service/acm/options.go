package acm

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// UpdateCertificateOptions implements acm.Handler.
func (s *Service) UpdateCertificateOptions(ctx context.Context, in *acm.UpdateCertificateOptionsInput) (*acm.UpdateCertificateOptionsOutput, error) {
	return &acm.UpdateCertificateOptionsOutput{}, s.update(ctx, *in.CertificateArn, func(v *model.Certificate) error {
		switch {
		case v.Type != model.CertificateAmazonIssued:
			return acm.NewInvalidStateException("The options of certificate %s cannot be updated: it was imported.", v.ARN)
		case v.Status != model.CertificateIssued:
			return acm.NewInvalidStateException("The options of certificate %s cannot be updated while it is %s.", v.ARN, v.Status)
		case in.Options.Export != "" && in.Options.Export != export(v):
			return acm.NewInvalidStateException("Whether certificate %s can be exported was decided when it was requested.", v.ARN)
		}
		want := string(in.Options.CertificateTransparencyLoggingPreference)
		if want == "" || want == v.Transparency {
			return store.ErrUnchanged
		}
		v.Transparency = want
		return nil
	})
}

// ResendValidationEmail implements acm.Handler: there is no mail to send again.
func (s *Service) ResendValidationEmail(ctx context.Context, in *acm.ResendValidationEmailInput) (*acm.ResendValidationEmailOutput, error) {
	row, err := s.read(ctx, *in.CertificateArn)
	if err != nil {
		return nil, err
	}
	return nil, acm.NewInvalidStateException("No mail is sent for certificate %s: its domains are validated without.", row.V.ARN)
}

// RenewCertificate implements acm.Handler.
func (s *Service) RenewCertificate(ctx context.Context, in *acm.RenewCertificateInput) (*acm.RenewCertificateOutput, error) {
	at := now(ctx)
	return &acm.RenewCertificateOutput{}, s.update(ctx, *in.CertificateArn, func(v *model.Certificate) error {
		switch {
		case v.Status == model.CertificatePending || !v.RenewalAskedAt.IsZero():
			return inProgress(v)
		case v.Type != model.CertificateAmazonIssued, v.Status != model.CertificateIssued:
			return invalid("Certificate %s is not eligible for renewal.", v.ARN)
		}
		v.RenewalAskedAt = at
		return nil
	})
}

const (
	configuration = "configuration"
	// defaultExpiry is how many days before a certificate expires events begin.
	defaultExpiry = 45
)

// GetAccountConfiguration implements acm.Handler.
func (s *Service) GetAccountConfiguration(ctx context.Context, _ *acm.GetAccountConfigurationInput) (*acm.GetAccountConfigurationOutput, error) {
	row, err := s.configured(ctx)
	if err != nil {
		return nil, err
	}
	days := int32(defaultExpiry)
	if row.V != nil {
		days = row.V.DaysBeforeExpiry
	}
	return &acm.GetAccountConfigurationOutput{ExpiryEvents: &acm.ExpiryEventsConfiguration{DaysBeforeExpiry: &days}}, nil
}

// configured reads an account's settings; V is nil where it has none.
func (s *Service) configured(ctx context.Context) (store.Row[model.CertificateConfiguration], error) {
	c := api.CallFrom(ctx)
	row, err := tables.CertificateConfigurations.Get(ctx, s.Store, c.Account, c.Region, configuration)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return row, fmt.Errorf("read configuration: %w", err)
	}
	return row, nil
}

// PutAccountConfiguration implements acm.Handler.
func (s *Service) PutAccountConfiguration(ctx context.Context, in *acm.PutAccountConfigurationInput) (*acm.PutAccountConfigurationOutput, error) {
	c := api.CallFrom(ctx)
	v := &model.CertificateConfiguration{DaysBeforeExpiry: defaultExpiry, Token: *in.IdempotencyToken}
	if in.ExpiryEvents != nil && in.ExpiryEvents.DaysBeforeExpiry != nil {
		v.DaysBeforeExpiry = *in.ExpiryEvents.DaysBeforeExpiry
	}
	for {
		row, err := s.configured(ctx)
		if err != nil {
			return nil, err
		}
		tx := store.NewTxn()
		switch {
		case row.V == nil:
			tables.CertificateConfigurations.Create(tx, c.Account, c.Region, configuration, v)
		case row.V.Token != v.Token:
			tables.CertificateConfigurations.Replace(tx, row, v)
		case *row.V != *v:
			return nil, acm.NewConflictException("The idempotency token %s was used with other parameters.", v.Token)
		}
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return &acm.PutAccountConfigurationOutput{}, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write configuration: %w", err)
		}
	}
}
