package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is a client that speaks in frames.
type peer struct {
	t    testing.TB
	c    net.Conn
	f    *http2.Framer
	enc  *hpack.Encoder
	head bytes.Buffer
	done chan struct{} // closed when the server's side has ended
	conn *Conn
}

// dial makes a connection that handle serves, as far as the settings.
func dial(t testing.TB, handle func(*Stream), change ...func(*Options)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MaxStreams: 10, MaxHead: 64 << 10, Timeout: 10 * time.Second, Handle: handle}
	for _, f := range change {
		f(&o)
	}
	p := &peer{t: t, c: c, f: http2.NewFramer(c, c), done: make(chan struct{}), conn: New(s, o)}
	p.f.AllowIllegalWrites = true
	p.f.SetMaxReadFrameSize(maxFrame)
	p.f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.head)
	go func() { defer close(p.done); p.conn.Serve() }()
	t.Cleanup(func() {
		_ = c.Close()
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			t.Error("the server's side does not end")
		}
	})
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	p.must(io.WriteString(c, http2.ClientPreface))
	p.ok(p.f.WriteSettings())
	return p
}

func (p *peer) must(_ int, err error) { p.t.Helper(); p.ok(err) }

func (p *peer) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// block encodes fields: names and values in turn.
func (p *peer) block(fields ...string) []byte {
	p.head.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.ok(p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return p.head.Bytes()
}

// usual are the fields of a good request.
func usual(more ...string) []string {
	return append([]string{":method", "POST", ":scheme", "https", ":path", "/p?q", ":authority", "a.test"}, more...)
}

func (p *peer) request(id uint32, end bool, fields ...string) {
	p.t.Helper()
	p.ok(p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(fields...), EndHeaders: true, EndStream: end}))
}

// until reads frames up to the first that ok takes.
func (p *peer) until(what string, ok func(http2.Frame) bool) {
	p.t.Helper()
	for {
		f, err := p.f.ReadFrame()
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", what, err)
		}
		if ok(f) {
			return
		}
	}
}

func (p *peer) goneAway(code http2.ErrCode) {
	p.t.Helper()
	p.until(fmt.Sprint("GOAWAY ", code), func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		if ok && g.ErrCode != code {
			p.t.Fatalf("GOAWAY %v, want %v", g.ErrCode, code)
		}
		return ok
	})
}

func (p *peer) wasReset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.until(fmt.Sprint("RST_STREAM ", code), func(f http2.Frame) bool {
		switch r := f.(type) {
		case *http2.RSTStreamFrame:
			if r.StreamID != id || r.ErrCode != code {
				p.t.Fatalf("RST_STREAM of %d, %v, want %d, %v", r.StreamID, r.ErrCode, id, code)
			}
			return true
		case *http2.GoAwayFrame:
			p.t.Fatalf("GOAWAY %v", r.ErrCode)
		}
		return false
	})
}

// answer reads a whole response.
func (p *peer) answer(id uint32) (status string, body []byte, trailers string) {
	p.t.Helper()
	p.until("a response", func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if status == "" {
				status = f.PseudoValue("status")
			} else {
				for _, t := range f.Fields {
					trailers += t.Name + "=" + t.Value + ";"
				}
			}
			return f.StreamEnded()
		case *http2.DataFrame:
			if f.StreamID != id {
				p.t.Fatalf("DATA of %d", f.StreamID)
			}
			body = append(body, f.Data()...)
			return f.StreamEnded()
		case *http2.GoAwayFrame:
			p.t.Fatalf("GOAWAY %v", f.ErrCode)
		case *http2.RSTStreamFrame:
			p.t.Fatalf("RST_STREAM %v", f.ErrCode)
		}
		return false
	})
	return status, body, trailers
}

func respond(s *Stream, body string) {
	r := s.Begin(200)
	r.Field([]byte("Content-Type"), []byte("text/plain"))
	r.Field([]byte("X-Own"), []byte("y"))
	if r.End(body == "") == nil && body != "" {
		_ = s.Write([]byte(body), true)
	}
}

// echo answers with the head and the body of the request.
func echo(s *Stream) {
	b, err := io.ReadAll(s)
	if err != nil {
		return
	}
	respond(s, string(s.Head())+string(b)+string(s.Trailers()))
}

func TestRequest(t *testing.T) {
	p := dial(t, echo)
	p.request(1, false, usual("x-a", "b", "cookie", "c=d", "cookie", "e=f", "te", "trailers", "expect", "100-continue")...)
	p.ok(p.f.WriteData(1, false, []byte("hello ")))
	p.ok(p.f.WriteDataPadded(1, false, []byte("world "), make([]byte, 20)))
	p.request(1, true, "x-sum", "z")
	status, body, _ := p.answer(1)
	const want = "POST /p?q HTTP/1.1\r\nhost: a.test\r\nx-a: b\r\ncookie: c=d; e=f\r\ntransfer-encoding: chunked\r\n\r\nhello world x-sum: z\r\n"
	if status != "200" || string(body) != want {
		t.Errorf("got %s %q, want %q", status, body, want)
	}
	p.request(3, false, usual("content-length", "2")...)
	p.ok(p.f.WriteData(3, true, []byte("ab")))
	if _, body, _ := p.answer(3); !strings.HasSuffix(string(body), "\r\ncontent-length: 2\r\n\r\nab") {
		t.Errorf("got %q", body)
	}
	p.request(5, true, usual()...)
	if _, body, _ := p.answer(5); !strings.HasSuffix(string(body), "\r\nhost: a.test\r\n\r\n") {
		t.Errorf("got %q", body)
	}
}

// Requests that HTTP/1.1 could not carry, or could be misunderstood there, end
// their stream before anybody sees them.
func TestMalformedRequests(t *testing.T) {
	without := func(name string) (out []string) {
		u := usual()
		for i := 0; i < len(u); i += 2 {
			if u[i] != name {
				out = append(out, u[i], u[i+1])
			}
		}
		return out
	}
	with := func(name, value string) []string { return append([]string{name, value}, without(name)...) }
	for name, fields := range map[string][]string{
		"CR LF in a value":          usual("x", "a\r\ncontent-length: 5"),
		"LF in a value":             usual("x", "a\ntransfer-encoding: chunked"),
		"CR in a value":             usual("x", "a\rb"),
		"NUL in a value":            usual("x", "a\x00b"),
		"space around a value":      usual("x", " a"),
		"CR LF in a name":           usual("x: y\r\nz", "a"),
		"colon in a name":           usual("host:", "b"),
		"space in a name":           usual("x y", "a"),
		"capitals in a name":        usual("Transfer-Encoding", "chunked"),
		"no name":                   usual("", "a"),
		"connection":                usual("connection", "close"),
		"keep-alive":                usual("keep-alive", "5"),
		"proxy-connection":          usual("proxy-connection", "close"),
		"transfer-encoding":         usual("transfer-encoding", "chunked"),
		"upgrade":                   usual("upgrade", "h2c"),
		"te":                        usual("te", "gzip"),
		"two lengths":               usual("content-length", "0", "content-length", "0"),
		"length with sign":          usual("content-length", "+0"),
		"length that is none":       usual("content-length", "0x0"),
		"length without a body":     usual("content-length", "5"),
		"another host":              usual("host", "b.test"),
		"two hosts":                 append(without(":authority"), "host", "a", "host", "b"),
		"no method":                 without(":method"),
		"no path":                   without(":path"),
		"no scheme":                 without(":scheme"),
		"empty path":                with(":path", ""),
		"relative path":             with(":path", "p"),
		"absolute path":             with(":path", "http://b.test/"),
		"CR LF in the path":         with(":path", "/ HTTP/1.1\r\nHost: b\r\n\r\nGET /evil"),
		"CR LF in the method":       with(":method", "GET / HTTP/1.1\r\nx: "),
		"CR LF in the authority":    with(":authority", "a\r\nx: y"),
		"odd scheme":                with(":scheme", "https://b.test/?"),
		"unknown pseudo field":      usual()[:0:0],
		"pseudo field of answers":   append([]string{":status", "200"}, usual()...),
		"pseudo field twice":        append([]string{":method", "GET"}, usual()...),
		"pseudo field after others": append([]string{"x", "y"}, usual()...),
	} {
		if name == "unknown pseudo field" {
			fields = append([]string{":protocol", "websocket"}, usual()...)
		}
		t.Run(name, func(t *testing.T) {
			p := dial(t, func(s *Stream) {
				if string(s.Head()) != "GET / HTTP/1.1\r\nhost: a\r\n\r\n" {
					t.Errorf("it was served: %q", s.Head())
				}
				respond(s, "fine")
			})
			p.request(1, true, fields...)
			p.wasReset(1, http2.ErrCodeProtocol)
			// The connection goes on.
			p.request(3, true, ":method", "GET", ":scheme", "https", ":path", "/", ":authority", "a")
			if _, body, _ := p.answer(3); string(body) != "fine" {
				t.Errorf("got %q", body)
			}
		})
	}
}

// Bodies that are not as long as was said, and trailers that are none.
func TestMalformedBodies(t *testing.T) {
	for name, send := range map[string]func(p *peer){
		"longer than said":     func(p *peer) { p.ok(p.f.WriteData(1, true, []byte("abc"))) },
		"shorter than said":    func(p *peer) { p.ok(p.f.WriteData(1, true, []byte("a"))) },
		"ends in trailers":     func(p *peer) { p.request(1, true, "x", "y") },
		"trailers without end": func(p *peer) { p.request(1, false, "x", "y") },
		"pseudo trailers":      func(p *peer) { p.ok(p.f.WriteData(1, false, []byte("ab"))); p.request(1, true, ":path", "/") },
		"length in trailers":   func(p *peer) { p.ok(p.f.WriteData(1, false, []byte("ab"))); p.request(1, true, "content-length", "2") },
		"host in trailers":     func(p *peer) { p.ok(p.f.WriteData(1, false, []byte("ab"))); p.request(1, true, "host", "b") },
		"transfer-encoding too": func(p *peer) {
			p.ok(p.f.WriteData(1, false, []byte("ab")))
			p.request(1, true, "transfer-encoding", "chunked")
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken := make(chan error, 1)
			p := dial(t, func(s *Stream) {
				_, err := io.ReadAll(s)
				broken <- err
			})
			p.request(1, false, usual("content-length", "2")...)
			send(p)
			p.wasReset(1, http2.ErrCodeProtocol)
			if err := <-broken; !errors.Is(err, ErrReset) {
				t.Errorf("the body ended with %v", err)
			}
		})
	}
}

// Trailers and heads of many frames come as they were sent.
func TestLargeHeads(t *testing.T) {
	long := strings.Repeat("v", 40_000)
	p := dial(t, func(s *Stream) {
		r := s.Begin(200)
		r.Field([]byte("Long"), []byte(long))
		_ = r.End(false)
		_ = s.Write([]byte("body"), false)
		r = s.Begin(0)
		r.Field([]byte("X-Sum"), []byte(fmt.Sprint(len(s.Head()))))
		_ = r.End(true)
	})
	p.f.MaxHeaderListSize = 1 << 20
	block := append([]byte(nil), p.block(usual("x", long)...)...)
	p.ok(p.f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:1000], EndStream: true}))
	p.ok(p.f.WriteContinuation(1, false, block[1000:5000]))
	p.ok(p.f.WriteContinuation(1, false, nil))
	p.ok(p.f.WriteContinuation(1, false, block[5000:20_000]))
	p.ok(p.f.WriteContinuation(1, true, block[20_000:]))
	if _, body, trailers := p.answer(1); string(body) != "body" || !strings.HasPrefix(trailers, "x-sum=400") {
		t.Errorf("got %q %q", body, trailers)
	}
}

// A body moves in both directions past every window.
func TestWindows(t *testing.T) {
	const size = 3 << 20
	p := dial(t, func(s *Stream) {
		r := s.Begin(200)
		_ = r.End(false)
		buf := make([]byte, 10_000)
		for {
			n, err := s.Read(buf)
			if err := s.Write(buf[:n], false); err != nil {
				t.Error(err)
				return
			}
			if errors.Is(err, io.EOF) {
				_ = s.Write(nil, true)
				return
			}
		}
	})
	p.request(1, false, usual()...)
	var mu sync.Mutex
	cond := sync.NewCond(&mu)
	stream, conn := 65535, 65535
	sent := make(chan error, 1)
	go func() {
		for left := size; left > 0; {
			mu.Lock()
			for stream <= 0 || conn <= 0 {
				cond.Wait()
			}
			n := min(stream, conn, left, maxFrame)
			stream, conn, left = stream-n, conn-n, left-n
			mu.Unlock()
			if err := p.f.WriteData(1, left == 0, make([]byte, n)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	got := 0
	g := http2.NewFramer(p.c, nil) // the peer's own is writing
	p.until("the end", func(f http2.Frame) bool {
		mu.Lock()
		defer mu.Unlock()
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				stream += int(v) - 65535
			}
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				conn += int(f.Increment)
			} else {
				stream += int(f.Increment)
			}
		case *http2.DataFrame:
			if got += len(f.Data()); len(f.Data()) > 0 {
				_ = g.WriteWindowUpdate(0, uint32(len(f.Data())))
				_ = g.WriteWindowUpdate(1, uint32(len(f.Data())))
			}
			return f.StreamEnded()
		}
		cond.Broadcast()
		return false
	})
	if err := <-sent; err != nil || got != size {
		t.Errorf("%d bytes came back: %v", got, err)
	}
}

// A client that does not give room for the response is not waited for longer
// than the deadline, and one that sends more than it has room for is stopped.
func TestNoRoom(t *testing.T) {
	failed := make(chan error, 1)
	p := dial(t, func(s *Stream) {
		s.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		r := s.Begin(200)
		_ = r.End(false)
		failed <- s.Write(make([]byte, 100_000), true)
	})
	p.request(1, true, usual()...)
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.wasReset(1, http2.ErrCodeInternal)

	hold := make(chan struct{})
	p = dial(t, func(s *Stream) { <-hold; respond(s, "") })
	defer close(hold)
	p.request(1, false, usual()...)
	for range streamWindow/maxFrame + 1 {
		p.ok(p.f.WriteData(1, false, make([]byte, maxFrame)))
	}
	p.wasReset(1, http2.ErrCodeFlowControl)
}

// A client that does not read is cut off.
func TestClientDoesNotRead(t *testing.T) {
	failed := make(chan error, 1)
	p := dial(t, func(s *Stream) {
		r := s.Begin(200)
		_ = r.End(false)
		failed <- s.Write(make([]byte, 64<<20), true)
	}, func(o *Options) { o.Timeout = 200 * time.Millisecond })
	p.ok(p.f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow}))
	p.ok(p.f.WriteWindowUpdate(0, maxWindow-65535))
	p.request(1, true, usual()...)
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	<-p.done
}

// A client that goes away ends what its requests are doing.
func TestCancel(t *testing.T) {
	for name, leave := range map[string]func(p *peer){
		"reset": func(p *peer) { p.ok(p.f.WriteRSTStream(1, http2.ErrCodeCancel)) },
		"close": func(p *peer) { _ = p.c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			cancelled := make(chan struct{})
			began := make(chan struct{})
			ended := make(chan error, 1)
			p := dial(t, func(s *Stream) {
				s.OnCancel(func() { close(cancelled) })
				close(began)
				<-cancelled
				r := s.Begin(200)
				ended <- r.End(true)
			})
			p.request(1, false, usual()...)
			<-began
			leave(p)
			if err := <-ended; err == nil {
				t.Error("the response was taken")
			}
		})
	}
}

// Leave lets the requests that are under way end, takes those that the client
// sent before it knew, and no more.
func TestLeave(t *testing.T) {
	release := make(chan struct{})
	p := dial(t, func(s *Stream) { <-release; respond(s, "done") })
	p.request(1, true, usual()...)
	p.until("settings", func(f http2.Frame) bool { s, ok := f.(*http2.SettingsFrame); return ok && s.IsAck() })
	p.conn.Leave()
	p.goneAway(http2.ErrCodeNo)
	p.request(3, true, usual()...)
	p.until("PING", func(f http2.Frame) bool {
		ping, ok := f.(*http2.PingFrame)
		if ok {
			p.ok(p.f.WritePing(true, ping.Data))
		}
		return ok
	})
	p.until("GOAWAY", func(f http2.Frame) bool {
		g, ok := f.(*http2.GoAwayFrame)
		if ok && g.LastStreamID != 3 {
			t.Errorf("the last stream is %d", g.LastStreamID)
		}
		return ok
	})
	close(release)
	for range 2 {
		if status, _, _ := p.answerAny(); status != "200" {
			t.Errorf("got %s", status)
		}
	}
	if _, err := p.f.ReadFrame(); err == nil {
		t.Error("the connection goes on")
	}
	<-p.done
}

func (p *peer) answerAny() (status string, body []byte, trailers string) {
	p.t.Helper()
	p.until("a response", func(f http2.Frame) bool {
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			status = h.PseudoValue("status")
		}
		d, ok := f.(*http2.DataFrame)
		return ok && d.StreamEnded()
	})
	return status, body, trailers
}

// An idle connection ends after the timeout, one with a request does not.
func TestIdle(t *testing.T) {
	release := make(chan struct{})
	p := dial(t, func(s *Stream) { <-release; respond(s, "late") }, func(o *Options) { o.Timeout = 100 * time.Millisecond })
	p.request(1, true, usual()...)
	time.AfterFunc(350*time.Millisecond, func() { close(release) })
	if _, body, _ := p.answer(1); string(body) != "late" {
		t.Errorf("got %q", body)
	}
	p.goneAway(http2.ErrCodeNo)
	<-p.done
}
