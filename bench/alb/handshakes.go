package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// handshake is how connections begin that are made for one request.
type handshake string

const (
	noHandshake      handshake = ""
	fullHandshake    handshake = "full"
	resumedHandshake handshake = "resumed"
)

// pem is the file with the certificate and the key of all.
func (b *bench) pem() string { return filepath.Join(b.dir, "bench.pem") }

func (b *bench) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example.com"}, DNSNames: []string{"shop.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return os.WriteFile(b.pem(), text, 0o600)
}

// clientConfig asks for what all proxies have. It takes any certificate: the
// client is not what is measured.
func clientConfig() *tls.Config {
	return &tls.Config{
		ServerName: "shop.example.com", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, //nolint:gosec // the benchmark's own servers
		CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"http/1.1"},
	}
}

// shakes makes connections on the load's core.
func (b *bench) shakes(ctx context.Context, w workload, p *proxy) (l loaded, err error) {
	self, err := os.Executable()
	if err != nil {
		return l, err
	}
	out, err := pinned(ctx, self, "handshakes", p.secure, w.path, string(w.shake), strconv.Itoa(w.connections), b.cell.String())
	if err != nil {
		return l, err
	}
	var r shaken
	if err := json.Unmarshal(out, &r); err != nil {
		return l, fmt.Errorf("handshakes: %w\n%s", err, out)
	}
	l = loaded{took: r.Took, requests: int64(len(r.Latencies)), failures: r.Failures}
	l.p50, l.p99 = percentiles(r.Latencies)
	return l, nil
}

// shaken is what the client of handshakes prints.
type shaken struct {
	Took      time.Duration
	Latencies []time.Duration
	Failures  int64
}

// handshakes is the client: address, path, kind, how many at once, how long.
func handshakes(args []string) error {
	clients, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[4])
	if err != nil {
		return err
	}
	request := []byte("GET " + args[1] + " HTTP/1.1\r\n")
	for _, h := range common {
		request = append(append(request, h...), "\r\n"...)
	}
	request = append(request, "Connection: close\r\n\r\n"...)
	resume := handshake(args[2]) == resumedHandshake
	var mu sync.Mutex
	var r shaken
	var wg sync.WaitGroup
	began := time.Now()
	for range clients {
		wg.Go(func() {
			config := clientConfig()
			if resume {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			var took []time.Duration
			var failures int64
			// The first connection of a client has no session to resume.
			for first := true; time.Since(began) < d; first = false {
				t := time.Now()
				if err := shake(args[0], config, request, resume && !first); err != nil {
					failures++
					continue
				}
				took = append(took, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			r.Latencies = append(r.Latencies, took...)
			r.Failures += failures
		})
	}
	wg.Wait()
	r.Took = time.Since(began)
	return json.NewEncoder(os.Stdout).Encode(r)
}

var errAnswer = errors.New("not what was asked for")

// shake makes a connection, asks once and closes.
func shake(address string, config *tls.Config, request []byte, resumed bool) error {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	c := tls.Client(nc, config)
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return err
	}
	if c.ConnectionState().DidResume != resumed || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		return errAnswer
	}
	return nil
}
