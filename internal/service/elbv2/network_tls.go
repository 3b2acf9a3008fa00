package elbv2

import (
	"context"
	"slices"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// alpnPolicies are the names of ALPN policies.
var alpnPolicies = []string{"HTTP1Only", "HTTP2Only", "HTTP2Optional", "HTTP2Preferred", "None"}

// setTLS gives a TLS listener, which may be new, the certificate and the
// policies that the request names.
func (s *Service) setTLS(ctx context.Context, tx *store.Txn, l *model.Listener, r secured) error {
	if mutual(r.auth) {
		return invalid("Mutual authentication cannot be specified for TLS listeners")
	}
	if len(r.alpn) > 1 {
		return invalid("Only one ALPN policy can be specified for a listener")
	}
	for _, name := range r.alpn {
		if !slices.Contains(alpnPolicies, name) {
			return elbv2.NewALPNPolicyNotSupportedException("ALPN policy '%s' is not supported", name)
		}
		l.ALPNPolicy = []string{name}
	}
	return s.setCertificate(ctx, tx, l, r)
}
