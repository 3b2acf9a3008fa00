package l7

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// respond answers each request of a connection with 100 bytes, as cheaply as
// possible, so that the proxy is what is measured.
func respond(c net.Conn) {
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 100\r\n\r\n"), make([]byte, 100)...)
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func load(b *testing.B, addr string) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(32)
	request := []byte("GET /index.html?a=b HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n")
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if err := discard(r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// discard reads a response with 100 bytes of body.
func discard(r *bufio.Reader) error {
	for {
		l, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(l) == 2 {
			_, err := r.Discard(100)
			return err
		}
	}
}

func BenchmarkProxy(b *testing.B) {
	lb := start(b, Settings{}, rawBackend(b, respond))
	b.ResetTimer()
	load(b, lb.addr)
}

func BenchmarkReverseProxy(b *testing.B) {
	u := &url.URL{Scheme: "http", Host: rawBackend(b, respond)}
	p := httputil.NewSingleHostReverseProxy(u)
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
	s := httptest.NewServer(p)
	defer s.Close()
	b.ResetTimer()
	load(b, s.Listener.Addr().String())
}

func BenchmarkDirect(b *testing.B) {
	addr := rawBackend(b, respond)
	b.ResetTimer()
	load(b, addr)
}

func BenchmarkUpload(b *testing.B) {
	lb := start(b, Settings{}, backend(b, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.SetBytes(1 << 20)
	for b.Loop() {
		resp, err := http.Post("http://"+lb.addr, "", io.LimitReader(zeros{}, 1<<20))
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted is a log that keeps nothing.
type counted struct{ n atomic.Int64 }

func (c *counted) Request(*Record) { c.n.Add(1) }

func BenchmarkProxyLogged(b *testing.B) {
	lb := start(b, Settings{}, rawBackend(b, respond))
	t := *lb.server.table.Load()
	t.Access = new(counted)
	lb.server.Swap(&t)
	b.ResetTimer()
	load(b, lb.addr)
}
