package acm

import (
	"crypto/x509"
	"encoding/hex"
	"strings"

	"roadstead.dev/internal/api/acm"
)

var keyUsageBits = []struct {
	bit  x509.KeyUsage
	name acm.KeyUsageName
}{
	{x509.KeyUsageDigitalSignature, acm.KeyUsageNameDigitalSignature},
	{x509.KeyUsageContentCommitment, acm.KeyUsageNameNonRepudiation},
	{x509.KeyUsageKeyEncipherment, acm.KeyUsageNameKeyEncipherment},
	{x509.KeyUsageDataEncipherment, acm.KeyUsageNameDataEncipherment},
	{x509.KeyUsageKeyAgreement, acm.KeyUsageNameKeyAgreement},
	{x509.KeyUsageCertSign, acm.KeyUsageNameCertificateSigning},
	{x509.KeyUsageCRLSign, acm.KeyUsageNameCrlSigning},
	{x509.KeyUsageEncipherOnly, acm.KeyUsageNameEncipherOnly},
	{x509.KeyUsageDecipherOnly, acm.KeyUsageNameDecipherOnly},
}

// keyUsages are what a certificate's key is for; none where it does not say.
func keyUsages(c *x509.Certificate) []acm.KeyUsageName {
	var out []acm.KeyUsageName
	for _, u := range keyUsageBits {
		if c.KeyUsage&u.bit != 0 {
			out = append(out, u.name)
		}
	}
	return out
}

// extendedUsages are those that have names, by their object identifiers.
var extendedUsages = map[string]acm.ExtendedKeyUsageName{
	"1.3.6.1.5.5.7.3.1": acm.ExtendedKeyUsageNameTlsWebServerAuthentication,
	"1.3.6.1.5.5.7.3.2": acm.ExtendedKeyUsageNameTlsWebClientAuthentication,
	"1.3.6.1.5.5.7.3.3": acm.ExtendedKeyUsageNameCodeSigning,
	"1.3.6.1.5.5.7.3.4": acm.ExtendedKeyUsageNameEmailProtection,
	"1.3.6.1.5.5.7.3.5": acm.ExtendedKeyUsageNameIpsecEndSystem,
	"1.3.6.1.5.5.7.3.6": acm.ExtendedKeyUsageNameIpsecTunnel,
	"1.3.6.1.5.5.7.3.7": acm.ExtendedKeyUsageNameIpsecUser,
	"1.3.6.1.5.5.7.3.8": acm.ExtendedKeyUsageNameTimeStamping,
	"1.3.6.1.5.5.7.3.9": acm.ExtendedKeyUsageNameOcspSigning,
	"2.5.29.37.0":       acm.ExtendedKeyUsageNameAny,
}

// oidsOfExtended are the identifiers of the usages that Go knows.
var oidsOfExtended = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny:             "2.5.29.37.0",
	x509.ExtKeyUsageServerAuth:      "1.3.6.1.5.5.7.3.1",
	x509.ExtKeyUsageClientAuth:      "1.3.6.1.5.5.7.3.2",
	x509.ExtKeyUsageCodeSigning:     "1.3.6.1.5.5.7.3.3",
	x509.ExtKeyUsageEmailProtection: "1.3.6.1.5.5.7.3.4",
	x509.ExtKeyUsageIPSECEndSystem:  "1.3.6.1.5.5.7.3.5",
	x509.ExtKeyUsageIPSECTunnel:     "1.3.6.1.5.5.7.3.6",
	x509.ExtKeyUsageIPSECUser:       "1.3.6.1.5.5.7.3.7",
	x509.ExtKeyUsageTimeStamping:    "1.3.6.1.5.5.7.3.8",
	x509.ExtKeyUsageOCSPSigning:     "1.3.6.1.5.5.7.3.9",
}

// extended are a certificate's extended key usages.
func extended(c *x509.Certificate) []acm.ExtendedKeyUsage {
	var out []acm.ExtendedKeyUsage
	add := func(oid string) {
		name, ok := extendedUsages[oid]
		if !ok {
			name = acm.ExtendedKeyUsageNameCustom
		}
		out = append(out, acm.ExtendedKeyUsage{Name: name, OID: &oid})
	}
	for _, u := range c.ExtKeyUsage {
		if oid, ok := oidsOfExtended[u]; ok {
			add(oid)
		}
	}
	for _, oid := range c.UnknownExtKeyUsage {
		add(oid.String())
	}
	return out
}

func extendedNames(c *x509.Certificate) []acm.ExtendedKeyUsageName {
	var out []acm.ExtendedKeyUsageName
	for _, u := range extended(c) {
		out = append(out, u.Name)
	}
	return out
}

// serial is a certificate's number, byte by byte.
func serial(c *x509.Certificate) string {
	b := c.SerialNumber.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}

// signature names the algorithm that a certificate was signed with.
func signature(c *x509.Certificate) string {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return "RSASSA-PSS"
	case x509.PureEd25519:
		return "ED25519"
	default:
	}
	hash, key, _ := strings.Cut(c.SignatureAlgorithm.String(), "-")
	if hash == "ECDSA" {
		hash, key = key, hash
	}
	return hash + "WITH" + key
}

// issuer is the organization that issued a certificate, else its name.
func issuer(c *x509.Certificate) string {
	if len(c.Issuer.Organization) > 0 {
		return c.Issuer.Organization[0]
	}
	return c.Issuer.CommonName
}
