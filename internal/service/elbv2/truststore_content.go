package elbv2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/plan/truststore"
)

// contentLife is how long a URL to a trust store's content is good.
const contentLife = time.Hour

// readBundle reads authorities' certificates from S3 and keeps them.
func (s *Service) readBundle(ctx context.Context, at objects.Location) (name string, count int32, err error) {
	text, err := s.object(ctx, at, truststore.MaxBundle)
	switch {
	case missing(err):
		return "", 0, elbv2.NewCaCertificatesBundleNotFoundException("The CA certificates bundle 's3://%s/%s' does not exist", at.Bucket, at.Key)
	case errors.Is(err, errTooLarge):
		return "", 0, elbv2.NewInvalidCaCertificatesBundleException("The CA certificates bundle is too large")
	case err != nil:
		return "", 0, err
	}
	authorities, err := truststore.ParseBundle(text)
	if err != nil {
		return "", 0, elbv2.NewInvalidCaCertificatesBundleException("The CA certificates bundle cannot be used: %v", err)
	}
	name, err = s.Contents.Put(text)
	return name, int32(len(authorities)), err
}

// readRevocations reads a revocation list from S3 and keeps it.
func (s *Service) readRevocations(ctx context.Context, at objects.Location) (name string, entries int64, err error) {
	text, err := s.object(ctx, at, truststore.MaxList)
	switch {
	case missing(err):
		return "", 0, elbv2.NewRevocationContentNotFoundException("The revocation file 's3://%s/%s' does not exist", at.Bucket, at.Key)
	case errors.Is(err, errTooLarge):
		return "", 0, elbv2.NewInvalidRevocationContentException("The revocation file is larger than %d bytes", truststore.MaxList)
	case err != nil:
		return "", 0, err
	}
	list, err := truststore.ParseList(text)
	if err != nil {
		return "", 0, elbv2.NewInvalidRevocationContentException("The revocation file cannot be used: %v", err)
	}
	name, err = s.Contents.Put(text)
	return name, list.Entries, err
}

var errTooLarge = errors.New("object is too large")

// object reads an object of S3 as the caller.
func (s *Service) object(ctx context.Context, at objects.Location, most int64) ([]byte, error) {
	if s.Objects == nil {
		return nil, objects.ErrNoBucket
	}
	body, info, err := s.Objects.Get(ctx, objects.Caller(api.CallFrom(ctx)), at)
	if err != nil {
		return nil, denied(ctx, err)
	}
	defer body.Close()
	if info.Size > most {
		return nil, errTooLarge
	}
	text, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(text)) > most {
		err = errTooLarge
	}
	return text, err
}

func missing(err error) bool {
	return errors.Is(err, objects.ErrNoBucket) || errors.Is(err, objects.ErrNoObject) || errors.Is(err, objects.ErrNoVersion)
}

// denied words what S3 does not let the caller read.
func denied(ctx context.Context, err error) error {
	if !errors.Is(err, objects.ErrDenied) {
		return err
	}
	message := "Access Denied"
	if d, ok := errors.AsType[*model.Denied](err); ok {
		message = "User: " + api.CallFrom(ctx).Identity.ARN + " is not authorized to perform: " + d.Action + " on resource: " + d.Resource + " " + d.Reason
	}
	f := api.NewFault("AccessDenied", "%s", message)
	f.Status = http.StatusForbidden
	return f
}

func (s *Service) contentURL(ctx context.Context, name string) *string {
	c := api.CallFrom(ctx)
	scheme := "http://"
	if c.Secure {
		scheme = "https://"
	}
	return new(s.Contents.URL(scheme+c.Host, name, c.Time.Add(contentLife)))
}

// GetTrustStoreCaCertificatesBundle tells where a trust store's certificates
// can be got.
func (s *Service) GetTrustStoreCaCertificatesBundle(ctx context.Context, in *elbv2.GetTrustStoreCaCertificatesBundleInput) (*elbv2.GetTrustStoreCaCertificatesBundleOutput, error) {
	row, err := s.trustStore(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	return &elbv2.GetTrustStoreCaCertificatesBundleOutput{Location: s.contentURL(ctx, row.V.Bundle)}, nil
}

// GetTrustStoreRevocationContent tells where a revocation list can be got.
func (s *Service) GetTrustStoreRevocationContent(ctx context.Context, in *elbv2.GetTrustStoreRevocationContentInput) (*elbv2.GetTrustStoreRevocationContentOutput, error) {
	row, err := s.trustStore(ctx, *in.TrustStoreArn)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(row.V.Revocations, func(r model.TrustStoreRevocation) bool { return r.ID == *in.RevocationId })
	if i < 0 {
		return nil, noRevocation(*in.RevocationId)
	}
	return &elbv2.GetTrustStoreRevocationContentOutput{Location: s.contentURL(ctx, row.V.Revocations[i].Content)}, nil
}

func noRevocation(id int64) error {
	return elbv2.NewRevocationIdNotFoundException("Revocation ID '%d' not found", id)
}
