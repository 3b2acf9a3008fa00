package sslpolicy

import (
	"crypto/tls"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		name, reference string
		on              []string
		protocols       []string
		ciphers         []string
		refused         string
	}{
		{name: "a reference", reference: "ELBSecurityPolicy-TLS-1-2-2017-01", protocols: only12, ciphers: slices.Concat(ecdheSHA2, rsaSHA2)},
		{name: "an unknown reference", reference: "ELBSecurityPolicy-2011-08", refused: "ELBSecurityPolicy-2011-08 is not supported"},
		{name: "one's own", on: []string{"Protocol-TLSv1.2", "Protocol-TLSv1.1", "AES128-SHA", "ECDHE-RSA-AES128-SHA"}, protocols: from11, ciphers: []string{"ECDHE-RSA-AES128-SHA", "AES128-SHA"}},
		{name: "SSL 3.0", on: []string{"Protocol-SSLv3", "Protocol-TLSv1", "AES128-SHA"}, refused: "SSLv3"},
		{name: "a gap", on: []string{"Protocol-TLSv1", "Protocol-TLSv1.2", "AES128-SHA"}, refused: "between TLSv1 and TLSv1.2"},
		{name: "no protocol", on: []string{"AES128-SHA"}, refused: "at least one protocol"},
		{name: "no cipher", on: []string{"Protocol-TLSv1.2"}, refused: "at least one cipher"},
		{name: "no cipher that is known", on: []string{"Protocol-TLSv1.2", "SEED-SHA"}, refused: "none of the ciphers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := Negotiate("p", c.reference, func(a string) bool { return slices.Contains(c.on, a) })
			if c.refused != "" {
				if !errors.Is(err, ErrNegotiation) || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.protocols, n.Protocols); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.ciphers, n.Ciphers); d != "" {
				t.Error(d)
			}
		})
	}
}

// Every predefined policy can be negotiated, names only ciphers that a policy
// of one's own could, and no version beyond TLS 1.2.
func TestClassics(t *testing.T) {
	for _, n := range Classics() {
		var c tls.Config
		n.Apply(&c)
		if len(c.CipherSuites) == 0 || c.MaxVersion != tls.VersionTLS12 {
			t.Errorf("%s: %+v", n.Name, c.CipherSuites)
		}
		for _, name := range n.Ciphers {
			if !slices.Contains(ClassicCiphers, name) {
				t.Errorf("%s has %s", n.Name, name)
			}
		}
	}
	seen := map[string]bool{}
	for _, c := range ClassicCiphers {
		if seen[c] {
			t.Errorf("%s is there twice", c)
		}
		seen[c] = true
	}
}
