package l7

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2cBackend is a target of HTTP/2 with prior knowledge. Opened counts its
// connections.
func h2cBackend(t testing.TB, opened *atomic.Int64, cfg *http.HTTP2Config, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = cfg
	if opened != nil {
		s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				opened.Add(1)
			}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// framed answers the frames of each connection by f, whose n counts
// connections from 1, after the settings are exchanged.
func framed(t testing.TB, f func(n int64, fr *http2.Framer)) string {
	t.Helper()
	var n atomic.Int64
	return rawBackend(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = fr.WriteSettings()
		f(n.Add(1), fr)
	})
}

// awaitHeaders reads on until a request begins; nil when none does.
func awaitHeaders(fr *http2.Framer) *http2.MetaHeadersFrame {
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			return f
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = fr.WriteSettingsAck()
			}
		}
	}
}

// drainFrames reads until the connection ends.
func drainFrames(fr *http2.Framer) {
	for {
		if _, err := fr.ReadFrame(); err != nil {
			return
		}
	}
}

func respondOK(fr *http2.Framer, stream uint32, body string) {
	var b bytes.Buffer
	_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true})
	_ = fr.WriteData(stream, true, []byte(body))
}

// askH2 sends a request in HTTP/2 and returns status and body.
func askH2(t testing.TB, b *lb, method, path string, body io.Reader) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), method, "https://"+b.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t, true).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

// A request that a target certainly did not take is sent again, with its body;
// any other is not.
func TestUntakenRequestsAreRepeated(t *testing.T) {
	refuse := func(_ int64, fr *http2.Framer) bool {
		if h := awaitHeaders(fr); h != nil {
			_ = fr.WriteRSTStream(h.StreamID, http2.ErrCodeRefusedStream)
		}
		return true
	}
	for _, c := range []struct {
		name string
		// first deals with the first request, and tells whether the connection
		// goes on.
		first func(n int64, fr *http2.Framer) bool
		ok    bool
	}{
		{"refused", refuse, true},
		{"not begun at GOAWAY", func(_ int64, fr *http2.Framer) bool {
			if h := awaitHeaders(fr); h != nil {
				_ = fr.WriteGoAway(h.StreamID-2, http2.ErrCodeNo, nil)
			}
			return false
		}, true},
		{"cancelled by the target", func(_ int64, fr *http2.Framer) bool {
			if h := awaitHeaders(fr); h != nil {
				_ = fr.WriteRSTStream(h.StreamID, http2.ErrCodeCancel)
			}
			return true
		}, false},
		{"closed", func(_ int64, fr *http2.Framer) bool {
			awaitHeaders(fr)
			return false
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var served atomic.Int64
			addr := framed(t, func(n int64, fr *http2.Framer) {
				// One request succeeds first, since a refusal of a connection's
				// first stream says more about the connection.
				if n == 1 {
					h := awaitHeaders(fr)
					if h == nil {
						return
					}
					respondOK(fr, h.StreamID, "first")
					if !c.first(n, fr) {
						return
					}
				}
				for h := awaitHeaders(fr); h != nil; h = awaitHeaders(fr) {
					served.Add(1)
					respondOK(fr, h.StreamID, "again")
				}
			})
			b := startHTTP2(t, HTTP2, false, addr)
			if s, body, err := askH2(t, b, http.MethodGet, "/", nil); err != nil || s != 200 || body != "first" {
				t.Fatalf("first: %d %q %v", s, body, err)
			}
			s, body, err := askH2(t, b, http.MethodPost, "/", strings.NewReader("hello"))
			switch {
			case err != nil:
				t.Error(err)
			case c.ok && (s != 200 || body != "again"):
				t.Errorf("got %d %q", s, body)
			case !c.ok && (s != 502 || served.Load() != 0):
				t.Errorf("got %d %q, and the target served %d more", s, body, served.Load())
			}
		})
	}
}

// The body that was read for an attempt that failed is there for the next one.
func TestRepeatedBodyIsWhole(t *testing.T) {
	const size = 20_000
	got := make(chan int, 1)
	addr := framed(t, func(_ int64, fr *http2.Framer) {
		refused := false
		total := 0
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			d, ok := f.(*http2.DataFrame)
			if !ok {
				continue
			}
			if !refused {
				refused = true
				_ = fr.WriteRSTStream(d.StreamID, http2.ErrCodeRefusedStream)
				continue
			}
			if d.StreamID == 1 {
				continue
			}
			if total += len(d.Data()); d.StreamEnded() {
				respondOK(fr, d.StreamID, "ok")
				got <- total
			}
		}
	})
	b := startHTTP2(t, HTTP2, false, addr)
	if s, body, err := askH2(t, b, http.MethodPost, "/", bytes.NewReader(make([]byte, size))); err != nil || s != 200 || body != "ok" {
		t.Fatalf("got %d %q %v", s, body, err)
	}
	if n := <-got; n != size {
		t.Errorf("the second attempt had %d bytes of body, want %d", n, size)
	}
}

// What is compatible with what is as AWS documents it.
func TestIncompatibleVersions(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) }
	one, two := backend(t, echo), h2cBackend(t, nil, nil, echo)
	for _, c := range []struct {
		version Version
		h2      bool
		method  string
		grpc    bool
		want    int
	}{
		{HTTP1, false, "GET", false, 200},
		{HTTP1, true, "GET", false, 200},
		{HTTP1, true, "POST", true, 464},
		{HTTP2, false, "GET", false, 464},
		{HTTP2, true, "GET", false, 200},
		{HTTP2, true, "POST", true, 200},
		{GRPC, false, "POST", false, 464},
		{GRPC, true, "GET", false, 464},
		{GRPC, true, "POST", false, 200},
		{GRPC, true, "POST", true, 200},
	} {
		t.Run(fmt.Sprintf("%s h2=%v %s grpc=%v", c.version, c.h2, c.method, c.grpc), func(t *testing.T) {
			addr := two
			if c.version == HTTP1 {
				addr = one
			}
			b := startHTTP2(t, c.version, false, addr)
			if c.version == HTTP1 {
				b.group.Set(GroupSettings{Version: HTTP1}, []*Target{NewTarget(addr, tcpDial)})
			}
			req, _ := http.NewRequest(c.method, "https://"+b.addr+"/", nil)
			if c.grpc {
				req.Header.Set("Content-Type", "application/grpc+proto")
			}
			resp, err := client(t, c.h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want || c.want == 464 && (len(body) > 0 || resp.Header.Get("Server") != "awselb/2.0") || c.want == 200 && string(body) != c.method {
				t.Errorf("got %d %v %q, want %d", resp.StatusCode, resp.Header, body, c.want)
			}
		})
	}
}

// Requests and responses of HTTP/2 pass unchanged but for what a load balancer
// adds.
func TestHTTP2Messages(t *testing.T) {
	type seen struct {
		proto, method, uri, host, body string
		header, trailer                http.Header
		length                         int64
	}
	got := make(chan seen, 1)
	addr := h2cBackend(t, nil, nil, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Proto, r.Method, r.RequestURI, r.Host, string(body), r.Header, r.Trailer, r.ContentLength}
		switch r.URL.Path {
		case "/trailers":
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "with trailers")
			w.Header().Set("X-Sum", "abc")
		case "/hints":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "hinted")
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header()["X-Twice"] = []string{"1", "2"}
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "12345")
		}
	})
	b := startHTTP2(t, HTTP2, false, addr)
	c := client(t, true)
	do := func(method, uri string, body io.Reader, trailer http.Header, ctx context.Context) (*http.Response, string, seen) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, "https://"+b.addr+uri, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Host, req.Trailer = "shop.test", trailer
		req.Header.Set("Cookie", "a=b; c=d")
		req.Header.Set("User-Agent", "")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		content, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(content), <-got
	}
	resp, body, s := do(http.MethodGet, "/a%2Fb//c?x=%20y&z", nil, nil, within(t))
	if resp.ContentLength != 5 || body != "12345" || len(resp.Header["X-Twice"]) != 2 || resp.Proto != "HTTP/2.0" {
		t.Errorf("response %+v %q", resp, body)
	}
	if s.proto != "HTTP/2.0" || s.uri != "/a%2Fb//c?x=%20y&z" || s.host != "shop.test" || s.header.Get("Cookie") != "a=b; c=d" || s.header["User-Agent"] != nil ||
		s.header.Get("X-Forwarded-For") != "127.0.0.1" || s.header.Get("X-Forwarded-Proto") != "https" || s.header.Get("X-Amzn-Trace-Id") == "" || s.length != 0 {
		t.Errorf("the target saw %+v", s)
	}
	if _, _, s = do(http.MethodGet, "//double", nil, nil, within(t)); s.uri != "//double" {
		t.Errorf("the target saw %+v", s)
	}
	if _, _, s = do(http.MethodPut, "/", strings.NewReader("known length"), nil, within(t)); s.method != "PUT" || s.body != "known length" || s.length != 12 {
		t.Errorf("the target saw %+v", s)
	}
	resp, body, s = do(http.MethodPost, "/trailers", io.MultiReader(strings.NewReader("no "), strings.NewReader("length")), http.Header{"X-Check": {"1"}}, within(t))
	if s.body != "no length" || s.length != -1 || s.trailer.Get("X-Check") != "1" {
		t.Errorf("the target saw %+v", s)
	}
	if body != "with trailers" || resp.Trailer.Get("X-Sum") != "abc" {
		t.Errorf("response %+v %q", resp, body)
	}
	if resp, body, _ = do(http.MethodHead, "/", nil, nil, within(t)); resp.ContentLength != 5 || body != "" {
		t.Errorf("response to HEAD %+v %q", resp, body)
	}
	if resp, _, _ = do(http.MethodGet, "/none", nil, nil, within(t)); resp.StatusCode != http.StatusNoContent {
		t.Errorf("response %+v", resp)
	}
	var hints []string
	ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	if _, body, _ = do(http.MethodGet, "/hints", nil, nil, ctx); body != "hinted" || len(hints) != 1 || hints[0] != "103</a.css>; rel=preload" {
		t.Errorf("got %q, hints %q", body, hints)
	}
}

// Requests to a target share a connection, as many as it takes; then there is
// another one.
func TestHTTP2ConnectionsAreShared(t *testing.T) {
	const limit, requests = 4, 10
	var opened atomic.Int64
	arrived, release := make(chan struct{}, requests), make(chan struct{})
	addr := h2cBackend(t, &opened, &http.HTTP2Config{MaxConcurrentStreams: limit}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			<-release
		}
	})
	b := startHTTP2(t, HTTP2, false, addr)
	for range 5 {
		if s, _, err := askH2(t, b, http.MethodGet, "/", nil); err != nil || s != 200 {
			t.Fatal(s, err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			if s, _, err := askH2(t, b, http.MethodGet, "/wait", nil); err != nil || s != 200 {
				t.Error(s, err)
			}
		})
	}
	for range requests {
		<-arrived
	}
	if n := opened.Load(); n != 3 {
		t.Errorf("%d connections for %d requests at once, %d on each", n, requests, limit)
	}
	close(release)
	wg.Wait()
	m := b.group.state.Load().targets[0].h2
	now := time.Now()
	m.reap(now)
	m.reap(now.Add(poolTime + time.Second))
	if len(m.conns) != 0 {
		t.Errorf("%d idle connections are left", len(m.conns))
	}
}

// A response may go on while the request does, either for longer than the idle
// timeout, as long as the other is not idle.
func TestHTTP2IdleIsBothSides(t *testing.T) {
	const idle, beats = 200 * time.Millisecond, 12
	addr := h2cBackend(t, nil, nil, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		tick := time.NewTicker(idle / 4)
		defer tick.Stop()
		switch r.URL.Path {
		case "/down":
			for range beats {
				<-tick.C
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
			}
		case "/up":
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = fmt.Fprint(w, n)
		}
	})
	b := startHTTP2(t, HTTP2, false, addr)
	table := *b.server.table.Load()
	table.Settings.IdleTimeout = idle
	b.server.Swap(&table)
	r, silent := io.Pipe()
	defer silent.Close()
	if s, body, err := askH2(t, b, http.MethodPost, "/down", r); err != nil || s != 200 || body != strings.Repeat("x", beats) {
		t.Errorf("the client was silent: %d %q %v", s, body, err)
	}
	r, w := io.Pipe()
	go func() {
		tick := time.NewTicker(idle / 4)
		defer tick.Stop()
		for range beats {
			<-tick.C
			_, _ = w.Write([]byte("x"))
		}
		_ = w.Close()
	}()
	if s, body, err := askH2(t, b, http.MethodPost, "/up", r); err != nil || s != 200 || body != fmt.Sprint(beats) {
		t.Errorf("the target was silent: %d %q %v", s, body, err)
	}
}

// A target that does not answer in time costs its request alone, and the
// connection gets no other.
func TestHTTP2TargetIsSilent(t *testing.T) {
	var opened atomic.Int64
	addr := framed(t, func(n int64, fr *http2.Framer) {
		opened.Add(1)
		if n == 1 {
			drainFrames(fr)
			return
		}
		for h := awaitHeaders(fr); h != nil; h = awaitHeaders(fr) {
			respondOK(fr, h.StreamID, "alive")
		}
	})
	b := startHTTP2(t, HTTP2, false, addr)
	table := *b.server.table.Load()
	table.Settings.IdleTimeout = 150 * time.Millisecond
	b.server.Swap(&table)
	if s, _, err := askH2(t, b, http.MethodGet, "/", nil); err != nil || s != 504 {
		t.Errorf("silent: %d %v", s, err)
	}
	if s, body, err := askH2(t, b, http.MethodGet, "/", nil); err != nil || s != 200 || body != "alive" {
		t.Errorf("then: %d %q %v", s, body, err)
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A target that does not speak HTTP/2 is passed over as one that cannot be
// connected to is.
func TestHTTP2TargetSpeaksAnother(t *testing.T) {
	old := backend(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Error("an HTTP/1.1 target was asked")
		}
	})
	mute := rawBackend(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
	babbler := rawBackend(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 smtp.test ESMTP\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	for name, addr := range map[string]string{"HTTP/1.1": old, "closes": mute, "SMTP": babbler} {
		t.Run(name, func(t *testing.T) {
			b := startHTTP2(t, HTTP2, false, addr)
			if s, _, err := askH2(t, b, http.MethodPost, "/", strings.NewReader("x")); err != nil || s != 502 {
				t.Errorf("got %d, %v", s, err)
			}
			good := h2cBackend(t, nil, nil, func(http.ResponseWriter, *http.Request) {})
			b.group.Set(GroupSettings{Version: HTTP2}, []*Target{NewHTTP2Target(addr, tcpDial, false), NewHTTP2Target(good, tcpDial, false)})
			for range 3 {
				if s, _, err := askH2(t, b, http.MethodPost, "/", strings.NewReader("x")); err != nil || s != 200 {
					t.Errorf("beside another target: %d, %v", s, err)
				}
			}
		})
	}
}

// A response that breaks off does not end as if it were whole.
func TestHTTP2ResponseBreaksOff(t *testing.T) {
	addr := h2cBackend(t, nil, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100")
		}
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	b := startHTTP2(t, HTTP2, false, addr)
	for _, path := range []string{"/length", "/stream"} {
		if s, body, err := askH2(t, b, http.MethodGet, path, nil); err == nil {
			t.Errorf("%s: got a whole response, %d %q", path, s, body)
		}
	}
}

// Requests on a deregistered target's connections are cut when the delay is
// over, and new ones are not begun.
func TestHTTP2TargetCloses(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	addr := h2cBackend(t, nil, nil, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	b := startHTTP2(t, HTTP2, false, addr)
	done := make(chan int, 1)
	go func() {
		s, _, _ := askH2(t, b, http.MethodGet, "/", nil)
		done <- s
	}()
	<-arrived
	target := b.group.state.Load().targets[0]
	target.Close()
	<-gone
	if s := <-done; s != 502 {
		t.Errorf("got %d", s)
	}
	if _, err := target.get(t.Context(), false, false); !errors.Is(err, errTargetClosed) {
		t.Errorf("a new request: %v", err)
	}
}
