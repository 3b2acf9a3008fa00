package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseRequest(t *testing.T) {
	var r Request
	head := "POST /a/b?c=d&e HTTP/1.1\r\nHost: x.test:80\r\ncontent-length: 12\r\nConnection: keep-alive, X-Hop , upgrade\r\nX-Hop: 1\r\n\r\n"
	if err := r.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	if string(r.Method) != "POST" || string(r.Target) != "/a/b?c=d&e" || string(r.Path()) != "/a/b" || string(r.Query()) != "c=d&e" ||
		string(r.Host) != "x.test:80" || r.Length != 12 || r.Chunked || !r.KeepAlive || !r.UpgradeOption || !r.Names([]byte("x-hop")) ||
		r.Names([]byte("host")) || !r.KeepsAlive() || !r.HasBody() {
		t.Errorf("got %+v", r)
	}
	// The same Request is used again, and nothing is left of before.
	if err := r.Parse([]byte("GET / HTTP/1.0\n\n")); err != nil {
		t.Fatal(err)
	}
	if r.Minor != 0 || r.Length != -1 || len(r.Fields) != 0 || r.KeepsAlive() || r.Names([]byte("X-Hop")) || len(r.Host) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range []struct {
		head string
		want error
	}{
		{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", ErrMalformed},
		{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET a HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.2\r\nHost: a\r\n\r\n", ErrVersion},
		{"GET / http/1.1\r\nHost: a\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", ErrCoding},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", ErrCoding},
		{"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", ErrMalformed},
		{"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", MaxFields) + "\r\n", ErrTooLarge},
	} {
		var r Request
		if err := r.Parse([]byte(c.head)); !errors.Is(err, c.want) {
			t.Errorf("%.80q: got %v, want %v", c.head, err, c.want)
		}
	}
}

func TestParseResponse(t *testing.T) {
	var r Response
	for _, c := range []struct {
		head   string
		status int
		reason string
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", 200, "OK"},
		{"HTTP/1.1 200 \r\n\r\n", 200, ""},
		{"HTTP/1.0 404\r\n\r\n", 404, ""},
		{"HTTP/1.1 299 Fine, by me\r\nA: b\r\n\r\n", 299, "Fine, by me"},
	} {
		if err := r.Parse([]byte(c.head)); err != nil || r.Status != c.status || string(r.Reason) != c.reason {
			t.Errorf("%q: %+v %v", c.head, r, err)
		}
	}
	for _, head := range []string{
		"HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 O\x00K\r\n\r\n",
	} {
		if err := r.Parse([]byte(head)); err == nil {
			t.Errorf("%q is accepted", head)
		}
	}
}

func TestHeadEnd(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int
	}{
		{"", -1}, {"a", -1}, {"a\r\n", -1}, {"a\r\n\r", -1}, {"a\r\n\r\n", 5}, {"a\n\nb", 3}, {"a\n\r\nb", 4}, {"a\r\n\r\r\n", -1}, {"a\r\nb\r\n\r\nc", 8},
	} {
		if got := HeadEnd([]byte(c.in), 0); got != c.want {
			t.Errorf("%q: %d, want %d", c.in, got, c.want)
		}
	}
}

// Looking again after each byte that comes finds the end where looking once
// does.
func TestHeadEndIncremental(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(rapid.StringOfN(rapid.RuneFrom([]rune("a\r\n")), 0, 40, -1).Draw(t, "head"))
		want := HeadEnd(b, 0)
		for n := range len(b) + 1 {
			got := HeadEnd(b[:n], n-1-2)
			if got >= 0 {
				if got != want || n != got {
					t.Fatalf("%q: %d at %d bytes, want %d", b, got, n, want)
				}
				return
			}
		}
		if want >= 0 {
			t.Fatalf("%q: not found, want %d", b, want)
		}
	})
}

// FuzzRequest holds the parser against the standard library's: what this one
// accepts that one must accept too, and understand in the same way.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"GET http://b/c HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\n\r\n",
		"OPTIONS * HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
		"GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\ndr 0:\nTrailer:\n\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\nExpect: 100-continue\r\nUpgrade: websocket\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { compareRequest(t, data) })
}

// failer is what tests, fuzz tests and properties have in common.
type failer interface {
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// compareRequest tells whether our parser accepts the request in data.
func compareRequest(t failer, data []byte) bool {
	end := HeadEnd(data, 0)
	if end < 0 || end > MaxHead {
		return false
	}
	var r Request
	if err := r.Parse(data[:end]); err != nil {
		// What the library accepts is refused for a reason that is listed.
		if want, lerr := http.ReadRequest(bufio.NewReader(bytes.NewReader(data))); lerr == nil && !listed(data[:end], want) {
			t.Fatalf("refused %q, which the library accepts: %v", data[:end], err)
		}
		return false
	}
	want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		// The library looks into escapes and ports, where nothing about the
		// message's extent can be misunderstood.
		if strings.Contains(err.Error(), "parse \"") {
			return true
		}
		// Identity, which AWS lists as supported, is no coding at all.
		if strings.Contains(err.Error(), "unsupported transfer encoding") && !r.Chunked {
			return true
		}
		t.Fatalf("accepted %q, which the library refuses: %v", data[:end], err)
	}
	if want.Method != string(r.Method) {
		t.Errorf("%q: method %q, library %q", data, r.Method, want.Method)
	}
	if want.Host != string(r.Host) {
		t.Errorf("%q: host %q, library %q", data, r.Host, want.Host)
	}
	if want.ProtoMinor != int(r.Minor) {
		t.Errorf("%q: minor version %d, library %d", data, r.Minor, want.ProtoMinor)
	}
	if chunked := len(want.TransferEncoding) > 0; chunked != r.Chunked {
		t.Errorf("%q: chunked %v, library %v", data, r.Chunked, chunked)
	}
	if length := max(r.Length, 0); !r.Chunked && want.ContentLength != length {
		t.Errorf("%q: length %d, library %d", data, length, want.ContentLength)
	}
	return true
}

// TestRequestPieces is FuzzRequest with requests put together from the pieces
// that attacks are made of.
func TestRequestPieces(t *testing.T) {
	// Mostly the first, which is what a good client sends.
	piece := func(t *rapid.T, label string, of ...string) string {
		if rapid.IntRange(0, 9).Draw(t, label+" is odd") < 9 {
			return of[0]
		}
		return rapid.SampledFrom(of).Draw(t, label)
	}
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		eol := func() string { return piece(t, "eol", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n") }
		sp := func() string { return piece(t, "space", " ", " ", " ", "", "  ", "\t", "\x0b", "\x00") }
		head := piece(t, "method", "GET", "POST", "get", "G\x00T", "") + sp() +
			piece(t, "target", "/", "/a?b", "http://b/c", "https://b/c", "HTTP://b", "*", "//a", "/a#b", "/%zz", "/\xff") + sp() +
			piece(t, "version", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/01.1", "http/1.1") + eol()
		head += piece(t, "host", "Host: a\r\n", "")
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			name := rapid.SampledFrom([]string{
				"Content-Length", "Transfer-Encoding", "transfer-encoding", "Content-Length ", " Content-Length", "Host", "X", "X_Y", "", "X\x00", "Connection",
			}).Draw(t, "name")
			value := rapid.SampledFrom([]string{
				"5", "0", "+5", "-1", "5, 5", "5 5", "0x5", "05", "chunked", "Chunked", "chunked, identity", "identity", "xchunked",
				"\x0bchunked", "a", "", "a\x00b", "close", "\xff",
			}).Draw(t, "value")
			head += name + piece(t, "colon", ": ", ":", ":\t", " :", "") + value + piece(t, "tail", "", " ", "\t", "\x0b") + eol()
		}
		if compareRequest(t, []byte(head+eol()+"hello\r\n0\r\n\r\n")) {
			accepted++
		}
	})
	if accepted == 0 {
		t.Error("no request was accepted: nothing was compared")
	}
}

// FuzzResponse is FuzzRequest for responses.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.0 404\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		end := HeadEnd(data, 0)
		if end < 0 || end > MaxHead {
			return
		}
		var r Response
		if err := r.Parse(data[:end]); err != nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(data)), nil)
		if err != nil {
			if strings.Contains(err.Error(), "unsupported transfer encoding") && !r.Chunked {
				return // identity
			}
			t.Fatalf("accepted %q, which the library refuses: %v", data[:end], err)
		}
		if want.StatusCode != r.Status {
			t.Errorf("status %d, library %d", r.Status, want.StatusCode)
		}
		if r.Bodiless(false) {
			return
		}
		if chunked := len(want.TransferEncoding) > 0; chunked != r.Chunked {
			t.Errorf("chunked %v, library %v", r.Chunked, chunked)
		}
		if !r.Chunked && want.ContentLength != r.Length {
			t.Errorf("length %d, library %d", r.Length, want.ContentLength)
		}
	})
}

// FuzzChunked cuts a body at every place, and holds the data against what the
// standard library decodes.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "a;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n", "0005\r\nhello\r\n00\r\n\r\n", "5\nhello\n0\n\n", "ffffffffffffffff\r\n",
		"5 5\r\nhello\r\n0\r\n\r\n", "5 ;x\r\nhello\r\n0\r\n\r\n", "5;\nhello\r\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if cut < 1 {
			cut = 1
		}
		var c Chunked
		var got []byte
		n := 0
		for n < len(data) && !c.Done() {
			end := min(n+cut, len(data))
			m, err := c.Scan(data[n:end], func(b []byte) error { got = append(got, b...); return nil })
			if err != nil {
				return
			}
			n += m
		}
		if !c.Done() {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		r := bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(data)))
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(req.Body)
		if err != nil {
			// The library's limits on extensions and trailers are its own.
			if errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "too") || strings.Contains(err.Error(), "excessive") {
				return
			}
			t.Fatalf("accepted %q, which the library refuses: %v", data[:n], err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("data %q, library %q", got, want)
		}
		if rest, _ := io.ReadAll(r); !bytes.Equal(rest, data[n:]) {
			t.Errorf("rest %q, library %q", data[n:], rest)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	head := []byte("GET /index.html?a=b HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n\r\n")
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Parse(head[:HeadEnd(head, 0)]); err != nil {
			b.Fatal(err)
		}
	}
}
