package l7

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"roadstead.dev/internal/balancer/h1"
)

// maxAttempts bounds how often a request is sent that the target has not taken.
const maxAttempts = 4

// h2Call is a request to a target of HTTP/2, as the engine's connection to the
// target: what is written to it is an HTTP/1.1 request, and what is read from
// it the response. One goroutine may write while another reads; anyone may
// close.
type h2Call struct {
	m      *multiplexer
	ctx    context.Context
	cancel context.CancelCauseFunc

	// What writes use: on is the connection until the request has begun, out
	// the body, which chunks takes apart when the request is chunked and left
	// is what is missing of otherwise.
	on      *shared
	out     *outBody
	chunked bool
	chunks  dechunker
	left    int64
	req     *http.Request

	beginOnce sync.Once
	// done is closed when resp or err is there.
	done    chan struct{}
	resp    *http.Response
	err     error
	interim chan []byte
	answer  h2Answer

	mu     sync.Mutex
	readBy time.Time
	// limit is how long readBy was ahead when it was set.
	limit time.Duration
	alarm *time.Timer
	// wrote is when a part of the request's body was taken, Unix nanoseconds.
	wrote atomic.Int64
	// late tells that the latest read was given up, used is the connection of
	// the latest attempt.
	late atomic.Bool
	used atomic.Pointer[shared]
}

func newH2Call(m *multiplexer, on *shared) *h2Call {
	c := &h2Call{m: m, on: on, out: newOutBody(), done: make(chan struct{}), interim: make(chan []byte, 1)}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// Write takes a head, which comes in one piece, and the body.
func (c *h2Call) Write(p []byte) (int, error) {
	all := len(p)
	if c.req == nil {
		end := h1.HeadEnd(p, 0)
		if end < 0 {
			return 0, errHead
		}
		if err := c.begin(p[:end]); err != nil {
			return 0, err
		}
		p = p[end:]
	}
	if len(p) == 0 {
		return all, nil
	}
	if c.chunked {
		if err := c.chunks.write(p, c.out); err != nil {
			return 0, err
		}
		if c.chunks.done {
			c.out.end(c.chunks.trailers, io.EOF)
		}
	} else {
		n, err := c.out.Write(p[:min(int64(len(p)), c.left)])
		if err != nil {
			return n, err
		}
		if c.left -= int64(n); c.left == 0 {
			c.out.end(nil, io.EOF)
		}
	}
	c.wrote.Store(time.Now().UnixNano())
	return all, nil
}

// begin sends the request with that head.
func (c *h2Call) begin(head []byte) error {
	var r h1.Request
	if err := r.Parse(head); err != nil {
		return err
	}
	host := string(r.Host)
	opaque := string(r.Target)
	if r.Target[0] == '/' {
		opaque = "//" + host + opaque
	}
	req := (&http.Request{
		Method: string(r.Method), Host: host, Header: make(http.Header, len(r.Fields)+1), ContentLength: max(r.Length, 0),
		URL: &url.URL{Scheme: c.m.scheme, Host: host, Opaque: opaque},
	}).WithContext(httptrace.WithClientTrace(c.ctx, &httptrace.ClientTrace{Got1xxResponse: c.informed}))
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case f.ID == h1.Host || f.ID == h1.ContentLength || f.ID.HopByHop():
		case f.ID == h1.Trailer:
			for name := range bytes.SplitSeq(f.Value, []byte{','}) {
				if req.Trailer == nil {
					req.Trailer = http.Header{}
				}
				req.Trailer[textproto.CanonicalMIMEHeaderKey(string(bytes.TrimSpace(name)))] = nil
			}
		default:
			name := textproto.CanonicalMIMEHeaderKey(string(f.Name))
			req.Header[name] = append(req.Header[name], string(f.Value))
		}
	}
	// Trailers reach the client, and gRPC asks who calls to say so.
	req.Header["Te"] = []string{"trailers"}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header["User-Agent"] = nil // or the transport's own would be sent
	}
	c.chunked, c.left = r.Chunked, r.Length
	if c.chunked {
		req.ContentLength = -1
	}
	c.req = req
	on := c.on
	c.beginOnce.Do(func() {
		c.on = nil
		go c.run(on)
	})
	if c.on != nil {
		return net.ErrClosed
	}
	return nil
}

// run sends the request until the target has taken it.
func (c *h2Call) run(on *shared) {
	defer close(c.done)
	for attempt := 1; ; attempt++ {
		c.resp, c.err = c.attempt(on) //nolint:bodyclose // Close does
		if c.err == nil {
			c.out.settle()
			return
		}
		if attempt == maxAttempts || !untaken(c.err) || c.ctx.Err() != nil {
			break
		}
		next, err := c.m.reserve(c.ctx)
		if err != nil {
			break
		}
		on = next
	}
	c.out.stop()
}

func (c *h2Call) attempt(on *shared) (*http.Response, error) {
	c.used.Store(on)
	req := *c.req
	if req.ContentLength != 0 {
		req.Trailer = req.Trailer.Clone()
		body := c.out.open(req.Trailer)
		if body == nil {
			on.Release()
			return nil, errRefused
		}
		req.Body = body
	}
	return on.RoundTrip(&req)
}

// untaken tells whether the target certainly has not begun to process the
// request that failed so: it refused the stream, said that it takes no more, or
// the connection had ended before (RFC 9113, 8.7). The transport's errors for
// the latter two have no names.
func untaken(err error) bool {
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return se.Code == http2.ErrCodeRefusedStream
	}
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY", "http2: client conn not usable":
		return true
	default:
		return false
	}
}

// informed passes an interim response on, if the reader is not behind.
func (c *h2Call) informed(status int, h textproto.MIMEHeader) error {
	if status == http.StatusContinue || status == http.StatusSwitchingProtocols {
		return nil
	}
	select {
	case c.interim <- appendAnswer(nil, status, http.Header(h)):
	default:
	}
	return nil
}

// Read reads the response.
func (c *h2Call) Read(p []byte) (int, error) {
	if !c.answer.begun {
		head, err := c.await()
		if err != nil {
			return 0, err
		}
		c.answer.out = append(c.answer.out, head...)
	}
	n, err := c.answer.read(p)
	if err != nil && errors.Is(context.Cause(c.ctx), os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// await waits for the head of a response, which may be an interim one.
func (c *h2Call) await() ([]byte, error) {
	select {
	case h := <-c.interim:
		return h, nil
	default:
	}
	c.mu.Lock()
	by := c.readBy
	c.mu.Unlock()
	var late <-chan time.Time
	if !by.IsZero() {
		t := time.NewTimer(time.Until(by))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-c.done:
	case h := <-c.interim:
		return h, nil
	case <-c.ctx.Done():
		return nil, net.ErrClosed
	case <-late:
		c.late.Store(true)
		return nil, os.ErrDeadlineExceeded
	}
	c.late.Store(false)
	if c.err != nil {
		return nil, c.err
	}
	c.guard()
	return c.answer.begin(c.req.Method, c.resp), nil
}

// guard ends the call when the read deadline passes and nothing was written
// meanwhile: from now on a read cannot be given up otherwise.
func (c *h2Call) guard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readBy.IsZero() || c.alarm != nil {
		return
	}
	c.alarm = time.AfterFunc(time.Until(c.readBy), c.expire)
}

func (c *h2Call) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alarm == nil {
		return
	}
	by := c.readBy
	if last := time.Unix(0, c.wrote.Load()).Add(c.limit); last.After(by) {
		by = last
	}
	if left := time.Until(by); left > 0 {
		c.alarm.Reset(left)
		return
	}
	c.late.Store(true)
	c.cancel(os.ErrDeadlineExceeded)
}

// SetReadDeadline bounds the wait for the response.
func (c *h2Call) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy, c.limit = t, time.Until(t)
	return nil
}

// SetWriteDeadline bounds how long the target may not take the request.
func (c *h2Call) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(t)
	return nil
}

// SetDeadline sets both.
func (c *h2Call) SetDeadline(t time.Time) error {
	_ = c.SetWriteDeadline(t)
	return c.SetReadDeadline(t)
}

// Close gives the call up, if it is not complete. A connection on which it got
// no answer in time may be one that leads nowhere.
func (c *h2Call) Close() error {
	if on := c.used.Load(); on != nil && c.late.Load() {
		c.m.doubt(on)
	}
	c.beginOnce.Do(func() { c.on.Release() })
	c.cancel(net.ErrClosed)
	c.out.stop()
	select {
	case <-c.done:
		if c.resp != nil {
			_ = c.resp.Body.Close()
		}
	default: // RoundTrip does, since the context has ended
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alarm != nil {
		c.alarm.Stop()
		c.alarm = nil
	}
	return nil
}

// LocalAddr is not known.
func (*h2Call) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is not known.
func (*h2Call) RemoteAddr() net.Addr { return &net.TCPAddr{} }
