package sslpolicy

import (
	"errors"
	"fmt"
	"slices"
)

// Negotiation is what a classic load balancer offers its clients.
type Negotiation struct {
	Policy
	// ServerOrder tells that the load balancer's order of ciphers counts, not
	// the client's.
	ServerOrder bool
}

// classics are the policies of classic load balancers that this server can
// keep to. What is not among them offers SSL 3.0 or RC4.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-security-policy-table.html
var classics = []Negotiation{
	{Policy{Name: "ELBSecurityPolicy-2016-08", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa)}, true},
	{Policy{Name: "ELBSecurityPolicy-TLS-1-2-2017-01", Protocols: only12, Ciphers: slices.Concat(ecdheSHA2, rsaSHA2)}, true},
	{Policy{Name: "ELBSecurityPolicy-TLS-1-1-2017-01", Protocols: from11, Ciphers: slices.Concat(ecdhe, rsa)}, true},
	{Policy{Name: "ELBSecurityPolicy-2015-05", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa, []string{"DES-CBC3-SHA"})}, true},
	{Policy{Name: "ELBSecurityPolicy-2015-03", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa, []string{"DHE-RSA-AES128-SHA", "DHE-DSS-AES128-SHA", "DES-CBC3-SHA"})}, true},
	{Policy{Name: "ELBSecurityPolicy-2015-02", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa, []string{"DHE-RSA-AES128-SHA", "DHE-DSS-AES128-SHA"})}, true},
}

// Classics lists the predefined policies of classic load balancers. The slice
// must not be changed.
func Classics() []Negotiation { return classics }

// Attributes of a policy of type SSLNegotiationPolicyType that name no cipher.
const (
	Reference    = "Reference-Security-Policy"
	ServerOrder  = "Server-Defined-Cipher-Order"
	protocolName = "Protocol-"
)

// ClassicProtocols are the versions that a classic policy can name, newest
// first. SSLv3 is known and cannot be turned on.
var ClassicProtocols = []string{"TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3"}

// ProtocolAttribute is the attribute that turns a version of TLS on.
func ProtocolAttribute(version string) string { return protocolName + version }

// ClassicCiphers are those that a classic policy can name, in the order in
// which they are preferred.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-ssl-security-policy.html
var ClassicCiphers = slices.Concat(ecdhe, rsa, []string{
	"DHE-RSA-AES128-SHA", "DHE-DSS-AES128-SHA", "CAMELLIA128-SHA", "EDH-RSA-DES-CBC3-SHA", "DES-CBC3-SHA", "ECDHE-RSA-RC4-SHA", "RC4-SHA",
	"ECDHE-ECDSA-RC4-SHA", "DHE-DSS-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-SHA256", "DHE-DSS-AES256-SHA256",
	"DHE-RSA-AES256-SHA", "DHE-DSS-AES256-SHA", "DHE-RSA-CAMELLIA256-SHA", "DHE-DSS-CAMELLIA256-SHA", "CAMELLIA256-SHA", "EDH-DSS-DES-CBC3-SHA",
	"DHE-DSS-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-SHA256", "DHE-DSS-AES128-SHA256", "DHE-RSA-CAMELLIA128-SHA",
	"DHE-DSS-CAMELLIA128-SHA", "ADH-AES128-GCM-SHA256", "ADH-AES128-SHA", "ADH-AES128-SHA256", "ADH-AES256-GCM-SHA384", "ADH-AES256-SHA",
	"ADH-AES256-SHA256", "ADH-CAMELLIA128-SHA", "ADH-CAMELLIA256-SHA", "ADH-DES-CBC3-SHA", "ADH-DES-CBC-SHA", "ADH-RC4-MD5", "ADH-SEED-SHA",
	"DES-CBC-SHA", "DHE-DSS-SEED-SHA", "DHE-RSA-SEED-SHA", "EDH-DSS-DES-CBC-SHA", "EDH-RSA-DES-CBC-SHA", "IDEA-CBC-SHA", "RC4-MD5", "SEED-SHA",
	"DES-CBC3-MD5", "DES-CBC-MD5", "RC2-CBC-MD5", "PSK-AES256-CBC-SHA", "PSK-3DES-EDE-CBC-SHA", "KRB5-DES-CBC3-SHA", "KRB5-DES-CBC3-MD5",
	"PSK-AES128-CBC-SHA", "PSK-RC4-SHA", "KRB5-RC4-SHA", "KRB5-RC4-MD5", "KRB5-DES-CBC-SHA", "KRB5-DES-CBC-MD5", "EXP-EDH-RSA-DES-CBC-SHA",
	"EXP-EDH-DSS-DES-CBC-SHA", "EXP-ADH-DES-CBC-SHA", "EXP-DES-CBC-SHA", "EXP-RC2-CBC-MD5", "EXP-KRB5-RC2-CBC-SHA", "EXP-KRB5-DES-CBC-SHA",
	"EXP-KRB5-RC2-CBC-MD5", "EXP-KRB5-DES-CBC-MD5", "EXP-ADH-RC4-MD5", "EXP-RC4-MD5", "EXP-KRB5-RC4-SHA", "EXP-KRB5-RC4-MD5",
})

// ErrNegotiation is wrapped by what Negotiate returns; its text is for users.
var ErrNegotiation = errors.New("SSL negotiation policy")

// Negotiate makes a policy of its attributes: those that are on. A reference
// stands for all others.
func Negotiate(name, reference string, on func(attribute string) bool) (Negotiation, error) {
	refuse := func(format string, args ...any) (Negotiation, error) {
		return Negotiation{}, fmt.Errorf("%w: %s", ErrNegotiation, fmt.Sprintf(format, args...))
	}
	if reference != "" {
		i := slices.IndexFunc(classics, func(n Negotiation) bool { return n.Name == reference })
		if i < 0 {
			return refuse("the security policy %s is not supported", reference)
		}
		return classics[i], nil
	}
	n := Negotiation{Policy: Policy{Name: name}, ServerOrder: on(ServerOrder)}
	last := -1
	for i, v := range ClassicProtocols {
		if !on(ProtocolAttribute(v)) {
			continue
		}
		if v == "SSLv3" {
			return refuse("SSLv3 is not supported")
		}
		if last >= 0 && i != last+1 {
			return refuse("the versions of TLS between %s and %s must be enabled as well", v, ClassicProtocols[last])
		}
		last = i
		n.Protocols = append([]string{v}, n.Protocols...)
	}
	if len(n.Protocols) == 0 {
		return refuse("at least one protocol must be enabled")
	}
	served := false
	for _, c := range ClassicCiphers {
		if on(c) {
			_, known := suites[c]
			served = served || known
			n.Ciphers = append(n.Ciphers, c)
		}
	}
	switch {
	case len(n.Ciphers) == 0:
		return refuse("at least one cipher must be enabled")
	case !served:
		return refuse("none of the ciphers is supported")
	}
	return n, nil
}
