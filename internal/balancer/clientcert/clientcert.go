// Package clientcert writes clients' certificates as targets are told of them.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html
package clientcert

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"time"
)

// Serial is a certificate's number in hexadecimal, 03A5B1.
func Serial(c *x509.Certificate) string {
	b := c.SerialNumber.Bytes()
	if len(b) == 0 {
		b = []byte{0}
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

// Validity is when a certificate begins and ends,
// NotBefore=2023-09-21T01:50:17Z;NotAfter=2024-09-20T01:50:17Z.
func Validity(c *x509.Certificate) string {
	return "NotBefore=" + c.NotBefore.UTC().Format(time.RFC3339) + ";NotAfter=" + c.NotAfter.UTC().Format(time.RFC3339)
}

// PEM is certificates in PEM, one after the other, with all characters
// percent-encoded but letters, digits and -._~+=/.
func PEM(certificates ...*x509.Certificate) string {
	var plain []byte
	for _, c := range certificates {
		plain = append(plain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	const digits = "0123456789ABCDEF"
	out := make([]byte, 0, len(plain)+len(plain)/16)
	for _, x := range plain {
		switch {
		case x >= 'a' && x <= 'z', x >= 'A' && x <= 'Z', x >= '0' && x <= '9', strings.IndexByte("-._~+=/", x) >= 0:
			out = append(out, x)
		default:
			out = append(out, '%', digits[x>>4], digits[x&15])
		}
	}
	return string(out)
}
