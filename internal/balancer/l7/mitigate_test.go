package l7

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"roadstead.dev/internal/balancer/h1"
)

func TestDesyncModes(t *testing.T) {
	const (
		plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		none  = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
	)
	for _, c := range []struct {
		name, raw string
		// How many of the request and the plain one behind it are answered with
		// 200, by mode; a refused one is answered with 400.
		monitor, defensive, strictest int
	}{
		{"compliant", plain, 2, 2, 2},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 2, 2, 2},
		{"length 0", none, 2, 2, 0},
		{"HEAD with length 0", strings.Replace(none, "GET", "HEAD", 1), 2, 2, 0},
		{"beyond ASCII", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n", 2, 2, 0},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", 2, 2, 0},
		{"length of a GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 2, 1, 0},
		{"chunks of a GET", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 2, 1, 0},
		{"suspicious length", "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n", 2, 1, 0},
		{"suspicious coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer.Encoding: chunked\r\n\r\n", 2, 1, 0},
		{"severe", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", 0, 0, 0},
	} {
		for mode, want := range map[Desync]int{DesyncMonitor: c.monitor, DesyncDefensive: c.defensive, "": c.defensive, DesyncStrictest: c.strictest} {
			t.Run(c.name+" "+string(mode), func(t *testing.T) {
				opened := make(chan struct{}, 10)
				target := backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				b := start(t, Settings{Desync: mode}, target)
				b.group.Set(GroupSettings{}, []*Target{NewTarget(target, noting(opened))})
				got := talk(t, b.addr, c.raw+"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				if n := strings.Count(got, "HTTP/1.1 200 OK\r\n"); n != want {
					t.Errorf("%d answers, want %d: %q", n, want, got)
				}
				if want == 0 && !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") {
					t.Errorf("got %q", got)
				}
				if noted := b.stats.NonCompliant.Load() > 0; noted != (c.strictest == 0 && c.monitor == 2 && (c.name != "bare line feeds" || mode == DesyncStrictest)) {
					t.Errorf("%d requests are counted", b.stats.NonCompliant.Load())
				}
			})
		}
	}
}

// The connection to the target that an ambiguous request took is not used
// again.
func TestAmbiguousRequestsShareNothing(t *testing.T) {
	opened := make(chan struct{}, 10)
	target := backend(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	b := start(t, Settings{}, target)
	b.group.Set(GroupSettings{}, []*Target{NewTarget(target, noting(opened))})
	for _, body := range []string{"", "x"} {
		before := len(opened)
		for range 2 {
			raw := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
			if body != "" {
				raw = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"
			}
			if got := talk(t, b.addr, raw); !strings.HasPrefix(got, "HTTP/1.1 200") {
				t.Fatalf("got %q", got)
			}
		}
		// The first ambiguous one takes over the connection of the plain ones.
		if n := len(opened) - before; n != 1 {
			t.Errorf("body %q: %d connections", body, n)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n")
	f.Fuzz(func(t *testing.T, head string) {
		var r h1.Request
		if r.Parse([]byte(head)) != nil {
			return
		}
		if tier, reason := classify(&r, []byte(head)); (tier == compliant) != (reason == "") {
			t.Errorf("tier %d for %q", tier, reason)
		}
	})
}
