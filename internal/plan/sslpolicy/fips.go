package sslpolicy

import (
	"crypto/tls"
	"errors"
	"slices"

	"golang.org/x/sys/cpu"
)

// fastAES is what crypto/tls finds of the machine before it prefers AES-GCM.
var fastAES = cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ && cpu.X86.HasSSE41 && cpu.X86.HasSSSE3 || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL

// ErrChaCha20 refuses a client that a policy has no version of TLS for without
// ChaCha20.
var ErrChaCha20 = errors.New("the client prefers ChaCha20, which the security policy does not have")

// For is c, to which the policy was applied, as it is for a client. Which suite
// of TLS 1.3 is used cannot be configured: a client that would get one that the
// policy does not have gets TLS 1.2.
func (p Policy) For(hello *tls.ClientHelloInfo, c *tls.Config) (*tls.Config, error) {
	if !p.FIPS || !slices.Contains(hello.SupportedVersions, tls.VersionTLS13) || !getsChaCha20(hello.CipherSuites) {
		return c, nil
	}
	if p.Protocols[0] == "TLSv1.3" {
		return nil, ErrChaCha20
	}
	c = c.Clone()
	c.MaxVersion = tls.VersionTLS12
	return c, nil
}

// getsChaCha20 tells whether crypto/tls may choose ChaCha20 in TLS 1.3 from what
// a client offers: it does unless AES-GCM is what the client offers first, of
// what is known, and fast here.
func getsChaCha20(offered []uint16) bool {
	if !slices.Contains(offered, tls.TLS_CHACHA20_POLY1305_SHA256) {
		return false
	}
	if !fastAES {
		return true
	}
	i := slices.IndexFunc(offered, known)
	return i < 0 || !slices.Contains(aesGCM, offered[i])
}

// aesGCM are the suites that crypto/tls takes for a liking of AES-GCM.
var aesGCM = []uint16{
	tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
}

func known(id uint16) bool {
	is := func(s *tls.CipherSuite) bool { return s.ID == id }
	return slices.ContainsFunc(tls.CipherSuites(), is) || slices.ContainsFunc(tls.InsecureCipherSuites(), is)
}
