package acm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ImportCertificate implements acm.Handler.
func (s *Service) ImportCertificate(ctx context.Context, in *acm.ImportCertificateInput) (*acm.ImportCertificateOutput, error) {
	c := api.CallFrom(ctx)
	if in.CertificateArn != nil && len(in.Tags) > 0 {
		return nil, invalid("Tagging is not permitted on re-import.")
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	got, err := readImport(in.Certificate, in.PrivateKey, in.CertificateChain, c.Time)
	if err != nil {
		return nil, err
	}
	if in.CertificateArn != nil {
		return s.reimport(ctx, *in.CertificateArn, got)
	}
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	v := &model.Certificate{
		ID: id.UUID(), Type: model.CertificateImported, Status: model.CertificateIssued,
		Transparency: string(acm.CertificateTransparencyLoggingPreferenceDisabled), CreatedAt: now(ctx), Tags: tags.Initial(),
	}
	v.ARN = model.MakeARN("acm", c.Region, c.Account, "certificate/"+v.ID)
	s.take(ctx, v, got)
	tx := store.NewTxn()
	tables.Certificates.Create(tx, c.Account, c.Region, v.ID, v)
	if _, err := tx.Commit(ctx, s.Store); err != nil {
		return nil, fmt.Errorf("write certificate: %w", err)
	}
	return &acm.ImportCertificateOutput{CertificateArn: &v.ARN}, nil
}

// take makes v the certificate that was imported.
func (s *Service) take(ctx context.Context, v *model.Certificate, got *imported) {
	v.Names, v.DomainName = got.names, ""
	if len(got.names) > 0 {
		v.DomainName = got.names[0]
	}
	v.Leaf, v.Chain, v.KeyAlgorithm = got.leaf, got.chain, got.algorithm
	v.Key = s.Key.Seal(model.CertificateKeyName(v.ARN), []byte(got.key))
	v.NotBefore, v.NotAfter = got.certificate.NotBefore.UTC(), got.certificate.NotAfter.UTC()
	v.ImportedAt = now(ctx)
}

// reimport puts another certificate in the place of an imported one. What may
// change with it is told by
// https://docs.aws.amazon.com/acm/latest/userguide/import-reimport.html
func (s *Service) reimport(ctx context.Context, arn string, got *imported) (*acm.ImportCertificateOutput, error) {
	err := s.update(ctx, arn, func(v *model.Certificate) error {
		if v.Type != model.CertificateImported {
			return invalid("Certificate %s cannot be re-imported because it was not imported.", arn)
		}
		old, err := parsed(v)
		switch {
		case err != nil:
			return err
		case v.KeyAlgorithm != got.algorithm:
			return invalid("The key type and size of a certificate cannot be changed on re-import: %s is not %s.", got.algorithm, v.KeyAlgorithm)
		case len(v.Names) > 0 && len(got.names) == 0:
			return invalid("All of the domain names cannot be removed on re-import.")
		case lost(keyUsages(old), keyUsages(got.certificate)):
			return invalid("Key usage values cannot be removed on re-import.")
		case lost(extendedNames(old), extendedNames(got.certificate)):
			return invalid("Extended key usage values cannot be removed on re-import.")
		}
		s.take(ctx, v, got)
		v.Generation++
		return nil
	})
	if _, ok := errors.AsType[*acm.ResourceNotFoundException](err); ok {
		err = acm.NewResourceNotFoundException("Could not find certificate %s.", arn)
	}
	if err != nil {
		return nil, err
	}
	return &acm.ImportCertificateOutput{CertificateArn: &arn}, nil
}

// lost tells whether one of what was is not among what is.
func lost[T comparable](was, is []T) bool {
	return slices.ContainsFunc(was, func(v T) bool { return !slices.Contains(is, v) })
}
