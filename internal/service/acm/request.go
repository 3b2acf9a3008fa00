package acm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// maxNames is the quota of names per certificate.
	maxNames = 10
	// tokenLife is how long a token stands for its request.
	tokenLife = time.Hour
)

// requestable are the algorithms of certificates that are not imported.
var requestable = []acm.KeyAlgorithm{acm.KeyAlgorithmRsa2048, acm.KeyAlgorithmEcPrime256v1, acm.KeyAlgorithmEcSecp384r1}

// RequestCertificate implements acm.Handler.
func (s *Service) RequestCertificate(ctx context.Context, in *acm.RequestCertificateInput) (*acm.RequestCertificateOutput, error) {
	c := api.CallFrom(ctx)
	v, err := requested(in)
	if err != nil {
		return nil, err
	}
	v.CreatedAt = now(ctx)
	for {
		if first, err := s.firstOf(ctx, v); err != nil || first != nil {
			return first, err
		}
		if err := s.room(ctx); err != nil {
			return nil, err
		}
		v.ID = id.UUID()
		if v.Token != "" {
			// The same request twice at once makes one record.
			v.ID = uuidOf(c.Account, c.Region, v.Token, v.Request, v.CreatedAt.Truncate(tokenLife).String())
		}
		v.ARN = model.MakeARN("acm", c.Region, c.Account, "certificate/"+v.ID)
		tx := store.NewTxn()
		tables.Certificates.Create(tx, c.Account, c.Region, v.ID, v)
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return &acm.RequestCertificateOutput{CertificateArn: &v.ARN}, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
}

// firstOf answers a request that was made before, by its token.
func (s *Service) firstOf(ctx context.Context, v *model.Certificate) (*acm.RequestCertificateOutput, error) {
	if v.Token == "" {
		return nil, nil
	}
	c := api.CallFrom(ctx)
	rows, err := tables.Certificates.List(ctx, s.Store, store.Query{Account: c.Account, Region: c.Region, Index: store.Index{Name: tables.ByToken, Value: v.Token}})
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	for _, r := range rows {
		if r.V.Request == v.Request && v.CreatedAt.Sub(r.V.CreatedAt) < tokenLife {
			return &acm.RequestCertificateOutput{CertificateArn: &r.V.ARN}, nil
		}
	}
	return nil, nil
}

// requested is the record of what is requested, without its identity.
func requested(in *acm.RequestCertificateInput) (*model.Certificate, error) {
	switch {
	case in.CertificateAuthorityArn != nil:
		return nil, acm.NewInvalidParameterException("There are no private certificate authorities: CertificateAuthorityArn must be empty.")
	case in.ManagedBy != "":
		return nil, acm.NewInvalidParameterException("No service manages certificates: ManagedBy must be empty.")
	case in.ValidationMethod == acm.ValidationMethodHttp:
		return nil, acm.NewInvalidParameterException("HTTP validation is for certificates that CloudFront manages. Choose DNS or EMAIL.")
	case in.KeyAlgorithm != "" && !slices.Contains(requestable, in.KeyAlgorithm):
		return nil, acm.NewInvalidParameterException("The key algorithm %s is not supported for requested certificates. Choose RSA_2048, EC_prime256v1 or EC_secp384r1.", in.KeyAlgorithm)
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	v := &model.Certificate{
		Type: model.CertificateAmazonIssued, Status: model.CertificatePending, Token: str(in.IdempotencyToken), Tags: tags.Initial(),
		KeyAlgorithm: string(in.KeyAlgorithm), ValidationMethod: string(in.ValidationMethod),
		Transparency: string(acm.CertificateTransparencyLoggingPreferenceEnabled),
	}
	for _, n := range append([]string{*in.DomainName}, in.SubjectAlternativeNames...) {
		if n = strings.ToLower(n); !slices.Contains(v.Names, n) {
			v.Names = append(v.Names, n)
		}
	}
	v.DomainName = v.Names[0]
	if len(v.Names) > maxNames {
		return nil, acm.NewLimitExceededException("Error: a certificate cannot have more than %d domain names.", maxNames)
	}
	if v.KeyAlgorithm == "" {
		v.KeyAlgorithm = string(acm.KeyAlgorithmRsa2048)
	}
	if v.ValidationMethod == "" {
		v.ValidationMethod = string(acm.ValidationMethodEmail)
	}
	if in.Options != nil {
		if in.Options.CertificateTransparencyLoggingPreference != "" {
			v.Transparency = string(in.Options.CertificateTransparencyLoggingPreference)
		}
		v.Exportable = in.Options.Export == acm.CertificateExportEnabled
	}
	if v.ValidationDomains, err = validationDomains(v, in.DomainValidationOptions); err != nil {
		return nil, err
	}
	v.Request = digest(v.Names, v.KeyAlgorithm, v.ValidationMethod, v.Transparency, v.Exportable, v.ValidationDomains)
	return v, nil
}

// validationDomains are those that a request gives for its names.
func validationDomains(v *model.Certificate, options []acm.DomainValidationOption) (map[string]string, error) {
	var out map[string]string
	for _, o := range options {
		name, domain := strings.ToLower(*o.DomainName), strings.ToLower(*o.ValidationDomain)
		base := strings.TrimPrefix(name, "*.")
		switch {
		case !slices.Contains(v.Names, name):
			return nil, acm.NewInvalidDomainValidationOptionsException("The domain name %s is not part of the request.", name)
		case domain != base && !strings.HasSuffix(base, "."+domain):
			return nil, acm.NewInvalidDomainValidationOptionsException("The validation domain %s is neither the domain %s nor a superdomain of it.", domain, name)
		case v.ValidationMethod != model.ValidationEmail:
			continue // the record for a name is always below the name
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = domain
	}
	return out, nil
}

// digest is a short form of values that JSON can write.
func digest(values ...any) string {
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // strings, booleans, and maps and lists of them
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%x", sum[:16])
}

// uuidOf is the UUID that parts always make.
func uuidOf(parts ...string) string {
	h := digest(parts)
	return h[:8] + "-" + h[8:12] + "-5" + h[13:16] + "-8" + h[17:20] + "-" + h[20:]
}
