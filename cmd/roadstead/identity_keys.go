package main

import (
	"crypto/x509"
	"net/http"
	"strings"

	"roadstead.dev/internal/balancer/auth"
)

// elbKeysPath is where the public keys are that load balancers sign claims of
// their users with: what AWS has at public-keys.auth.elb.<region>.amazonaws.com.
const elbKeysPath = "/_roadstead/elb/public-keys/"

// serveELBKeys hands out public keys, which are no secret, by their ids.
func serveELBKeys(s *auth.Signer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := s.PublicKey(strings.TrimPrefix(r.URL.Path, elbKeysPath))
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		case key == nil:
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", "application/x-pem-file")
			_, _ = w.Write(key) //nolint:gosec // a key of our own, and no HTML
		}
	})
}

// roots are the authorities that load balancers know providers of identities
// by: the machine's, and those of this server.
func (s *server) roots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, ca := range []interface{ PEM() ([]byte, error) }{s.ca, s.certificateAuthority()} {
		pem, err := ca.PEM()
		if err != nil {
			s.log.Warn("authority cannot be read", "error", err)
			continue
		}
		pool.AppendCertsFromPEM(pem)
	}
	return pool
}
