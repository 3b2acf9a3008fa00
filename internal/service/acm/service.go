// Package acm serves AWS Certificate Manager. Imported certificates are checked
// and kept; requested ones are issued by controller/acm.
package acm

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs. All of it is required.
type Config struct {
	Store store.Store
	// Key seals private keys.
	Key *seal.Key
}

// Service implements acm.Handler.
type Service struct{ Config }

var (
	_ acm.Handler        = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

func invalid(format string, args ...any) error {
	return acm.NewValidationException(format, args...)
}

// now is the call's time as records keep it.
func now(ctx context.Context) time.Time {
	return api.CallFrom(ctx).Time.UTC().Truncate(time.Millisecond)
}

// read finds the certificate of an ARN.
func (s *Service) read(ctx context.Context, arn string) (store.Row[model.Certificate], error) {
	c := api.CallFrom(ctx)
	none := store.Row[model.Certificate]{}
	a, err := model.ParseARN(arn)
	id, ok := strings.CutPrefix(a.Resource, "certificate/")
	if err != nil || a.Service != "acm" || !ok || id == "" || strings.Contains(id, "/") {
		return none, acm.NewInvalidArnException("The provided ARN %s is not the ARN of a certificate.", arn)
	}
	missing := acm.NewResourceNotFoundException("Could not find certificate %s in account %s.", arn, c.Account)
	if a.Account != c.Account || a.Region != c.Region || a.Partition != model.Partition(c.Region) {
		return none, missing
	}
	row, err := tables.Certificates.Get(ctx, s.Store, c.Account, c.Region, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return none, missing
	case err != nil:
		return none, fmt.Errorf("read certificate: %w", err)
	}
	return row, nil
}

// update finds a certificate and writes what change makes of it, again and
// again while others change it in between.
func (s *Service) update(ctx context.Context, arn string, change func(*model.Certificate) error) error {
	return s.updateWith(ctx, arn, func(_ *store.Txn, _ store.Row[model.Certificate], v *model.Certificate) error { return change(v) })
}

// updateWith is update, for changes that depend on more than the certificate.
func (s *Service) updateWith(ctx context.Context, arn string, change func(*store.Txn, store.Row[model.Certificate], *model.Certificate) error) error {
	for {
		row, err := s.read(ctx, arn)
		if err != nil {
			return err
		}
		v, tx := row.Copy(), store.NewTxn()
		if err := change(tx, row, v); err != nil {
			if errors.Is(err, store.ErrUnchanged) {
				return nil
			}
			return err
		}
		tables.Certificates.Replace(tx, row, v)
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return nil
		case !errors.Is(err, store.ErrConflict):
			return fmt.Errorf("write certificate: %w", err)
		}
	}
}

// maxCertificates is the quota of certificates in a region.
// https://docs.aws.amazon.com/acm/latest/userguide/acm-limits.html
const maxCertificates = 2500

// room fails when an account has as many certificates as it may.
func (s *Service) room(ctx context.Context) error {
	c := api.CallFrom(ctx)
	rows, err := tables.Certificates.List(ctx, s.Store, store.Query{Account: c.Account, Region: c.Region})
	if err != nil {
		return fmt.Errorf("list certificates: %w", err)
	}
	if len(rows) >= maxCertificates {
		return acm.NewLimitExceededException("You have reached the maximum number of certificates. Delete certificates that are not in use, or contact AWS Support to request an increase.")
	}
	return nil
}

// status is a certificate's at a time: one that runs out is EXPIRED without
// anybody's doing.
func status(v *model.Certificate, at time.Time) acm.CertificateStatus {
	if v.Status == model.CertificateIssued && at.After(v.NotAfter) {
		return acm.CertificateStatusExpired
	}
	return acm.CertificateStatus(v.Status)
}

// parsed is a certificate's content, nil while it is not issued.
func parsed(v *model.Certificate) (*x509.Certificate, error) {
	if v.Leaf == "" {
		return nil, nil
	}
	block, _ := pem.Decode([]byte(v.Leaf))
	if block == nil {
		return nil, fmt.Errorf("certificate %s has no PEM", v.ARN)
	}
	return x509.ParseCertificate(block.Bytes)
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// opt is nil for what is empty, as answers leave it out.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
