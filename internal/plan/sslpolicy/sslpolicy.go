// Package sslpolicy knows Elastic Load Balancing's predefined security
// policies: which versions of TLS and which cipher suites a listener offers.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
package sslpolicy

import (
	"crypto/tls"
	"slices"
)

// Default is the policy of a listener that was given none.
const Default = "ELBSecurityPolicy-2016-08"

// Policy is a security policy.
type Policy struct {
	Name string
	// Protocols are TLSv1 to TLSv1.3, oldest first.
	Protocols []string
	// Ciphers by their OpenSSL names, those that are preferred first.
	Ciphers []string
	// PostQuantum policies offer hybrid key exchanges with ML-KEM as well.
	PostQuantum bool
	// FIPS policies offer algorithms of FIPS 140-3 alone. What implements them
	// is not a validated module for that.
	FIPS bool
}

// The groups of ciphers that policies are made of.
var (
	tls13 = []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}

	ecdhe = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
		"ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-GCM-SHA384",
		"ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA",
		"ECDHE-ECDSA-AES256-SHA",
	}
	ecdheSHA2 = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256",
		"ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
		"ECDHE-ECDSA-AES256-SHA384", "ECDHE-RSA-AES256-SHA384",
	}
	ecdheGCM = []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
		"ECDHE-RSA-AES256-GCM-SHA384",
	}
	rsa     = []string{"AES128-GCM-SHA256", "AES128-SHA256", "AES128-SHA", "AES256-GCM-SHA384", "AES256-SHA256", "AES256-SHA"}
	rsaSHA2 = []string{"AES128-GCM-SHA256", "AES128-SHA256", "AES256-GCM-SHA384", "AES256-SHA256"}

	from10 = []string{"TLSv1", "TLSv1.1", "TLSv1.2"}
	from11 = []string{"TLSv1.1", "TLSv1.2"}
	only12 = []string{"TLSv1.2"}
	only13 = []string{"TLSv1.3"}
)

// fips are the policies of FIPS, each with and without post-quantum key
// exchanges where AWS has both.
func fips() (all []Policy) {
	for _, p := range []struct {
		name      string
		protocols []string
		ciphers   []string
		hybrid    bool
	}{
		{"TLS13-1-3", only13, nil, true},
		{"TLS13-1-2", with13(only12), ecdheSHA2, true},
		{"TLS13-1-2-Res", with13(only12), ecdheGCM, true},
		{"TLS13-1-2-Ext0", with13(only12), ecdhe, true},
		{"TLS13-1-2-Ext1", with13(only12), slices.Concat(ecdheSHA2, rsaSHA2), true},
		{"TLS13-1-2-Ext2", with13(only12), slices.Concat(ecdhe, rsa), true},
		{"TLS13-1-1", with13(from11), slices.Concat(ecdhe, rsa), false},
		{"TLS13-1-0", with13(from10), slices.Concat(ecdhe, rsa), true},
	} {
		v := Policy{Name: "ELBSecurityPolicy-" + p.name + "-FIPS-2023-04", Protocols: p.protocols, Ciphers: slices.Concat(tls13[:2], p.ciphers), FIPS: true}
		all = append(all, v)
		if p.hybrid {
			v.Name, v.PostQuantum = "ELBSecurityPolicy-"+p.name+"-FIPS-PQ-2025-09", true
			all = append(all, v)
		}
	}
	return all
}

func with13(older []string) []string { return append(slices.Clip(older), "TLSv1.3") }

// policies are those that this server can keep to. What is not among them are
// those of RFC 9151, which leave out a suite of TLS 1.3 that is preferred here.
var policies = append([]Policy{
	{Name: "ELBSecurityPolicy-2016-08", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS13-1-2-2021-06", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheSHA2)},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Res-2021-06", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheGCM)},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheSHA2, rsaSHA2)},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS13-1-1-2021-06", Protocols: with13(from11), Ciphers: slices.Concat(tls13, ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS13-1-0-2021-06", Protocols: with13(from10), Ciphers: slices.Concat(tls13, ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS13-1-3-2021-06", Protocols: only13, Ciphers: tls13},
	{Name: "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", Protocols: only13, Ciphers: tls13, PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheSHA2), PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheGCM), PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdheSHA2, rsaSHA2), PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09", Protocols: with13(only12), Ciphers: slices.Concat(tls13, ecdhe, rsa), PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS13-1-0-PQ-2025-09", Protocols: with13(from10), Ciphers: slices.Concat(tls13, ecdhe, rsa), PostQuantum: true},
	{Name: "ELBSecurityPolicy-TLS-1-2-2017-01", Protocols: only12, Ciphers: slices.Concat(ecdheSHA2, rsaSHA2)},
	{Name: "ELBSecurityPolicy-TLS-1-2-Ext-2018-06", Protocols: only12, Ciphers: slices.Concat(ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS-1-1-2017-01", Protocols: from11, Ciphers: slices.Concat(ecdhe, rsa)},
	{Name: "ELBSecurityPolicy-TLS-1-0-2015-04", Protocols: from10, Ciphers: slices.Concat(ecdhe, rsa, []string{"DES-CBC3-SHA"})},
	{Name: "ELBSecurityPolicy-FS-2018-06", Protocols: from10, Ciphers: ecdhe},
	{Name: "ELBSecurityPolicy-FS-1-1-2019-08", Protocols: from11, Ciphers: ecdhe},
	{Name: "ELBSecurityPolicy-FS-1-2-2019-08", Protocols: only12, Ciphers: ecdhe},
	{Name: "ELBSecurityPolicy-FS-1-2-Res-2019-08", Protocols: only12, Ciphers: ecdheSHA2},
	{Name: "ELBSecurityPolicy-FS-1-2-Res-2020-10", Protocols: only12, Ciphers: ecdheGCM},
}, fips()...)

// All lists the policies. The slice must not be changed.
func All() []Policy { return policies }

// Lookup finds a policy by name.
func Lookup(name string) (Policy, bool) {
	i := slices.IndexFunc(policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Policy{}, false
	}
	return policies[i], true
}

var versions = map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11, "TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}

// suites are crypto/tls's of the ciphers up to TLS 1.2. Those with CBC and a
// SHA-2 longer than 256 bits, and AES256-SHA256, it does not know: they are
// listed and not negotiated.
var suites = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES128-SHA256":     tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	"ECDHE-RSA-AES128-SHA256":       tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES128-SHA256":                 tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	"DES-CBC3-SHA":                  tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
}

// Apply makes c offer what the policy says.
func (p Policy) Apply(c *tls.Config) {
	c.MinVersion, c.MaxVersion = versions[p.Protocols[0]], versions[p.Protocols[len(p.Protocols)-1]]
	c.CipherSuites = []uint16{}
	for _, name := range p.Ciphers {
		if s, ok := suites[name]; ok {
			c.CipherSuites = append(c.CipherSuites, s)
		}
	}
	c.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	if p.FIPS {
		c.CurvePreferences = c.CurvePreferences[1:]
	}
	if p.PostQuantum {
		c.CurvePreferences = append([]tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}, c.CurvePreferences...)
	}
}

// versionNames and suiteNames are crypto/tls's under OpenSSL's names, which are
// AWS's.
var versionNames, suiteNames = named(versions), named(suites)

func named(numbers map[string]uint16) map[uint16]string {
	out := make(map[uint16]string, len(numbers))
	for name, n := range numbers {
		out[n] = name
	}
	return out
}

// Negotiated names a version and a cipher suite of crypto/tls as OpenSSL does:
// TLSv1.2, ECDHE-RSA-AES128-GCM-SHA256. 0 has no name.
func Negotiated(version, suite uint16) (protocol, cipher string) {
	protocol, cipher = versionNames[version], suiteNames[suite]
	if cipher == "" && suite != 0 {
		cipher = tls.CipherSuiteName(suite) // those of TLS 1.3 have one name
	}
	return protocol, cipher
}
