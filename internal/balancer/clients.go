package balancer

import (
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// clientFields are the fields that tell targets of clients' certificates, by
// the attributes of a listener that rename them.
var clientFields = map[string]l7.ClientField{
	"routing.http.request.x_amzn_mtls_clientcert.header_name":               l7.ClientCert,
	"routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name": l7.ClientCertSerialNumber,
	"routing.http.request.x_amzn_mtls_clientcert_issuer.header_name":        l7.ClientCertIssuer,
	"routing.http.request.x_amzn_mtls_clientcert_subject.header_name":       l7.ClientCertSubject,
	"routing.http.request.x_amzn_mtls_clientcert_validity.header_name":      l7.ClientCertValidity,
	"routing.http.request.x_amzn_mtls_clientcert_leaf.header_name":          l7.ClientCertLeaf,
}

// clients is how a listener has clients show certificates; nil when it does
// not.
func clients(l balance.Listener) *l7.Clients {
	m := l.MutualAuthentication
	if m == nil {
		return nil
	}
	out := &l7.Clients{
		Verify: m.Mode == model.MutualVerify, Trust: l.Trust,
		IgnoreExpiry: m.IgnoreClientCertificateExpiry, Advertise: m.AdvertiseTrustStoreCANames,
		Names: map[l7.ClientField]string{},
	}
	for attribute, field := range clientFields {
		if name := l.Attributes[attribute]; name != "" {
			out.Names[field] = name
		}
	}
	return out
}
