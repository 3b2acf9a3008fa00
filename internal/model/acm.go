package model

import "time"

// The states of a certificate of Certificate Manager.
// https://docs.aws.amazon.com/acm/latest/APIReference/API_CertificateDetail.html
const (
	CertificatePending  = "PENDING_VALIDATION"
	CertificateIssued   = "ISSUED"
	CertificateInactive = "INACTIVE"
	CertificateExpired  = "EXPIRED"
	CertificateRevoked  = "REVOKED"
	CertificateFailed   = "FAILED"
)

// The types of certificates of Certificate Manager.
const (
	CertificateImported     = "IMPORTED"
	CertificateAmazonIssued = "AMAZON_ISSUED"
)

// Certificate is a certificate of Certificate Manager. Record id: the last part
// of its ARN. service/acm writes it; controller/acm issues what was requested:
// it writes Leaf, Chain, Key, Generation and the times of a requested one, makes
// a pending one ISSUED, and clears RenewalAskedAt.
type Certificate struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
	// Type is IMPORTED or AMAZON_ISSUED.
	Type string `json:"type"`
	// Status is a Certificate… constant; an imported one is ISSUED.
	Status string `json:"status"`
	// DomainName is the first of Names, which are all that the certificate is
	// for, wildcards too.
	DomainName string   `json:"domainName"`
	Names      []string `json:"names,omitempty"`
	// Leaf and Chain are PEM; Chain may be empty. They are there once it is
	// issued.
	Leaf  string `json:"leaf,omitempty"`
	Chain string `json:"chain,omitempty"`
	// Key is the private key in PEM (PKCS #8), sealed under CertificateKeyName.
	Key string `json:"key,omitempty"`
	// KeyAlgorithm, such as RSA_2048 and EC_prime256v1.
	KeyAlgorithm string    `json:"keyAlgorithm"`
	NotBefore    time.Time `json:"notBefore,omitzero"`
	NotAfter     time.Time `json:"notAfter,omitzero"`
	CreatedAt    time.Time `json:"createdAt"`
	ImportedAt   time.Time `json:"importedAt,omitzero"`
	IssuedAt     time.Time `json:"issuedAt,omitzero"`
	// RenewalAskedAt is set while a renewal is wanted that was asked for;
	// RenewedAt is when it was last renewed.
	RenewalAskedAt time.Time `json:"renewalAskedAt,omitzero"`
	RenewedAt      time.Time `json:"renewedAt,omitzero"`
	// RevokedAt and RevocationReason are a revoked one's.
	RevokedAt        time.Time `json:"revokedAt,omitzero"`
	RevocationReason string    `json:"revocationReason,omitempty"`
	// ValidationMethod is DNS or EMAIL for a requested one, ValidationDomains
	// where mail about a name goes, if not to the name itself.
	ValidationMethod  string            `json:"validationMethod,omitempty"`
	ValidationDomains map[string]string `json:"validationDomains,omitempty"`
	// Token is the request's, against requests that come twice; Request tells
	// what was requested with it.
	Token   string `json:"token,omitempty"`
	Request string `json:"request,omitempty"`
	// Transparency is ENABLED or DISABLED.
	Transparency string `json:"transparency,omitempty"`
	// Exportable tells that its key may leave, Exported that it did.
	Exportable bool `json:"exportable,omitempty"`
	Exported   bool `json:"exported,omitempty"`
	Tags       Tags `json:"tags,omitzero"`
	// Generation counts the times that it was imported or issued anew.
	Generation int64 `json:"generation,omitempty"`
}

// CertificateKeyName is what a certificate's private key is sealed under.
func CertificateKeyName(arn string) string { return "private key of " + arn }

// CertificateConfiguration is what an account sets for all its certificates in
// a region. Record id: "configuration".
type CertificateConfiguration struct {
	DaysBeforeExpiry int32 `json:"daysBeforeExpiry"`
	// Token is that of the request that set it.
	Token string `json:"token"`
}

// The ways to validate domains.
const (
	ValidationDNS   = "DNS"
	ValidationEmail = "EMAIL"
)

// CertificateUse is written whenever a listener begins to use a certificate, so
// that this and the certificate's end conflict. Key: the certificate's account
// and region, and its record id; certificates of IAM have no region.
type CertificateUse struct{}
