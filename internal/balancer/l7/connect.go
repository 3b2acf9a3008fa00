package l7

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Link is a connection to a target that carries no requests of HTTP's: it is
// nobody else's, and counts as in flight until it is closed.
type Link struct {
	net.Conn
	up   *upstream
	once sync.Once
}

// errNoTargets: a group has no target that takes connections.
var errNoTargets = errors.New("no target takes connections")

// Connect opens a connection to the target whose turn it is, or to the next
// ones when it cannot be reached, for a client that came to the node. What it
// takes counts as a response time.
func (g *Group) Connect(ctx context.Context, node int) (*Link, error) {
	s, stats := g.state.Load(), g.at(node)
	if len(s.targets) == 0 {
		return nil, errNoTargets
	}
	var errs []error
	first := g.turn.Add(1)
	for i := range uint64(min(len(s.targets), connectAttempts)) {
		t := s.targets[(first+i)%uint64(len(s.targets))]
		t.inflight.Add(1)
		began := sinceStart()
		u, err := t.get(ctx, true, false)
		if err == nil {
			stats.Requests.Add(1)
			stats.Connections.Add(1)
			took := int64(sinceStart() - began)
			stats.ResponseNanos.Add(took)
			stats.Times.Observe(took)
			t.Stats.Requests.Add(1)
			return &Link{Conn: u.c, up: u}, nil
		}
		t.inflight.Add(-1)
		stats.ConnectionErrors.Add(1)
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// connectAttempts is how many targets are tried for one connection.
const connectAttempts = 3

// Target is the address of the target that the connection is to.
func (l *Link) Target() string { return l.up.target.Addr }

// Close ends the connection. Closing twice is no error.
func (l *Link) Close() error {
	l.once.Do(func() {
		l.up.target.drop(l.up)
		l.up.target.inflight.Add(-1)
	})
	return nil
}

// Plain is the connection as it was dialled, which the kernel can carry bytes
// to and from by itself when nothing speaks TLS over it.
func (l *Link) Plain() net.Conn {
	if s, ok := l.Conn.(*socket); ok {
		return s.TCPConn
	}
	return l.Conn
}

// Fast makes a connection cheaper to read and write where that can be done.
// One goroutine at a time may read from what it returns, and one may write.
func Fast(c net.Conn) net.Conn { return fast(c) }

// DropIdle closes the connections to the target that no request uses, and the
// others after theirs, so that the next ones are made anew.
func (t *Target) DropIdle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch.Add(1)
	t.dropIdle()
}
