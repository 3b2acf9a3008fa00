package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

// Relay takes over a connection. It owns conn, whose first bytes have not been
// consumed, and returns when it is done.
type Relay func(ctx context.Context, conn net.Conn)

// peekLimit is how much of a request head is read to find its Host, and
// peekTimeout how long a client may take to send it.
const (
	peekLimit   = 16 << 10
	peekTimeout = 30 * time.Second
)

// SplitListener accepts connections for an HTTP server, except those whose
// first request names a host that pick takes: these go to the Relay that it
// returns. Thus http://<load balancer>.elb.localhost:4566 reaches the load
// balancer, with any protocol that starts with an HTTP/1 request head.
//
// Accept may be called until Close; Close waits for the relays, whose context
// it cancels.
type SplitListener struct {
	net.Listener
	pick  func(host string) Relay
	conns chan net.Conn

	ctx    context.Context //nolint:containedctx // the listener's life, for its relays
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

// NewSplitListener wraps ln. pick gets the host in lower case without port.
func NewSplitListener(ln net.Listener, pick func(host string) Relay) *SplitListener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &SplitListener{Listener: ln, pick: pick, conns: make(chan net.Conn), ctx: ctx, cancel: cancel}
	l.wg.Go(l.run)
	return l
}

func (l *SplitListener) run() {
	defer close(l.conns)
	var peeking sync.WaitGroup
	defer peeking.Wait()
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				continue
			}
			if errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil {
				l.err = net.ErrClosed
				return
			}
			// Out of descriptors or the like: it passes, or the listener closes.
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-l.ctx.Done():
				l.err = net.ErrClosed
				return
			}
		}
		peeking.Go(func() { l.peek(c) })
	}
}

// peek finds the host of a connection and hands the connection on.
func (l *SplitListener) peek(c net.Conn) {
	stop := context.AfterFunc(l.ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	_ = c.SetReadDeadline(time.Now().Add(peekTimeout))
	r := bufio.NewReaderSize(c, peekLimit)
	host := peekHost(r)
	if !stop() {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	pc := &peekedConn{Conn: c, r: r}
	if relay := l.pick(host); relay != nil {
		l.wg.Go(func() { relay(l.ctx, pc) })
		return
	}
	select {
	case l.conns <- pc:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

// peekHost reads ahead until the Host header, the end of the head or the
// limit. It returns "" where it finds none.
func peekHost(r *bufio.Reader) string {
	for n := 1; ; {
		b, err := r.Peek(n)
		b, _ = r.Peek(r.Buffered())
		host, done := hostIn(b)
		if done || err != nil || len(b) >= peekLimit {
			return host
		}
		n = len(b) + 1
	}
}

// hostIn finds the host in the head of a request; done is unset where more of
// the head is needed.
func hostIn(head []byte) (host string, done bool) {
	if len(head) > 0 && (head[0] < 'A' || head[0] > 'Z') {
		return "", true // TLS or rubbish
	}
	for i := 0; ; {
		nl := bytes.IndexByte(head[i:], '\n')
		if nl < 0 {
			return "", false
		}
		line := bytes.TrimRight(head[i:i+nl], "\r")
		i += nl + 1
		if len(line) == 0 {
			return "", true
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if ok && bytes.EqualFold(name, []byte("host")) {
			h := strings.ToLower(strings.TrimSpace(string(value)))
			if bare, _, err := net.SplitHostPort(h); err == nil {
				h = bare
			}
			return h, true
		}
	}
}

// Accept returns the next connection that no relay took.
func (l *SplitListener) Accept() (net.Conn, error) {
	select {
	case c, ok := <-l.conns:
		if !ok {
			return nil, l.err
		}
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops accepting, ends the relays and waits for them.
func (l *SplitListener) Close() error {
	var err error
	l.once.Do(func() {
		err = l.Listener.Close()
		l.cancel()
		l.wg.Wait()
	})
	return err
}

// peekedConn is a connection of which some bytes were read ahead.
type peekedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *peekedConn) Read(b []byte) (int, error) {
	if c.r != nil {
		if c.r.Buffered() > 0 {
			return c.r.Read(b)
		}
		c.r = nil
	}
	return c.Conn.Read(b)
}

// CloseWrite passes a half-close on, where the connection has one.
func (c *peekedConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}
