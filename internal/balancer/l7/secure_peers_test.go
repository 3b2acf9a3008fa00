package l7

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"roadstead.dev/internal/balancer/sni"
)

// TestPoliciesWithOpenSSL has OpenSSL shake hands by each version.
func TestPoliciesWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	b := startTLS(t, secure(t, modern, certificate(t, 1, rsaKey(), "a.test")))
	flags := []string{"-tls1", "-tls1_1", "-tls1_2", "-tls1_3"}
	for policy, want := range map[string]string{
		"ELBSecurityPolicy-2016-08":               "yes yes yes no",
		"ELBSecurityPolicy-TLS13-1-0-2021-06":     "yes yes yes yes",
		"ELBSecurityPolicy-TLS13-1-1-2021-06":     "no yes yes yes",
		"ELBSecurityPolicy-FS-1-2-Res-2020-10":    "no no yes no",
		"ELBSecurityPolicy-TLS13-1-2-Res-2021-06": "no no yes yes",
		"ELBSecurityPolicy-TLS13-1-3-2021-06":     "no no no yes",

		"ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04": "no no yes yes",
		"ELBSecurityPolicy-TLS13-1-0-FIPS-PQ-2025-09":   "yes yes yes yes",
		"ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04":      "no no no yes",
	} {
		b.swapTLS(secure(t, policy, certificate(t, 1, rsaKey(), "a.test")))
		var got []string
		for _, f := range flags {
			cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", b.addr, "-servername", "a.test", f, "-cipher", "ALL:@SECLEVEL=0")
			out, _ := cmd.CombinedOutput() // which fails where the certificate is not trusted
			switch {
			case bytes.Contains(out, []byte("Cipher is (NONE)")), !bytes.Contains(out, []byte("Cipher is ")):
				got = append(got, "no")
			default:
				got = append(got, "yes")
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", policy, got, want)
		}
	}
}

// TestFIPSWithOpenSSL has OpenSSL prefer what policies of FIPS do not have.
func TestFIPSWithOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	b := startTLS(t, secure(t, modern, certificate(t, 1, rsaKey(), "a.test")))
	const chacha, aes = "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"
	for _, c := range []struct{ policy, suites, groups, want string }{
		{"ELBSecurityPolicy-TLS13-1-2-2021-06", chacha, "X25519", "TLSv1.3, Cipher is " + chacha},
		{"ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", chacha + ":" + aes, "P-256", "TLSv1.2, Cipher is ECDHE-RSA-AES"},
		{"ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", chacha, "P-256", "TLSv1.2, Cipher is ECDHE-RSA-AES"},
		{"ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", aes, "P-384", "TLSv1.3, Cipher is " + aes},
		{"ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", aes, "X25519", "(NONE), Cipher is (NONE)"},
		{"ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", aes, "X25519:P-256", "TLSv1.3, Cipher is " + aes},
		{"ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", chacha + ":" + aes, "P-256", "(NONE), Cipher is (NONE)"},
	} {
		b.swapTLS(secure(t, c.policy, certificate(t, 1, rsaKey(), "a.test")))
		cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", b.addr, "-servername", "a.test", "-ciphersuites", c.suites, "-groups", c.groups)
		out, _ := cmd.CombinedOutput() // which fails where the certificate is not trusted
		if !bytes.Contains(out, []byte("New, "+c.want)) {
			t.Errorf("%+v: %s", c, out)
		}
	}
}

// TestNames asks by names that need care, among a hundred certificates.
func TestNames(t *testing.T) {
	list := []tls.Certificate{
		certificate(t, 2, nil, "*.wild.test"), certificate(t, 3, nil, "deep.x.wild.test"),
		certificate(t, 4, nil, "xn--bcher-kva.test"), certificate(t, 5, rsaKey(), "both.test"), certificate(t, 6, nil, "both.test"),
	}
	for i := range int64(95) {
		list = append(list, certificate(t, 100+i, nil, fmt.Sprintf("n%d.test", i)))
	}
	standard := certificate(t, 1, rsaKey(), "standard.test")
	b := startTLS(t, &TLS{Policy: policy(t, "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06"), Certificates: sni.New(&standard, list)})
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		name   string
		suites []uint16
		want   int64
	}{
		{"", nil, 1},
		{"127.0.0.1", nil, 1},
		{"unknown.test", nil, 1},
		{"standard.test", nil, 1},
		{"a.wild.test", nil, 2},
		{"A.Wild.Test", nil, 2},
		{"wild.test", nil, 1},
		{"a.b.wild.test", nil, 1},
		{"deep.x.wild.test", nil, 3},
		{"xn--bcher-kva.test", nil, 4},
		{"both.test", nil, 6},
		{"both.test", rsaOnly, 5},
		{"n94.test", nil, 194},
	} {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: c.name, CipherSuites: c.suites}
		if c.suites != nil {
			cfg.MaxVersion = tls.VersionTLS12
		}
		conn, err := tls.Dial("tcp", b.addr, cfg)
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != c.want {
			t.Errorf("%q %v: certificate %d, want %d", c.name, c.suites, got, c.want)
		}
		_ = conn.Close()
	}
}

// TestEventsOverTLS has each event of a stream arrive before the next is sent,
// and the request's body go the other way.
func TestEventsOverTLS(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Content-Type", "text/event-stream")
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = fmt.Fprintf(w, "data: %s\n\n", buf[:n])
				_ = rc.Flush()
			}
			if err != nil {
				return
			}
		}
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	for _, h2 := range []bool{false, true} {
		pr, pw := io.Pipe()
		req, err := http.NewRequest(http.MethodPost, "https://"+b.addr, pr)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(pw, "0") }()
		resp, err := client(t, h2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("data: 0\n\n"))
		for i := range 5 {
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != fmt.Sprintf("data: %d\n\n", i) {
				t.Fatalf("h2 %v: %q, %v", h2, got, err)
			}
			if i < 4 {
				_, _ = fmt.Fprint(pw, i+1)
			}
		}
		_ = pw.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("h2 %v: %q, %v at the end", h2, rest, err)
		}
		_ = resp.Body.Close()
	}
}

// WebSockets over HTTP/2 (RFC 8441) are not offered, as they are not by AWS.
func TestNoConnectProtocol(t *testing.T) {
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")))
	conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		s, ok := frame.(*http2.SettingsFrame)
		if !ok || s.IsAck() {
			continue
		}
		if v, ok := s.Value(http2.SettingEnableConnectProtocol); ok && v != 0 {
			t.Error("the extended CONNECT is offered")
		}
		return
	}
}

// Policies change under load: no request of a client that keeps to all of them
// fails, on connections that stay and on new ones.
func TestSwapPoliciesUnderLoad(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	cert := certificate(t, 1, rsaKey(), "a.test")
	b := startTLS(t, secure(t, modern, cert), target)
	stop, failed := make(chan struct{}), make(chan error)
	for i := range 4 {
		go func() {
			c := client(t, i%2 == 0)
			c.Transport.(*http.Transport).DisableKeepAlives = i > 1
			for {
				select {
				case <-stop:
					failed <- nil
					return
				default:
				}
				resp, err := c.Post("https://"+b.addr, "text/plain", strings.NewReader("x"))
				if err != nil {
					failed <- err
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}()
	}
	policies := []string{"ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS13-1-3-2021-06", "ELBSecurityPolicy-FS-1-2-2019-08", modern}
	for n := range 60 {
		before := b.stats.Requests.Load()
		b.swapTLS(secure(t, policies[n%len(policies)], cert))
		waitFor(t, func() bool { return b.stats.Requests.Load() > before })
	}
	close(stop)
	for range 4 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
