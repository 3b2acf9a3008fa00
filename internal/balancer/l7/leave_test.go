package l7

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A request whose connection began before the server was told to end is
// answered: in its handshake, or before its first byte. (A client of HTTP/2 is told
// before it sends one.)
func TestShutdownServesWhatBegan(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "got %s", body)
	})
	for _, h := range []struct {
		name string
		tls  *TLS
	}{{"HTTP", nil}, {"HTTPS", secure(t, modern, certificate(t, 1, nil, "a.test"))}} {
		b := start(t, Settings{Scheme: "https"}, target)
		b.server.lastChance = lastHandshake
		b.swapTLS(h.tls)
		nc, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		waitFor(t, func() bool { return b.stats.Connections.Load() == 1 })
		down := make(chan struct{})
		go func() { defer close(down); b.server.Shutdown(context.Background()) }()
		waitFor(t, b.server.isClosing)
		c := &http.Client{Transport: &http.Transport{
			DialContext:     func(context.Context, string, string) (net.Conn, error) { return nc, nil },
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		url := "https://"
		if h.tls == nil {
			url = "http://"
		}
		resp, err := c.Post(url+b.addr, "text/plain", strings.NewReader(strings.Repeat("x", 100_000)))
		if err != nil {
			t.Errorf("%s: %v", h.name, err)
		} else {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || len(body) != 100_004 || !resp.Close {
				t.Errorf("%s: %d bytes (%v), closes %v", h.name, len(body), err, resp.Close)
			}
		}
		<-down
	}
}

// Servers take turns at a port under load, as programs do at a restart: no
// request that was sent is lost, over connections that stay and ones that do not.
func TestTakeoverLosesNothing(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for name, s := range map[string]*TLS{"HTTP": nil, "HTTPS": secure(t, modern, certificate(t, 1, nil, "a.test"))} {
		t.Run(name, func(t *testing.T) { takeover(t, s, target) })
	}
}

func takeover(t *testing.T, s *TLS, target string) {
	b := start(t, Settings{Scheme: "https"}, target)
	b.swapTLS(s)
	table := b.server.table.Load()
	lc := &net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	scheme := "https://"
	if s == nil {
		scheme = "http://"
	}
	stop, requests := make(chan struct{}), make(chan int)
	for i := range 6 {
		go func() {
			n := 0
			defer func() { requests <- n }()
			c := client(t, s != nil && i%3 == 0)
			c.Transport.(*http.Transport).DisableKeepAlives = i%3 == 1
			for {
				select {
				case <-stop:
					return
				default:
				}
				// POST is not repeated by the client itself.
				resp, err := c.Post(scheme+addr, "text/plain", strings.NewReader("x"))
				if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED) {
					continue // between two servers
				}
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				n++
			}
		}()
	}
	for range 3 {
		server := NewServer(table, b.stats, b.server.log)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Serve(ctx, l) })
		before := b.stats.Requests.Load()
		waitFor(t, func() bool { return b.stats.Requests.Load() > before+50 || t.Failed() })
		cancel()
		wg.Wait()
		server.Shutdown(context.Background())
		if l, err = lc.Listen(t.Context(), "tcp", addr); err != nil {
			t.Fatal(err)
		}
	}
	server := NewServer(table, b.stats, b.server.log)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ctx, l) })
	close(stop)
	total := 0
	for range 6 {
		total += <-requests
	}
	cancel()
	wg.Wait()
	server.Shutdown(context.Background())
	if total < 150 {
		t.Errorf("%d requests were made", total)
	}
}

// An idle connection ends soon.
func TestShutdownEndsIdleConnections(t *testing.T) {
	b := start(t, Settings{}, backend(t, func(http.ResponseWriter, *http.Request) {}))
	nc, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.Close {
		t.Fatalf("%+v, %v", resp, err)
	}
	b.server.Shutdown(context.Background())
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}
