package accesslog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/accesslog"
	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/plan/sslpolicy"
)

// certificate is for a name.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func TestNetworkLog(t *testing.T) {
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	go func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 5))
			_, _ = io.WriteString(c, "answer")
			_ = c.Close()
		}
	}()
	cert := certificate(t, "a.test")
	policy, ok := sslpolicy.Lookup("ELBSecurityPolicy-TLS13-1-2-2021-06")
	if !ok {
		t.Fatal("the policy is gone")
	}
	o := accesslog.NewOutput(accesslog.Network, accesslog.Format{})
	log := accesslog.NewLog("net/tls/50dc6c495c0c9188", []*accesslog.Output{o})
	s := conduit.NewServer(func(ctx context.Context, _ netip.Addr, _, target netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", target.String())
	}, new(l7.Stats), slog.New(slog.DiscardHandler))
	table := func(protocols ...string) *conduit.Table {
		return &conduit.Table{
			Idle: time.Minute, Sessions: log.Secure(), Listener: "g3d4b5e8bb8464cd",
			TLS: &conduit.TLS{
				Policy: policy, Certificates: sni.New(&cert, nil), Names: map[*x509.Certificate]string{cert.Leaf: "arn:cert"}, Protocols: protocols,
			},
			Pools: map[netip.Addr][]conduit.Pool{netip.MustParseAddr("127.0.0.1"): {{Weight: 1, Targets: []netip.AddrPort{back.Addr().(*net.TCPAddr).AddrPort()}}}},
		}
	}
	l := s.NewListener(table())
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, front) }()
	defer func() {
		cancel()
		<-done
		s.Shutdown(ctx)
	}()
	const when = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`
	head := `^tls 2\.0 ` + when + ` net/tls/50dc6c495c0c9188 g3d4b5e8bb8464cd 127\.0\.0\.1:\d+ ` + regexp.QuoteMeta(front.Addr().String()) + ` `
	for _, c := range []struct {
		name      string
		protocols []string
		client    *tls.Config
		want      string
	}{
		{
			"TLS 1.3", nil, &tls.Config{InsecureSkipVerify: true, ServerName: "a.test", NextProtos: []string{"h2"}},
			`\d+ \d+ 5 6 - arn:cert - TLS_AES_\S+ tlsv13 - a\.test - - - `,
		},
		{
			"TLS 1.2 with ALPN",
			[]string{"h2", "http/1.1"},
			&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1", "h2", "a b\""}},
			`\d+ \d+ 5 6 - arn:cert - ECDHE-ECDSA-AES128-GCM-SHA256 tlsv12 - - h2 - "http/1\.1","h2","a%20b%22" `,
		},
		{
			"alert", nil, &tls.Config{ServerName: "other.test", MaxVersion: tls.VersionTLS12},
			`\d+ - 0 0 42 arn:cert - - - - other\.test - - - `,
		},
		{
			"alert of TLS 1.3", nil, &tls.Config{ServerName: "other.test"},
			`\d+ - 0 0 42 arn:cert - - - - other\.test - - - `,
		},
		{"no TLS", nil, nil, `\d+ - 0 0 - - - - - - - - - - `},
	} {
		l.Swap(table(c.protocols...))
		nc, err := net.Dial("tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if c.client != nil {
			nc = tls.Client(nc, c.client)
		}
		_, _ = io.WriteString(nc, "hello")
		_, _ = io.ReadAll(nc)
		_ = nc.Close()
		if got := fetch(t, o, 1)[0]; !regexp.MustCompile(head + c.want + when + `$`).MatchString(got) {
			t.Errorf("%s:\n%s\nis not like\n%s", c.name, got, head+c.want)
		}
	}
}
