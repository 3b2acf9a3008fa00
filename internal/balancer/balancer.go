// Package balancer is the data plane of load balancers: it makes listeners,
// targets and health checks be what specifications say.
//
// Package l7 proxies HTTP, rules finds the rule that a request matches, h1
// reads HTTP/1.1, place gives load balancers network namespaces of their own,
// and frontdoor leads to them from the host.
package balancer

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/auth"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/seal"
)

// Place is where load balancers stand: it opens their sockets. All methods
// are safe for concurrent use.
type Place interface {
	// Make prepares the place, with the load balancer's interfaces, and
	// changes one that exists.
	Make(ctx context.Context, lb balance.LoadBalancer) error
	// Listen opens a port of the load balancer on all its addresses.
	Listen(ctx context.Context, lb string, port int32) (net.Listener, error)
	// Dial connects to an address, ip:port, from the load balancer.
	Dial(ctx context.Context, lb, address string) (net.Conn, error)
	// Remove takes the place away. Removing what is not there is no error.
	Remove(ctx context.Context, lb string) error
}

// Config of a Balancer.
type Config struct {
	Place Place
	// Forwarder is for network load balancers, which cannot be without it.
	Forwarder Forwarder
	Clock     clock.Clock
	Log       *slog.Logger
	// Secrets opens the secrets of actions that authenticate users, and seals
	// their sessions. Without it such actions let nobody pass.
	Secrets *seal.Key
	// Lookup resolves a name as a load balancer's VPC does; nil asks the
	// machine's resolvers.
	Lookup func(ctx context.Context, lb, host string) ([]netip.Addr, error)
	// Roots are the authorities that providers of identities may be certified
	// by; nil means the machine's.
	Roots func() *x509.CertPool
	// Changed is called when the health of a target of the load balancer has
	// changed. It must not block, nor call the Balancer.
	Changed func(lb string)
	// Logs takes what load balancers log; nil when nobody does.
	Logs Logs
	// DrainTimeout is how long requests may go on when their listener is
	// removed; 0 means 10 seconds.
	DrainTimeout time.Duration
}

// Balancer runs load balancers. Safe for concurrent use.
type Balancer struct {
	cfg Config
	// signer is nil where users are not authenticated.
	signer *auth.Signer
	ctx    context.Context
	end    context.CancelFunc
	wg     sync.WaitGroup

	mu  sync.Mutex
	lbs map[string]*instance
}

// New makes a balancer that runs nothing yet.
func New(cfg Config) *Balancer {
	if cfg.Changed == nil {
		cfg.Changed = func(string) {}
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Lookup == nil {
		cfg.Lookup = func(ctx context.Context, _, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
		}
	}
	var signer *auth.Signer
	if cfg.Secrets != nil {
		var err error
		if signer, err = NewSigner(cfg.Secrets); err != nil {
			cfg.Log.Error("users of load balancers cannot be authenticated", "error", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Balancer{cfg: cfg, signer: signer, ctx: ctx, end: cancel, lbs: map[string]*instance{}}
	b.wg.Go(b.reap)
	b.wg.Go(b.weigh)
	if cfg.Logs != nil {
		b.wg.Go(b.ship)
	}
	return b
}

// errClosed: the balancer was closed.
var errClosed = errors.New("balancer is closed")

// Apply makes the load balancer be what lb says. Requests under way are not
// disturbed. On an error part of it may be done; calling it again goes on.
func (b *Balancer) Apply(ctx context.Context, lb balance.LoadBalancer) error {
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return errClosed
	}
	in := b.lbs[lb.ID]
	if in == nil {
		in = newInstance(b, lb.ID)
		b.lbs[lb.ID] = in
	}
	b.mu.Unlock()
	if err := in.apply(ctx, lb); err != nil {
		return fmt.Errorf("apply load balancer %s: %w", lb.ID, err)
	}
	return nil
}

// Remove ends a load balancer once the requests under way are answered, at
// the latest after Config.DrainTimeout, and takes its place away. Removing
// what is not there is no error.
func (b *Balancer) Remove(ctx context.Context, lb string) error {
	b.mu.Lock()
	in := b.lbs[lb]
	delete(b.lbs, lb)
	b.mu.Unlock()
	if in != nil {
		in.close(ctx, b.cfg.DrainTimeout)
	}
	return b.cfg.Place.Remove(ctx, lb)
}

// Targets tells what is known of the targets of a load balancer's groups, by
// the groups' ids and the targets' ip:port. Nil when it does not run.
func (b *Balancer) Targets(lb string) map[string]map[string]balance.Seen {
	b.mu.Lock()
	in := b.lbs[lb]
	b.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.seen()
}

// Stats visits the counters of all load balancers and their groups. The
// pointers stay valid; the counts go on.
func (b *Balancer) Stats(visit func(lb string, s *l7.Stats, groups map[string]*l7.Stats)) {
	b.mu.Lock()
	ins := make([]*instance, 0, len(b.lbs))
	for _, in := range b.lbs {
		ins = append(ins, in)
	}
	b.mu.Unlock()
	for _, in := range ins {
		in.mu.Lock()
		groups := make(map[string]*l7.Stats, len(in.groups))
		for id, g := range in.groups {
			groups[id] = &g.l7.Stats
		}
		in.mu.Unlock()
		visit(in.id, &in.stats, groups)
	}
}

// Close ends all load balancers, cutting what is under way when ctx ends, and
// leaves their places for the next process to adopt.
func (b *Balancer) Close(ctx context.Context) {
	b.mu.Lock()
	b.end()
	ins := b.lbs
	b.lbs = map[string]*instance{}
	b.mu.Unlock()
	var wg sync.WaitGroup
	for _, in := range ins {
		wg.Go(func() { in.close(ctx, b.cfg.DrainTimeout) })
	}
	wg.Wait()
	b.wg.Wait()
}

// reap closes connections to targets that are idle for long.
func (b *Balancer) reap() {
	for {
		t := b.cfg.Clock.NewTimer(10 * time.Second)
		select {
		case <-t.C:
		case <-b.ctx.Done():
			t.Stop()
			return
		}
		for _, in := range b.instances() {
			in.reap()
		}
	}
}
