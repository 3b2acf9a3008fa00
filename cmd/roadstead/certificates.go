package main

import (
	"context"
	"crypto/tls"

	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/seal"
)

// openCertificates opens certificates for load balancers.
func (s *server) openCertificates() (loadbalancer.Certificates, error) {
	key, err := seal.Load(s.path("secrets", "seal.key"))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, arn string) (tls.Certificate, error) {
		return certificates.Open(ctx, s.store, key, arn)
	}, nil
}
