package acm

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DescribeCertificate implements acm.Handler.
func (s *Service) DescribeCertificate(ctx context.Context, in *acm.DescribeCertificateInput) (*acm.DescribeCertificateOutput, error) {
	row, err := s.read(ctx, *in.CertificateArn)
	if err != nil {
		return nil, err
	}
	users, err := s.users(ctx, row)
	if err != nil {
		return nil, err
	}
	v, at := row.V, now(ctx)
	d := &acm.CertificateDetail{
		CertificateArn: &v.ARN, Type: acm.CertificateType(v.Type), Status: status(v, at),
		DomainName: opt(v.DomainName), SubjectAlternativeNames: v.Names, Subject: new("CN=" + v.DomainName),
		KeyAlgorithm: acm.KeyAlgorithm(v.KeyAlgorithm), InUseBy: users, Options: options(v),
		CreatedAt: when(v.CreatedAt), ImportedAt: when(v.ImportedAt), IssuedAt: when(v.IssuedAt), NotBefore: when(v.NotBefore), NotAfter: when(v.NotAfter),
		RevokedAt: when(v.RevokedAt), RevocationReason: acm.RevocationReason(v.RevocationReason),
		RenewalEligibility:      eligibility(v, len(users) > 0),
		DomainValidationOptions: validations(v, api.CallFrom(ctx).Account),
	}
	if users == nil {
		d.InUseBy = []string{}
	}
	leaf, err := parsed(v)
	if err != nil {
		return nil, err
	}
	if leaf != nil {
		d.Subject, d.Issuer = opt(leaf.Subject.String()), opt(issuer(leaf))
		d.Serial, d.SignatureAlgorithm = new(serial(leaf)), new(signature(leaf))
		for _, u := range keyUsages(leaf) {
			d.KeyUsages = append(d.KeyUsages, acm.KeyUsage{Name: u})
		}
		d.ExtendedKeyUsages = extended(leaf)
	}
	switch {
	case !v.RenewalAskedAt.IsZero():
		d.RenewalSummary = &acm.RenewalSummary{RenewalStatus: acm.RenewalStatusPendingAutoRenewal, UpdatedAt: &v.RenewalAskedAt, DomainValidationOptions: d.DomainValidationOptions}
	case !v.RenewedAt.IsZero():
		d.RenewalSummary = &acm.RenewalSummary{RenewalStatus: acm.RenewalStatusSuccess, UpdatedAt: &v.RenewedAt, DomainValidationOptions: d.DomainValidationOptions}
	}
	return &acm.DescribeCertificateOutput{Certificate: d}, nil
}

// users are the load balancers that use a certificate.
func (s *Service) users(ctx context.Context, row store.Row[model.Certificate]) ([]string, error) {
	users, err := certificates.Users(ctx, s.Store, row.Key.Account, row.Key.Region)
	return users[row.V.ARN], err
}

func options(v *model.Certificate) *acm.CertificateOptions {
	return &acm.CertificateOptions{
		CertificateTransparencyLoggingPreference: acm.CertificateTransparencyLoggingPreference(v.Transparency),
		Export:                                   export(v),
	}
}

func export(v *model.Certificate) acm.CertificateExport {
	if v.Exportable {
		return acm.CertificateExportEnabled
	}
	return acm.CertificateExportDisabled
}

// eligibility tells whether a certificate is renewed by itself: those are, that
// were requested and that something depends on.
func eligibility(v *model.Certificate, used bool) acm.RenewalEligibility {
	if v.Type == model.CertificateAmazonIssued && v.Status == model.CertificateIssued && (used || v.Exported) {
		return acm.RenewalEligibilityEligible
	}
	return acm.RenewalEligibilityIneligible
}

// mailboxes are those of a domain that are asked.
// https://docs.aws.amazon.com/acm/latest/userguide/email-validation.html
var mailboxes = []string{"administrator", "hostmaster", "postmaster", "webmaster", "admin"}

// validations tell how each name of a requested certificate is validated.
func validations(v *model.Certificate, account string) []acm.DomainValidation {
	if v.Type != model.CertificateAmazonIssued {
		return nil
	}
	state := acm.DomainStatusSuccess
	if v.Status == model.CertificatePending {
		state = acm.DomainStatusPendingValidation
	}
	out := make([]acm.DomainValidation, 0, len(v.Names))
	for _, n := range v.Names {
		d := acm.DomainValidation{DomainName: new(n), ValidationDomain: new(n), ValidationStatus: state, ValidationMethod: acm.ValidationMethod(v.ValidationMethod)}
		if domain := v.ValidationDomains[n]; domain != "" {
			d.ValidationDomain = &domain
		}
		if v.ValidationMethod == model.ValidationDNS {
			d.ResourceRecord = record(account, n)
		} else {
			for _, box := range mailboxes {
				d.ValidationEmails = append(d.ValidationEmails, box+"@"+strings.TrimPrefix(*d.ValidationDomain, "*."))
			}
		}
		out = append(out, d)
	}
	return out
}

// record is what an account puts into a domain's zone: the same for all of its
// certificates, and for the domain's wildcard.
func record(account, name string) *acm.ResourceRecord {
	name = strings.TrimPrefix(name, "*.")
	label, value, zone := digest("name", account, name), digest("value", account, name), digest("zone", account, name)
	letters := strings.Map(func(r rune) rune {
		if r <= '9' {
			return r - '0' + 'q'
		}
		return r
	}, zone[:10])
	return &acm.ResourceRecord{Name: new("_" + label + "." + name + "."), Type: acm.RecordTypeCname, Value: new("_" + value + "." + letters + ".acm-validations.aws.")}
}

// GetCertificate implements acm.Handler.
func (s *Service) GetCertificate(ctx context.Context, in *acm.GetCertificateInput) (*acm.GetCertificateOutput, error) {
	row, err := s.read(ctx, *in.CertificateArn)
	if err != nil {
		return nil, err
	}
	if row.V.Leaf == "" {
		return nil, inProgress(row.V)
	}
	return &acm.GetCertificateOutput{Certificate: new(strings.TrimSpace(row.V.Leaf)), CertificateChain: opt(strings.TrimSpace(row.V.Chain))}, nil
}

func inProgress(v *model.Certificate) error {
	return acm.NewRequestInProgressException("The certificate request is in process and the certificate %s is not yet available.", v.ARN)
}

// DeleteCertificate implements acm.Handler.
func (s *Service) DeleteCertificate(ctx context.Context, in *acm.DeleteCertificateInput) (*acm.DeleteCertificateOutput, error) {
	for {
		row, err := s.read(ctx, *in.CertificateArn)
		if err != nil {
			return nil, err
		}
		tx := store.NewTxn()
		if err := s.unused(ctx, tx, row); err != nil {
			return nil, err
		}
		tables.Certificates.Delete(tx, row)
		if _, err := tx.Commit(ctx, s.Store); err == nil {
			return &acm.DeleteCertificateOutput{}, nil
		} else if !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
}

// unused fails where a load balancer uses the certificate, and makes tx fail where
// one begins to.
func (s *Service) unused(ctx context.Context, tx *store.Txn, row store.Row[model.Certificate]) error {
	users, err := certificates.Uses(ctx, s.Store, tx, row.Key, row.V.ARN)
	if err == nil && len(users) > 0 {
		err = acm.NewResourceInUseException("Certificate %s in account %s is in use.", row.V.ARN, row.Key.Account)
	}
	return err
}
