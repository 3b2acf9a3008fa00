package balancer

import (
	"crypto/x509"
	"testing"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/truststore"
)

func TestClients(t *testing.T) {
	trust := truststore.New([]*x509.Certificate{}, nil)
	if got := clients(balance.Listener{Trust: trust}); got != nil {
		t.Errorf("%+v", got)
	}
	got := clients(balance.Listener{
		Trust: trust, MutualAuthentication: &model.MutualAuthentication{Mode: "verify", IgnoreClientCertificateExpiry: true, AdvertiseTrustStoreCANames: true},
		Attributes: map[string]string{"routing.http.request.x_amzn_mtls_clientcert_leaf.header_name": "X-Leaf", "routing.http.request.x_amzn_mtls_clientcert.header_name": ""},
	})
	if !got.Verify || got.Trust != trust || !got.IgnoreExpiry || !got.Advertise || len(got.Names) != 1 || got.Names[l7.ClientCertLeaf] != "X-Leaf" {
		t.Errorf("%+v", got)
	}
	if got := clients(balance.Listener{MutualAuthentication: &model.MutualAuthentication{Mode: "passthrough"}}); got.Verify || got.IgnoreExpiry || got.Advertise {
		t.Errorf("%+v", got)
	}
}
