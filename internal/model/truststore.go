package model

import "time"

// TrustStore is what listeners verify clients' certificates by. The service
// writes it; its record id is the 16 hex digits that end its ARN. The texts of
// certificates and revocation lists are kept as files, under the names that the
// record has: a name's content never changes.
type TrustStore struct {
	ID   string `json:"id"`
	ARN  string `json:"arn"`
	Name string `json:"name"`
	// Bundle names the certificates of the authorities, of which there are
	// Certificates.
	Bundle       string                 `json:"bundle"`
	Certificates int32                  `json:"certificates"`
	Revocations  []TrustStoreRevocation `json:"revocations,omitempty"`
	// LastRevocation is the highest id that a revocation list ever had.
	LastRevocation int64     `json:"lastRevocation,omitempty"`
	Tags           Tags      `json:"tags,omitzero"`
	CreatedAt      time.Time `json:"createdAt"`
	// Generation grows whenever a listener starts to use the trust store, so
	// that transactions about its use conflict.
	Generation int64 `json:"generation,omitempty"`
}

// TrustStoreRevocation is a revocation list.
type TrustStoreRevocation struct {
	ID int64 `json:"id"`
	// Content names the list, which has so many Entries.
	Content string `json:"content"`
	Entries int64  `json:"entries"`
}

// Contents are the names of the files that the trust store is kept in.
func (t *TrustStore) Contents() []string {
	names := []string{t.Bundle}
	for _, r := range t.Revocations {
		names = append(names, r.Content)
	}
	return names
}

// RevokedEntries is how many certificates the revocation lists name.
func (t *TrustStore) RevokedEntries() int64 {
	n := int64(0)
	for _, r := range t.Revocations {
		n += r.Entries
	}
	return n
}

// Modes of mutual authentication.
const (
	MutualOff         = "off"
	MutualPassthrough = "passthrough"
	MutualVerify      = "verify"
)

// MutualAuthentication tells how a listener has clients show certificates.
type MutualAuthentication struct {
	// Mode is MutualPassthrough or MutualVerify.
	Mode string `json:"mode"`
	// The others belong to MutualVerify.
	TrustStoreARN                 string `json:"trustStoreArn,omitempty"`
	IgnoreClientCertificateExpiry bool   `json:"ignoreClientCertificateExpiry,omitempty"`
	AdvertiseTrustStoreCANames    bool   `json:"advertiseTrustStoreCaNames,omitempty"`
}

// TrustStore is the ARN of the trust store that the listener verifies by, "" for
// one that does not.
func (l *Listener) TrustStore() string {
	if l.MutualAuthentication == nil {
		return ""
	}
	return l.MutualAuthentication.TrustStoreARN
}

// TrustStoreID is the record id in a trust store's ARN, "" when arn is not one.
func TrustStoreID(arn string) string {
	p := elbResource(arn, "truststore")
	if len(p) != 2 {
		return ""
	}
	return p[1]
}
