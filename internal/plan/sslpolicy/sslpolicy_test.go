package sslpolicy

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Policies of FIPS have no ChaCha20 and no X25519 alone, and are named and
// ordered as those that they are the counterparts of.
func TestFIPSPolicies(t *testing.T) {
	n := 0
	for _, p := range All() {
		if !p.FIPS {
			continue
		}
		n++
		if slices.Contains(p.Ciphers, "TLS_CHACHA20_POLY1305_SHA256") || p.PostQuantum != strings.Contains(p.Name, "-PQ-") {
			t.Errorf("%+v", p)
		}
		c := &tls.Config{}
		p.Apply(c)
		if slices.Contains(c.CurvePreferences, tls.X25519) || p.PostQuantum != slices.Contains(c.CurvePreferences, tls.X25519MLKEM768) {
			t.Errorf("%s: %v", p.Name, c.CurvePreferences)
		}
	}
	if n != 15 {
		t.Errorf("%d policies", n)
	}
	names := map[string]bool{}
	for _, p := range All() {
		if names[p.Name] {
			t.Errorf("%s is there twice", p.Name)
		}
		names[p.Name] = true
	}
}

func TestChaCha20(t *testing.T) {
	const aes, chacha = tls.TLS_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256
	for _, c := range []struct {
		name, policy string
		offered      []uint16
		versions     []uint16
		want         uint16 // the newest version, 0 for an error
	}{
		{"without it", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", []uint16{aes}, []uint16{tls.VersionTLS13, tls.VersionTLS12}, tls.VersionTLS13},
		{"preferred", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", []uint16{chacha, aes}, []uint16{tls.VersionTLS13, tls.VersionTLS12}, tls.VersionTLS12},
		{"behind what nobody knows", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", []uint16{0x0a0a, chacha, aes}, []uint16{tls.VersionTLS13}, tls.VersionTLS12},
		{"behind an old suite", "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, aes, chacha}, []uint16{tls.VersionTLS13}, tls.VersionTLS12},
		{"of an old client", "ELBSecurityPolicy-TLS13-1-0-FIPS-2023-04", []uint16{chacha, aes}, []uint16{tls.VersionTLS12}, tls.VersionTLS13},
		{"nothing else", "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", []uint16{chacha, aes}, []uint16{tls.VersionTLS13}, 0},
		{"a policy that has it", "ELBSecurityPolicy-TLS13-1-3-2021-06", []uint16{chacha, aes}, []uint16{tls.VersionTLS13}, tls.VersionTLS13},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, ok := Lookup(c.policy)
			if !ok {
				t.Fatal(c.policy)
			}
			cfg := &tls.Config{}
			p.Apply(cfg)
			got, err := p.For(&tls.ClientHelloInfo{CipherSuites: c.offered, SupportedVersions: c.versions}, cfg)
			switch {
			case c.want == 0 && !errors.Is(err, ErrChaCha20), c.want != 0 && (err != nil || got.MaxVersion != c.want):
				t.Errorf("%v %v", got, err)
			}
			if cfg.MaxVersion != tls.VersionTLS13 {
				t.Errorf("the configuration of all was changed: %v", cfg)
			}
		})
	}
	// Where AES is fast, a client that prefers it gets it.
	p, _ := Lookup("ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04")
	if _, err := p.For(&tls.ClientHelloInfo{CipherSuites: []uint16{aes, chacha}, SupportedVersions: []uint16{tls.VersionTLS13}}, &tls.Config{}); (err == nil) != fastAES {
		t.Error(err)
	}
}
