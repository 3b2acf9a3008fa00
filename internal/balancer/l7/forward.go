package l7

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// exchange is a request on its way to a target.
type exchange struct {
	group  *Group
	stats  *Stats // the group's, of the client's node
	state  *groupState
	target *Target
	up     *upstream
	// pump sends the rest of the body; nil when it went with the head.
	pump *pump
	// unsent tells that the target did not even take the head of a request whose
	// body is still to come: where the next request begins is not known.
	unsent bool
	// cookies are Set-Cookie lines for the client.
	cookies []byte
	began   time.Duration // by sinceStart; 0 before
	// stuck tells that a classic load balancer's cookie chose the target, rebind
	// that one did not whose target is gone.
	stuck, rebind bool
}

// forward sends the request to a target and its response to the client. It
// tells whether the connection to the client can go on.
func (c *conn) forward(f *Forward) bool {
	s := c.settings()
	c.acted("forward")
	g, remember := f.choose(&c.req, s)
	if f.ByAddress != nil {
		g = f.own(c)
	}
	if g == nil {
		return c.fail(503, c.skipBody())
	}
	x := exchange{group: g, state: g.state.Load().at(c.c), stats: g.at(c.node)}
	if !c.compatible(x.state.settings.Version) {
		return c.incompatible()
	}
	x.cookies = append(x.cookies, c.extra...)
	if remember {
		x.cookies = appendCookies(x.cookies, groupCookie, groupCORSCookie, g.ID, s, f.StickyFor)
	}
	if c.req.Expect100 && len(c.r.buffered()) == 0 && c.req.HasBody() {
		const interim = "HTTP/1.1 100 Continue\r\n\r\n"
		c.headed(len(interim))
		if c.write([]byte(interim)) != nil {
			return false
		}
	}
	status, err := c.send(&x)
	if x.target == nil {
		return c.fail(503, c.skipBody())
	}
	if c.rec != nil {
		c.rec.Target = x.target.Addr
		c.rec.TargetGroup = g.ID
	}
	again := false
	if err != nil {
		again = c.failed(&x, status)
	} else {
		again = c.relay(&x)
	}
	if c.through == nil {
		c.up.Store(nil)
		x.target.inflight.Add(-1)
	}
	return again
}

// send picks a target, sends the request, and reads the head of the response
// into c.resp. On failure it returns the status to answer with; 0 means that
// there is nobody to answer.
func (c *conn) send(x *exchange) (status int, err error) {
	body, whole := c.bodyAtHand()
	again := whole && repeatable(c.req.Method)
	if st := &x.state.settings; st.Sticky && st.AppCookie != "" {
		x.target, x.rebind = x.state.stuckApp(&c.req, c.settings(), x.group.ID)
	} else if st.Classic != nil {
		x.target = x.state.stuckClassic(&c.req, c.settings())
		x.stuck = x.target != nil
		x.rebind = !x.stuck && x.state.settings.Classic.AppCookie != "" && hasCookie(&c.req, x.state.settings.Classic.AppCookie) && hasCookie(&c.req, classicCookie)
	} else {
		x.target = x.state.stuck(&c.req, c.settings(), x.group.ID)
	}
	if x.target == nil {
		if x.state.settings.Sticky {
			x.stats.unbound(x.state.settings.AppCookie != "")
		}
		x.target = x.state.pick(x.group, nil)
	}
	if x.target == nil {
		return 503, errNoTarget
	}
	x.target.inflight.Add(1)
	c.stats.Requests.Add(1)
	x.stats.Requests.Add(1)
	if x.state.failOpen {
		x.stats.FailOpen.Add(1)
	}
	if c.req.Irregular {
		c.stats.irregular(c.settings().DropInvalidFields)
	}
	var fresh, moved bool
	for {
		up, err := x.target.get(context.Background(), fresh, !whole || len(body) > withHead)
		if err != nil {
			if errors.Is(err, ErrHandshake) {
				x.stats.TLSErrors.Add(1)
			} else {
				x.stats.ConnectionErrors.Add(1)
			}
			// Nothing was sent, or what may be repeated: another target may be
			// tried.
			if !moved && len(x.state.targets) > 1 {
				moved, fresh = true, false
				c.elsewhere(x)
				continue
			}
			return dialStatus(err), err
		}
		if !up.reused {
			x.stats.Connections.Add(1)
		}
		x.up = up
		c.up.Store(up)
		if c.cutC.Load() {
			_ = up.c.Close()
		}
		if x.began == 0 {
			x.began = sinceStart()
		}
		status, err = c.exchange(x, body, whole)
		if err == nil {
			return 0, nil
		}
		if errors.Is(err, errUnasked) || errors.Is(err, errStale) && again && !fresh {
			// The target closed the connection while it was idle. Nothing was
			// sent, or nothing came back and the request may be repeated.
			x.target.drop(up)
			x.up, fresh = nil, errors.Is(err, errStale)
			continue
		}
		return status, err
	}
}

var (
	errNoTarget = errors.New("no target")
	errStale    = errors.New("connection was closed while idle")
	errInterim  = errors.New("too many interim responses")
)

// elsewhere chooses another target after a failure to connect.
func (c *conn) elsewhere(x *exchange) {
	t := x.state.pick(x.group, x.target)
	x.rebind = x.rebind || x.stuck
	x.stuck = false
	x.target.inflight.Add(-1)
	t.inflight.Add(1)
	x.target = t
}

// withHead is how much of a body is copied behind the head.
const withHead = largeBuffer / 2

// maxInterim is how many interim responses may come before the final one.
const maxInterim = 32

// exchange sends head and body on one connection and reads the response's
// head.
func (c *conn) exchange(x *exchange, body []byte, whole bool) (status int, err error) {
	up, s := x.up, c.settings()
	c.out = c.appendRequest(c.out[:0])
	if len(body) <= withHead {
		c.out = append(c.out, body...)
		body = nil
	}
	if plain, ok := up.c.(*socket); ok && up.reused && whole && len(body) == 0 {
		up.r.r, up.r.w = 0, 0
		up.r.dl.extend(up.c.SetReadDeadline, s.IdleTimeout)
		n, err := plain.ask(c.out, up.r.buf, func() { up.wdl.extend(up.c.SetWriteDeadline, s.IdleTimeout) })
		if errors.Is(err, errUnasked) {
			return 502, err
		}
		up.r.w, up.r.err = n, err
		return c.answered(x, true)
	}
	up.wdl.extend(up.c.SetWriteDeadline, s.IdleTimeout)
	_, werr := up.c.Write(c.out)
	if werr == nil && len(body) > 0 {
		_, werr = up.c.Write(body)
	}
	switch {
	case whole: // What follows the body may be the next request.
	case werr == nil:
		x.pump = startPump(c, up)
	default:
		x.unsent = true
	}
	// A target that answers before it has read everything may close its side,
	// which fails the write while the answer is there to be read.
	return c.answered(x, whole)
}

// answered reads the head of the response to a request that was sent.
func (c *conn) answered(x *exchange, whole bool) (status int, err error) {
	status, err = c.readResponse(x)
	if err == nil && whole {
		c.took(max(c.req.Length, 0))
	}
	return status, err
}

// bodyAtHand is the part of the body that came with the head, and whether
// that is all of it. A chunked body is left to the pump.
func (c *conn) bodyAtHand() (body []byte, whole bool) {
	if !c.req.HasBody() {
		return nil, true
	}
	if c.req.Chunked {
		return nil, false
	}
	b := c.r.buffered()
	if int64(len(b)) >= c.req.Length {
		return b[:c.req.Length], true
	}
	return nil, false
}

// readResponse reads heads until that of the final response, passing interim
// ones on.
func (c *conn) readResponse(x *exchange) (status int, err error) {
	up := x.up
	timeout := c.settings().IdleTimeout
	for interim := 0; ; {
		n, err := up.r.head(func() error {
			up.r.dl.extend(up.c.SetReadDeadline, timeout)
			return nil
		})
		switch {
		case err == nil:
		case isTimeout(err):
			// The target's time begins once it has the whole request. Until
			// then the pump watches over the client's.
			if x.pump != nil && (!x.pump.ended() || time.Since(time.Unix(0, up.sentAt.Load())) < timeout) {
				continue
			}
			return 504, err
		case up.reused && up.r.w == 0 && (errors.Is(err, errEmpty) || isReset(err)):
			return 502, errStale
		default:
			return 502, err
		}
		if n > h1.MaxResponseHead {
			return 502, errHeadTooLarge
		}
		if err := c.resp.Parse(up.r.buffered()[:n]); err != nil {
			return 502, err
		}
		up.r.r += n
		if c.resp.Status >= 200 || c.resp.Status == 101 {
			return 0, nil
		}
		if interim++; interim > maxInterim {
			return 502, errInterim
		}
		if c.resp.Status != 100 && c.minor == 1 {
			c.out = c.appendInterim(c.out[:0])
			c.headed(len(c.out))
			if err := c.write(c.out); err != nil {
				return 0, err
			}
		}
	}
}

// failed ends an exchange that brought no response.
func (c *conn) failed(x *exchange, status int) bool {
	c.up.Store(nil)
	if x.up != nil {
		x.target.drop(x.up)
		if status == 502 || status == 504 {
			x.target.broken.Add(1)
		}
	}
	keep := false
	switch {
	case x.pump != nil:
		err := x.pump.stop(c)
		c.pumped(x.pump)
		switch {
		case err == nil || errors.Is(err, errToTarget):
		case isTimeout(err):
			status = 408
		case errors.Is(err, h1.ErrMalformed):
			status = 400
		default:
			return false // the client is gone
		}
	case x.up == nil:
		keep = c.skipBody()
	case x.unsent:
	default:
		keep = c.keep
		c.took(max(c.req.Length, 0))
	}
	if status == 0 {
		return false
	}
	return c.fail(status, keep)
}

// repeatable tells whether a request may be sent twice (RFC 9110, 9.2.2).
func repeatable(method []byte) bool {
	switch string(method) {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	default:
		return false
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func dialStatus(err error) int {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return 504
	}
	return 502
}

// pump sends the rest of a request's body while the response is awaited.
type pump struct {
	// restore takes a buffer back that the pump lent the reader; nil when it
	// lent none.
	restore func()
	done    chan struct{}
	err     error // valid once done is closed
	sent    int64 // likewise
	quit    atomic.Bool
}

// errToTarget marks that the target did not take the body.
var errToTarget = errors.New("target does not take the body")

func startPump(c *conn, up *upstream) *pump {
	p := &pump{done: make(chan struct{})}
	up.sentAt.Store(time.Now().UnixNano())
	length, chunked := c.req.Length, c.req.Chunked
	timeout := c.settings().IdleTimeout
	go func() {
		p.err = p.run(c, up, length, chunked, timeout)
		failed := p.err != nil && !errors.Is(p.err, errToTarget) && !errors.Is(p.err, errQuit)
		close(p.done)
		if failed {
			// Without its body the request can never be answered. Whoever waits
			// for the response wakes up, and finds the reason in err.
			_ = up.c.Close()
		}
	}()
	return p
}

// run copies the body. It owns c's reader.
func (p *pump) run(c *conn, up *upstream, length int64, chunked bool, timeout time.Duration) error {
	scan := h1.Chunked{Request: true}
	for {
		b := c.r.buffered()
		if chunked {
			n, err := scan.Scan(b, nil)
			if err != nil {
				return err
			}
			b = b[:n]
		} else {
			b = b[:min(int64(len(b)), length)]
			length -= int64(len(b))
		}
		if len(b) > 0 {
			up.wdl.extend(up.c.SetWriteDeadline, timeout)
			if _, err := up.c.Write(b); err != nil {
				return errors.Join(errToTarget, err)
			}
			up.sentAt.Store(time.Now().UnixNano())
			c.stats.BytesIn.Add(int64(len(b)))
			p.sent += int64(len(b))
			c.r.consume(len(b))
		}
		if (chunked && scan.Done()) || (!chunked && length == 0) {
			return nil
		}
		if p.restore == nil {
			// The head stays where it is: what it says is still needed.
			p.restore = c.r.lend()
		}
		c.r.dl.extend(c.c.SetReadDeadline, timeout)
		if p.quit.Load() {
			return errQuit
		}
		if err := c.r.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// errQuit: the pump was told to stop.
var errQuit = errors.New("the response is complete before the request")

// pumped takes the reader over from a pump that has ended. The request's head is
// lost.
func (c *conn) pumped(p *pump) {
	c.received += p.sent
	if p.restore != nil {
		p.restore()
	}
}

func (p *pump) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the pump and waits for it. It returns what went wrong before it
// was told to stop: nil when nothing did.
func (p *pump) stop(c *conn) error {
	if p.ended() {
		return p.err
	}
	p.quit.Store(true)
	_ = c.c.SetReadDeadline(past)
	<-p.done
	c.r.dl = deadline{}
	if errors.Is(p.err, errQuit) || isTimeout(p.err) {
		return nil
	}
	return p.err
}
