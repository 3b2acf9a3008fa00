package balancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/plan/sslpolicy"
)

// targetPolicy is what targets are offered.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
const targetPolicy = "ELBSecurityPolicy-TLS13-1-0-2021-06"

// protocolHTTPS is that of listeners, groups and checks.
const protocolHTTPS = "HTTPS"

// targetConfig is how targets are spoken to that speak TLS, with so many
// sessions kept. Any certificate will do, as it does on AWS, where the VPC is
// what vouches for the target.
func targetConfig(sessions int, protocols ...string) *tls.Config {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: protocols, ClientSessionCache: tls.NewLRUClientSessionCache(sessions)} //nolint:gosec // see above
	if p, ok := sslpolicy.Lookup(targetPolicy); ok {
		p.Apply(cfg)
	}
	return cfg
}

// overTLS makes connections that speak TLS, and offers protocols.
func overTLS(dial l7.Dial, protocols ...string) l7.Dial {
	cfg := targetConfig(1, protocols...)
	return func(ctx context.Context, address string) (net.Conn, error) {
		c, err := dial(ctx, address)
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("%w: %w", l7.ErrHandshake, err)
		}
		return tc, nil
	}
}
