package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/accesslog"
	"roadstead.dev/internal/balancer/auth"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// instance is one running load balancer.
type instance struct {
	b     *Balancer
	id    string
	stats l7.Stats
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup // of the listeners and of the health checks

	applying sync.Mutex // serializes apply and close

	mu        sync.Mutex
	closed    bool
	listeners map[int32]*listener
	groups    map[string]*group // by ARN
	// client asks providers of identities.
	client *auth.Client
	// forwarding is set for a network load balancer.
	forwarding *forwarding
	// spec is what was applied last.
	spec balance.LoadBalancer
	// nodes tells the load balancer's zones apart, from which nodes never go.
	nodes []*node
	// plain are those of a network load balancer's listeners without TLS.
	plain   []*node
	log     *accesslog.Log
	outputs map[string]*output
}

// listener is an open port.
type listener struct {
	server server
	// stop ends accepting; done is closed when it has ended.
	stop context.CancelFunc
	done chan struct{}
}

func newInstance(b *Balancer, id string) *instance {
	ctx, cancel := context.WithCancel(b.ctx)
	return &instance{
		b: b, id: id, ctx: ctx, end: cancel,
		listeners: map[int32]*listener{}, groups: map[string]*group{}, outputs: map[string]*output{},
		client: b.newClient(id),
	}
}

// apply makes the instance what lb says.
func (in *instance) apply(ctx context.Context, lb balance.LoadBalancer) error {
	in.applying.Lock()
	defer in.applying.Unlock()
	if in.closed {
		return errClosed
	}
	if err := in.b.cfg.Place.Make(ctx, lb); err != nil {
		return err
	}
	if lb.Type == model.LoadBalancerNetwork {
		return in.applyNetwork(ctx, lb)
	}
	in.mu.Lock()
	in.spec = lb
	removed := in.applyOutputs(lb)
	gone := in.applyGroups(lb.Groups)
	in.mu.Unlock()
	var errs []error
	wanted := map[int32]bool{}
	for _, l := range lb.Listeners {
		wanted[l.Port] = true
		if err := in.applyListener(ctx, lb, l); err != nil {
			errs = append(errs, fmt.Errorf("listener on port %d: %w", l.Port, err))
		}
	}
	in.mu.Lock()
	for port, l := range in.listeners {
		if !wanted[port] {
			delete(in.listeners, port)
			in.wg.Go(func() { l.close(context.Background(), in.b.cfg.DrainTimeout) })
		}
	}
	in.mu.Unlock()
	for _, o := range removed {
		in.fetch(o)
	}
	// Only now does no table lead to the targets that are gone.
	for _, t := range gone {
		in.leave(t)
	}
	return errors.Join(errs...)
}

func (in *instance) applyListener(ctx context.Context, lb balance.LoadBalancer, spec balance.Listener) error {
	in.mu.Lock()
	todo, err := in.compile(lb, spec)
	l := in.listeners[spec.Port]
	in.mu.Unlock()
	if err != nil {
		return err
	}
	if l != nil {
		select {
		case <-l.done:
			// Accepting failed: it is opened anew.
		default:
			if todo.swap(l.server) {
				return nil
			}
			// What it listens for is another protocol's: the port is given up.
			l.stop()
			<-l.done
		}
	}
	nl, err := in.b.cfg.Place.Listen(ctx, in.id, spec.Port)
	if err != nil {
		return err
	}
	if l != nil {
		in.wg.Go(func() { l.close(context.Background(), in.b.cfg.DrainTimeout) })
	}
	anew := in.serve(nl, todo, spec.Port)
	in.mu.Lock()
	in.listeners[spec.Port] = anew
	in.mu.Unlock()
	return nil
}

func (in *instance) serve(nl net.Listener, todo compiled, port int32) *listener {
	log := in.b.cfg.Log.With("loadBalancer", in.id, "port", port)
	ctx, cancel := context.WithCancel(in.ctx)
	l := &listener{server: todo.server(&in.stats, log), stop: cancel, done: make(chan struct{})}
	in.wg.Go(func() {
		defer close(l.done)
		if err := l.server.Serve(ctx, nl); err != nil {
			log.Error("listener failed", "error", err)
			in.b.cfg.Changed(in.id) // to be opened again
		}
	})
	return l
}

// close ends accepting and waits for the requests under way.
func (l *listener) close(ctx context.Context, timeout time.Duration) {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l.server.Shutdown(ctx)
}

// close ends the instance.
func (in *instance) close(ctx context.Context, timeout time.Duration) {
	in.applying.Lock()
	defer in.applying.Unlock()
	in.mu.Lock()
	in.closed = true
	ls := in.listeners
	in.listeners = map[int32]*listener{}
	in.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range ls {
		wg.Go(func() { l.close(ctx, timeout) })
	}
	if f := in.forwarding; f != nil {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			f.shutdown(ctx)
		})
	}
	wg.Wait()
	in.shipAll()
	in.end()
	in.mu.Lock()
	for _, g := range in.groups {
		for _, t := range g.targets {
			t.close()
		}
	}
	in.mu.Unlock()
	in.wg.Wait()
	in.client.Close()
}

func (in *instance) reap() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, g := range in.groups {
		for _, t := range g.targets {
			t.l7.Reap()
		}
	}
}

func (in *instance) seen() map[string]map[string]balance.Seen {
	flows := in.flows()
	in.mu.Lock()
	defer in.mu.Unlock()
	out := make(map[string]map[string]balance.Seen, len(in.groups))
	for _, g := range in.groups {
		ts := make(map[string]balance.Seen, len(g.targets))
		for addr, t := range g.targets {
			ts[addr] = balance.Seen{Health: t.recorded(), InFlight: t.l7.InFlight() + flows[addr]}
		}
		out[g.spec.ID] = ts
	}
	in.atOtherPorts(out)
	return out
}
