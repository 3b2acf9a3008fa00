package l7

import (
	"errors"
	"io"
	"strconv"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// bodyMode is how a response's body gets to the client.
type bodyMode uint8

const (
	// bodyNone: there is none.
	bodyNone bodyMode = iota
	// bodyLength: as many bytes as the target announced.
	bodyLength
	// bodyChunked: chunks as they come, trailers included.
	bodyChunked
	// bodyDechunk: the data of the chunks alone, for HTTP/1.0; the end of the
	// connection ends it.
	bodyDechunk
	// bodyToChunks: what comes until the target closes, in chunks.
	bodyToChunks
	// bodyRaw: what comes until the target closes, for HTTP/1.0.
	bodyRaw
)

func (c *conn) bodyMode() bodyMode {
	r := &c.resp
	switch {
	case r.Bodiless(c.isHead):
		return bodyNone
	case r.Chunked && c.minor == 1:
		return bodyChunked
	case r.Chunked:
		return bodyDechunk
	case r.Length >= 0:
		return bodyLength
	case c.minor == 1:
		return bodyToChunks
	default:
		return bodyRaw
	}
}

// relay sends the response, whose head is in c.resp, to the client. It tells
// whether the connection to the client can go on.
func (c *conn) relay(x *exchange) bool {
	up, r := x.up, &c.resp
	took := int64(sinceStart() - x.began)
	x.stats.Times.Observe(took)
	for _, s := range [3]*Stats{c.stats, x.stats, &x.target.Stats} {
		s.TargetResponses[class(r.Status)].Add(1)
		s.ResponseNanos.Add(took)
	}
	x.target.Stats.Requests.Add(1)
	if st := &x.state.settings; st.Sticky && st.AppCookie != "" {
		c.bindApp(x)
	} else if st.Sticky {
		x.cookies = appendCookies(x.cookies, targetCookie, targetCORS,
			x.group.ID+" "+x.target.Addr, c.settings(), st.StickyFor)
	}
	if x.state.settings.Classic != nil {
		c.bindClassic(x)
	}
	if r.Status == 101 {
		if !c.upgrades() {
			x.target.drop(up)
			return c.fail(502, false)
		}
		if !c.tunnel(x) {
			x.target.drop(up)
		}
		return false
	}
	if c.rec != nil {
		c.rec.answered(x, r.Status, took)
	}
	mode := c.bodyMode()
	if mode == bodyDechunk || mode == bodyRaw {
		c.keep = false
	}
	// The target's fields live in the reader's first buffer, which may be
	// lent a larger one below.
	c.out = c.appendResponse(c.out[:0], x, mode)
	c.headed(len(c.out))
	reuse := r.KeepsAlive() && (mode == bodyNone || !r.UntilClose()) && !r.Contradicts()
	began, err := c.relayBody(up, mode)
	if err != nil {
		x.target.drop(up)
		c.endPump(x)
		if !began && !errors.Is(err, errClient) {
			return c.fail(502, false)
		}
		return false
	}
	sent := c.endPump(x)
	if reuse && sent && !c.lone && len(up.r.buffered()) == 0 && c.up.CompareAndSwap(up, nil) {
		x.target.put(up)
	} else {
		x.target.drop(up)
	}
	return c.keep && sent
}

// endPump waits a little for a body that is still on its way, and stops it
// otherwise. It tells whether all of it was sent.
func (c *conn) endPump(x *exchange) bool {
	p := x.pump
	if p == nil {
		return !x.unsent
	}
	defer c.pumped(p)
	if p.ended() {
		return p.err == nil
	}
	grace := pumpGrace
	if _, ok := c.c.(*stream); ok {
		grace = 0 // nothing else comes on it, and trailers wait for its end
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
		_ = x.up.c.Close() // a target that does not read blocks the pump
		_ = p.stop(c)
	}
	return p.err == nil
}

// errClient marks that the client does not take the response.
var errClient = errors.New("client does not take the response")

// relayBody writes c.out, which holds the head, and the body. Began tells
// whether anything was written.
func (c *conn) relayBody(up *upstream, mode bodyMode) (began bool, err error) {
	left := c.resp.Length
	var scan h1.Chunked
	timeout := c.settings().IdleTimeout
	for {
		b := up.r.buffered()
		n, done := len(b), false
		inOut := false // the payload went into c.out in another form
		switch mode {
		case bodyNone:
			b, n, done = nil, 0, true
		case bodyLength:
			n = int(min(int64(n), left))
			left -= int64(n)
			done = left == 0
		case bodyChunked:
			n, err = scan.Scan(b, nil)
			done = scan.Done()
		case bodyDechunk:
			n, err = scan.Scan(b, func(d []byte) error {
				c.out = append(c.out, d...)
				return nil
			})
			done, inOut = scan.Done(), true
		case bodyToChunks:
			c.out, inOut = appendChunk(c.out, b), true
		case bodyRaw:
		}
		if err != nil {
			return began, err
		}
		if len(c.out) > 0 {
			if !inOut {
				c.out = append(c.out, b[:n]...)
			}
			err = c.write(c.out)
			c.out = c.out[:0]
		} else if n > 0 && !inOut {
			err = c.write(b[:n])
		}
		began = true
		up.r.consume(n)
		if err != nil {
			return began, errors.Join(errClient, err)
		}
		if done {
			return began, nil
		}
		if len(up.r.buf) < largeBuffer && (left < 0 || left > int64(len(up.r.buf))) {
			defer up.r.lend()()
		}
		up.r.dl.extend(up.c.SetReadDeadline, timeout)
		if err := up.r.fill(); err != nil {
			if !errors.Is(err, io.EOF) {
				return began, err
			}
			switch mode {
			case bodyToChunks:
				if err := c.write([]byte("0\r\n\r\n")); err != nil {
					return began, errors.Join(errClient, err)
				}
				return began, nil
			case bodyRaw:
				return began, nil
			case bodyNone, bodyLength, bodyChunked, bodyDechunk:
			}
			return began, io.ErrUnexpectedEOF
		}
	}
}

func appendChunk(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(b, "\r\n"...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}

// lend gives the reader, which is empty, a large buffer; what it returns
// takes it back, and keeps what was read and not consumed if it fits.
func (b *reader) lend() func() {
	small := b.buf
	lent := large.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	b.buf, b.r, b.w = *lent, 0, 0
	return func() {
		rest := b.buffered()
		if len(rest) > len(small) {
			small = make([]byte, len(rest))
		}
		n := copy(small, rest)
		b.buf, b.r, b.w = small, 0, n
		large.Put(lent)
	}
}
