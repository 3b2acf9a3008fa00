package balancer

import (
	"context"
	"log/slog"
	"net"
	"time"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/plan/balance"
)

// server serves a port of a load balancer.
type server interface {
	// Serve accepts connections until ctx ends or the listener fails.
	Serve(ctx context.Context, l net.Listener) error
	// Shutdown lets what is under way finish, and cuts it when ctx ends.
	Shutdown(ctx context.Context)
}

// carrier is the server of one port's connections.
type carrier struct {
	*conduit.Server
	*conduit.Listener
}

// compiled is what a listener does; one of the tables is set.
type compiled struct {
	requests    *l7.Table
	connections *conduit.Table
}

// compile makes what a listener does. The instance's mu is held.
func (in *instance) compile(lb balance.LoadBalancer, l balance.Listener) (compiled, error) {
	if l.Classic != nil {
		return in.compileClassic(lb, l)
	}
	t, err := in.compileRules(lb, l)
	if err == nil {
		in.observed(t)
	}
	return compiled{requests: t}, err
}

// swap makes s do it from now on. It is false for a server that cannot.
func (c compiled) swap(s server) bool {
	switch s := s.(type) {
	case *l7.Server:
		if c.requests != nil {
			s.Swap(c.requests)
		}
		return c.requests != nil
	case carrier:
		if c.connections != nil {
			s.Swap(c.connections)
		}
		return c.connections != nil
	}
	return false
}

// server makes a server that does it.
func (c compiled) server(stats *l7.Stats, log *slog.Logger) server {
	if c.connections != nil {
		s := conduit.NewServer(nil, stats, log)
		return carrier{s, s.NewListener(c.connections)}
	}
	return l7.NewServer(c.requests, stats, log)
}

// leaveEvery is how often a target that leaves is looked at.
const leaveEvery = 50 * time.Millisecond

// leave ends a target that is no longer there: at once when it was
// deregistered, and when no listener leads to its group any more as soon as
// what is under way is done, at the latest after Config.DrainTimeout.
func (in *instance) leave(t *target) {
	in.mu.Lock()
	stays := in.groups[t.g.spec.ARN] == t.g
	in.mu.Unlock()
	if stays || t.l7.InFlight() == 0 {
		t.close()
		return
	}
	if t.stop != nil {
		t.stop()
	}
	in.wg.Go(func() {
		defer t.close()
		until := in.b.cfg.Clock.Now().Add(in.b.cfg.DrainTimeout)
		for t.l7.InFlight() > 0 && in.b.cfg.Clock.Now().Before(until) {
			timer := in.b.cfg.Clock.NewTimer(leaveEvery)
			select {
			case <-timer.C:
			case <-in.ctx.Done():
				timer.Stop()
				return
			}
		}
	})
}
