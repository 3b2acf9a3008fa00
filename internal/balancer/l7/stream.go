package l7

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// stream is a stream of HTTP/2 as the engine's connection to a client: what is
// read from it is the body of an HTTP/1.1 request, and what is written to it an
// HTTP/1.1 response.
type stream struct {
	net.Conn // for its addresses

	w    http.ResponseWriter
	rc   *http.ResponseController
	body io.ReadCloser
	req  *http.Request

	// chunked requests have no length; end is what follows their last chunk,
	// nil before that is known.
	chunked bool
	end     []byte
	ended   bool

	// mu guards the deadlines, which are passed on only once they matter:
	// many requests have no body.
	mu              sync.Mutex
	reading         bool
	readBy, writeBy time.Time
	writing         bool
	// limit is how far ahead readBy was set.
	limit time.Duration

	resp h1.Response
	// begun and done tell how far the response is; left counts what is missing
	// of one with a length, -1 for others.
	begun, done bool
	left        int64
	chunks      dechunker
}

func newStream(nc net.Conn, w http.ResponseWriter, r *http.Request) *stream {
	return &stream{Conn: nc, w: w, rc: http.NewResponseController(w), body: r.Body, req: r}
}

// appendHead writes the request as the engine reads it. It refuses what is
// ambiguous as it does in HTTP/1.1.
func (st *stream) appendHead(b []byte) []byte {
	r := st.req
	b = append(append(append(b, r.Method...), ' '), r.RequestURI...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), r.Host...), "\r\n"...)
	for name, values := range r.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Expect", "Trailer", "Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Te":
			continue
		}
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	switch {
	case r.ContentLength > 0 || r.ContentLength == 0 && r.Header["Content-Length"] != nil:
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.ContentLength, 10), "\r\n"...)
	case r.ContentLength < 0:
		st.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range r.Trailer {
			b = append(append(append(b, "Trailer: "...), name...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// chunkHead is the length of a chunk's size line, leastRead of the buffer that
// a chunk needs.
const (
	chunkHead = len("000000\r\n")
	leastRead = 64
)

// Read reads the request's body.
func (st *stream) Read(p []byte) (int, error) {
	st.mu.Lock()
	if !st.reading {
		st.reading = true
		if !st.readBy.IsZero() {
			_ = st.rc.SetReadDeadline(st.readBy)
		}
	}
	st.mu.Unlock()
	if !st.chunked {
		n, err := st.body.Read(p)
		if n > 0 {
			err = nil
		}
		return n, err
	}
	if st.ended {
		n := copy(p, st.end)
		st.end = st.end[n:]
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := readChunk(p, st.body)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	st.ended, st.end = true, appendTrailers(st.end, st.req.Trailer)
	return st.Read(p)
}

var errHead = errors.New("response does not begin with a head")

// Write takes a head, which comes in one piece, and what follows it.
func (st *stream) Write(p []byte) (int, error) {
	all := len(p)
	if !st.begun {
		end := h1.HeadEnd(p, 0)
		if end < 0 {
			return 0, errHead
		}
		if err := st.resp.Parse(p[:end]); err != nil {
			return 0, err
		}
		p = p[end:]
		st.head()
		if !st.begun {
			return all, nil
		}
	}
	if err := st.content(p); err != nil {
		return 0, err
	}
	st.moved()
	if !st.done {
		if err := st.rc.Flush(); err != nil {
			return 0, err
		}
	}
	return all, nil
}

// head sends the head of the response in st.resp.
func (st *stream) head() {
	r, h := &st.resp, st.w.Header()
	if r.Status == 100 {
		return // the server itself sends it
	}
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.ID.HopByHop() {
			continue
		}
		name := http.CanonicalHeaderKey(string(f.Name))
		h[name] = append(h[name], string(f.Value))
	}
	if r.Status < 200 {
		st.w.WriteHeader(r.Status)
		clear(h)
		return
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // or it would be guessed
	}
	st.w.WriteHeader(r.Status)
	st.begun = true
	switch {
	case r.Bodiless(st.req.Method == http.MethodHead):
		st.done = true
	case r.Chunked:
		st.left = -1
	default:
		st.left = max(r.Length, 0)
		st.done = st.left == 0
	}
}

// content sends what follows the head.
func (st *stream) content(p []byte) error {
	if st.done || len(p) == 0 {
		return nil
	}
	st.mu.Lock()
	if !st.writing {
		st.writing = true
		if !st.writeBy.IsZero() {
			_ = st.rc.SetWriteDeadline(st.writeBy)
		}
	}
	st.mu.Unlock()
	if st.left >= 0 {
		n, err := st.w.Write(p[:min(int64(len(p)), st.left)])
		st.left -= int64(n)
		st.done = st.left == 0
		return err
	}
	err := st.chunks.write(p, st.w)
	if st.done = st.chunks.done; st.done {
		for _, f := range st.chunks.trailers {
			st.w.Header().Add(http.TrailerPrefix+f.Name, f.Value)
		}
	}
	return err
}

// moved puts the deadline for reading off: a client that takes the response
// may be silent meanwhile.
func (st *stream) moved() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.reading || st.limit <= 0 {
		return
	}
	if by := time.Now().Add(st.limit); by.Sub(st.readBy) > st.limit/32 {
		st.readBy = by
		_ = st.rc.SetReadDeadline(by)
	}
}

// complete tells whether the whole response was sent.
func (st *stream) complete() bool { return st.done }

// Close ends nothing: the stream ends with its handler.
func (*stream) Close() error { return nil }

// SetReadDeadline bounds the wait for the request's body.
func (st *stream) SetReadDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.readBy, st.limit = t, time.Until(t)
	if !st.reading {
		return nil
	}
	return st.rc.SetReadDeadline(t)
}

// SetWriteDeadline bounds how long the client may not take the response.
func (st *stream) SetWriteDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.writeBy = t
	if !st.writing {
		return nil
	}
	return st.rc.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (st *stream) SetDeadline(t time.Time) error {
	return errors.Join(st.SetReadDeadline(t), st.SetWriteDeadline(t))
}
