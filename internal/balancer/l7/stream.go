package l7

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/balancer/h2"
)

// stream is a stream of HTTP/2 as the engine's connection to a client: what is
// read from it is the body of an HTTP/1.1 request, and what is written to it an
// HTTP/1.1 response.
type stream struct {
	net.Conn // for its addresses

	s *h2.Stream

	// end is what follows the last chunk of a body without a length, once that
	// is known.
	end   []byte
	ended bool

	// mu guards the deadline for reading, and how far ahead it was set.
	mu     sync.Mutex
	readBy time.Time
	limit  time.Duration

	resp h1.Response
	// begun and done tell how far the response is; left counts what is missing
	// of one with a length, -1 for others.
	begun, done bool
	isHead      bool
	left        int64
	chunks      dechunker
}

// chunkHead is the length of a chunk's size line, leastRead of the buffer that
// a chunk needs.
const (
	chunkHead = len("000000\r\n")
	leastRead = 64
)

// Read reads the request's body.
func (st *stream) Read(p []byte) (int, error) {
	if !st.s.Chunked() {
		return st.s.Read(p)
	}
	if st.ended {
		n := copy(p, st.end)
		st.end = st.end[n:]
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := readChunk(p, st.s)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	st.ended = true
	st.end = append(append(append(st.end, "0\r\n"...), st.s.Trailers()...), "\r\n"...)
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
		if err := st.head(); err != nil {
			return 0, err
		}
		if !st.begun {
			return all, nil
		}
	}
	if err := st.content(p); err != nil {
		return 0, err
	}
	st.moved()
	return all, nil
}

// head sends the head of the response in st.resp.
func (st *stream) head() error {
	r := &st.resp
	if r.Status == 100 {
		return nil // a client of HTTP/2 waits for nothing but its window
	}
	if r.Status >= 200 {
		st.begun = true
		switch {
		case r.Bodiless(st.isHead):
			st.done = true
		case r.Chunked:
			st.left = -1
		default:
			st.left = max(r.Length, 0)
			st.done = st.left == 0
		}
	}
	out := st.s.Begin(r.Status)
	for i := range r.Fields {
		if f := &r.Fields[i]; !f.ID.HopByHop() {
			out.Field(f.Name, f.Value)
		}
	}
	return out.End(st.done)
}

// content sends what follows the head.
func (st *stream) content(p []byte) error {
	if st.done || len(p) == 0 {
		return nil
	}
	if st.left >= 0 {
		p = p[:min(int64(len(p)), st.left)]
		st.left -= int64(len(p))
		st.done = st.left == 0
		return st.s.Write(p, st.done)
	}
	if err := st.chunks.write(p, data{st.s}); err != nil || !st.chunks.done {
		return err
	}
	st.done = true
	if len(st.chunks.trailers) == 0 {
		return st.s.Write(nil, true)
	}
	out := st.s.Begin(0)
	for _, f := range st.chunks.trailers {
		out.Field([]byte(f.Name), []byte(f.Value))
	}
	return out.End(true)
}

// data writes parts of a body.
type data struct{ s *h2.Stream }

func (d data) Write(p []byte) (int, error) {
	if err := d.s.Write(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// moved puts the deadline for reading off: a client that takes the response
// may be silent meanwhile.
func (st *stream) moved() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.limit <= 0 {
		return
	}
	if by := time.Now().Add(st.limit); by.Sub(st.readBy) > st.limit/32 {
		st.readBy = by
		st.s.SetReadDeadline(by)
	}
}

// Close ends nothing: the stream ends with its handler.
func (*stream) Close() error { return nil }

// SetReadDeadline bounds the wait for the request's body.
func (st *stream) SetReadDeadline(t time.Time) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.readBy, st.limit = t, time.Until(t)
	st.s.SetReadDeadline(t)
	return nil
}

// SetWriteDeadline bounds how long the client may not take the response.
func (st *stream) SetWriteDeadline(t time.Time) error {
	st.s.SetWriteDeadline(t)
	return nil
}

// SetDeadline sets both.
func (st *stream) SetDeadline(t time.Time) error {
	return errors.Join(st.SetReadDeadline(t), st.SetWriteDeadline(t))
}
