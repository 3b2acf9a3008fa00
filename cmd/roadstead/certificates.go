package main

import (
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/truststores"
)

// openCertificates opens certificates for load balancers.
func (s *server) openCertificates() loadbalancer.Certificates {
	return certificates.NewOpener(s.store, s.apis.sealing).Open
}

// openTrustStores opens trust stores for load balancers.
func (s *server) openTrustStores() loadbalancer.TrustStores {
	return truststores.NewOpener(s.store, s.apis.trust).Open
}
