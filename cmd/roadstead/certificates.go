package main

import (
	"context"
	"crypto/tls"

	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/truststores"
)

// openCertificates opens certificates for load balancers.
func (s *server) openCertificates() loadbalancer.Certificates {
	return func(ctx context.Context, arn string) (tls.Certificate, error) {
		return certificates.Open(ctx, s.store, s.apis.sealing, arn)
	}
}

// openTrustStores opens trust stores for load balancers.
func (s *server) openTrustStores() loadbalancer.TrustStores {
	return truststores.NewOpener(s.store, s.apis.trust).Open
}
