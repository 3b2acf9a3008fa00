package loadbalancer

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Certificates opens certificates by their ARNs. Where there is none the error
// is a store.ErrNotFound, or a certificates.ErrNotReady while it is not issued.
type Certificates func(ctx context.Context, arn string) (*tls.Certificate, error)

// open opens the certificates of the listeners. One that cannot be opened is
// left out: the others are served, and handshakes that need it fail.
func (c *LoadBalancers) open(ctx context.Context, in *balance.Input) error {
	in.Certificates = map[string]*tls.Certificate{}
	if c.Certificates == nil {
		return nil
	}
	for _, l := range in.Listeners {
		for _, arn := range l.Certificates {
			if _, seen := in.Certificates[arn]; seen {
				continue
			}
			pair, err := c.Certificates(ctx, arn)
			switch {
			case err == nil:
				in.Certificates[arn] = pair
			case errors.Is(err, store.ErrNotFound), errors.Is(err, certificates.ErrNotReady):
				in.Certificates[arn] = nil
				c.Log.Warn("listener's certificate cannot be used", "listener", l.ARN, "error", err)
			default:
				return err
			}
		}
	}
	return nil
}

// ofCertificate names the load balancers with listeners that use a
// certificate. Its record id ends its ARN, but for the case of letters.
func (c *LoadBalancers) ofCertificate(ctx context.Context, r store.Record) ([]controller.Key, error) {
	rows, err := tables.Listeners.List(ctx, c.Store, store.Query{Account: r.Key.Account, Region: r.Key.Region})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, l := range rows {
		if slices.ContainsFunc(l.V.Certificates, func(arn string) bool {
			return strings.EqualFold(arn[strings.LastIndexByte(arn, '/')+1:], r.Key.ID)
		}) {
			keys = append(keys, controller.Key{Account: l.Key.Account, Region: l.Key.Region, ID: lbKey + l.V.LoadBalancerID})
		}
	}
	return keys, nil
}
