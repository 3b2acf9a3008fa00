package elbv2

import (
	"context"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxVerifying is how many listeners of a load balancer may verify clients.
const maxVerifying = 2

func mutual(auth *elbv2.MutualAuthenticationAttributes) bool {
	return auth != nil && value(auth.Mode) != "" && value(auth.Mode) != model.MutualOff
}

// mutualOf is what a request says of a listener's mutual authentication; nil
// means none.
func mutualOf(auth *elbv2.MutualAuthenticationAttributes) (*model.MutualAuthentication, error) {
	out := &model.MutualAuthentication{
		Mode: value(auth.Mode), TrustStoreARN: value(auth.TrustStoreArn),
		IgnoreClientCertificateExpiry: value(auth.IgnoreClientCertificateExpiry),
		AdvertiseTrustStoreCANames:    auth.AdvertiseTrustStoreCaNames == elbv2.AdvertiseTrustStoreCaNamesEnumOn,
	}
	if auth.TrustStoreAssociationStatus != "" {
		return nil, invalid("The trust store association status cannot be specified")
	}
	switch out.Mode {
	case model.MutualVerify:
		if out.TrustStoreARN == "" {
			return nil, invalid("A trust store ARN must be specified when the mutual authentication mode is 'verify'")
		}
		return out, nil
	case "", model.MutualOff, model.MutualPassthrough:
	default:
		return nil, invalid("Mutual authentication mode '%s' must be one of '[off, passthrough, verify]'", out.Mode)
	}
	switch {
	case out.TrustStoreARN != "":
		return nil, invalid("A trust store ARN can only be specified when the mutual authentication mode is 'verify'")
	case out.IgnoreClientCertificateExpiry:
		return nil, invalid("Client certificate expiry can only be ignored when the mutual authentication mode is 'verify'")
	case out.AdvertiseTrustStoreCANames:
		return nil, invalid("Trust store CA names can only be advertised when the mutual authentication mode is 'verify'")
	case out.Mode != model.MutualPassthrough:
		return nil, nil //nolint:nilnil // no mutual authentication and no error
	}
	return out, nil
}

// setMutual gives an HTTPS listener, which may be new, the mutual authentication
// that a request names, and makes tx conflict with the end of the trust store.
func (s *Service) setMutual(ctx context.Context, tx *store.Txn, l *model.Listener, auth *elbv2.MutualAuthenticationAttributes) error {
	if auth == nil {
		return nil
	}
	m, err := mutualOf(auth)
	if err != nil {
		return err
	}
	before := l.TrustStore()
	l.MutualAuthentication = m
	arn := l.TrustStore()
	if arn == "" {
		return nil
	}
	row, err := s.trustStore(ctx, arn)
	if err != nil {
		return err
	}
	if arn != before {
		v := row.Copy()
		v.Generation++
		tables.TrustStores.Replace(tx, row, v)
	}
	others, err := tables.Listeners.List(ctx, s.Store, children(ctx, l.LoadBalancerID))
	if err != nil {
		return err
	}
	count := 1
	for _, o := range others {
		if o.V.ID != l.ID && o.V.TrustStore() != "" {
			count++
		}
	}
	if count > maxVerifying {
		return elbv2.NewTooManyListenersException("The maximum number of listeners that verify clients' certificates per load balancer is %d", maxVerifying)
	}
	return nil
}

func renderMutual(m *model.MutualAuthentication) *elbv2.MutualAuthenticationAttributes {
	if m == nil {
		return &elbv2.MutualAuthenticationAttributes{Mode: new(model.MutualOff)}
	}
	out := &elbv2.MutualAuthenticationAttributes{Mode: new(m.Mode)}
	if m.Mode == model.MutualVerify {
		out.TrustStoreArn = new(m.TrustStoreARN)
		out.IgnoreClientCertificateExpiry = new(m.IgnoreClientCertificateExpiry)
		out.AdvertiseTrustStoreCaNames = elbv2.AdvertiseTrustStoreCaNamesEnumOff
		if m.AdvertiseTrustStoreCANames {
			out.AdvertiseTrustStoreCaNames = elbv2.AdvertiseTrustStoreCaNamesEnumOn
		}
	}
	return out
}
