// Package loadbalancer makes load balancers from their records: it gives them
// network interfaces, programs the data plane, records what that finds of the
// targets, and lets deregistered targets go once they are drained.
package loadbalancer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DataPlane balances load. Its methods are safe for concurrent use, and are
// not called concurrently for one load balancer, but for Targets.
type DataPlane interface {
	// Apply makes a load balancer be what lb says, without disturbing the
	// requests under way. When it returns nil no new request goes to targets
	// that drain or that lb does not have.
	Apply(ctx context.Context, lb balance.LoadBalancer) error
	// Remove ends a load balancer. Removing what is not there is no error.
	Remove(ctx context.Context, lb string) error
	// Targets tells what is known of the targets, by the groups' ids and the
	// targets' ip:port.
	Targets(lb string) map[string]map[string]balance.Seen
}

// applyTimeout bounds what a load balancer may wait for, such as its
// interfaces' security groups. What takes longer is tried again.
const applyTimeout = 30 * time.Second

// Ports opens ports on the host for load balancers' listeners.
type Ports interface {
	// Set opens these ports and closes all others. It does not block.
	Set(ports []int32)
}

// Config of the controller.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	Plane DataPlane
	// Certificates opens those of listeners. Nil opens none.
	Certificates Certificates
	// TrustStores opens those of listeners. Nil opens none.
	TrustStores TrustStores
	// Ports may be nil.
	Ports Ports
}

// LoadBalancers is the controller.
type LoadBalancers struct {
	Config
	locks keyed

	mu      sync.Mutex
	keys    map[string]controller.Key // of the load balancers that run, by id
	pending map[string]bool           // ids of those whose targets' health changed
	wake    chan struct{}             // holds a token when pending may not be empty
}

// New makes the controller.
func New(cfg Config) *LoadBalancers {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &LoadBalancers{
		Config: cfg, keys: map[string]controller.Key{}, pending: map[string]bool{}, wake: make(chan struct{}, 1),
	}
}

// Kinds of keys: the record ids behind them.
const (
	lbKey    = "lb/"
	groupKey = "tg/"
)

// Controller is what the runtime runs. Run must run beside it.
func (c *LoadBalancers) Controller() *controller.Controller {
	key := func(k store.Key, id string) controller.Key {
		return controller.Key{Account: k.Account, Region: k.Region, ID: id}
	}
	parent := func(id string) string { p, _, _ := strings.Cut(id, "/"); return p }
	return &controller.Controller{
		Name: "loadbalancer",
		Watches: []controller.Watch{
			{Kind: tables.LoadBalancers.Kind(), Keys: c.ofBalancer},
			controller.On(tables.Listeners, func(r store.Row[model.Listener]) []controller.Key {
				return []controller.Key{key(r.Key, lbKey+parent(r.Key.ID))}
			}),
			controller.On(tables.Rules, func(r store.Row[model.Rule]) []controller.Key {
				return []controller.Key{key(r.Key, lbKey+parent(r.Key.ID))}
			}),
			controller.On(tables.TargetGroups, func(r store.Row[model.TargetGroup]) []controller.Key {
				return []controller.Key{key(r.Key, groupKey+r.Key.ID)}
			}),
			controller.On(tables.Targets, func(r store.Row[model.Target]) []controller.Key {
				return []controller.Key{key(r.Key, groupKey+parent(r.Key.ID))}
			}),
			{Kind: tables.Instances.Kind(), Keys: c.ofInstance},
			{Kind: tables.LogDeliverySources.Kind(), Keys: c.ofDelivery},
			{Kind: tables.LogDeliveryDestinations.Kind(), Keys: c.ofDelivery},
			{Kind: tables.LogDeliveries.Kind(), Keys: c.ofDelivery},
			{Kind: tables.Certificates.Kind(), Keys: c.ofCertificate},
			{Kind: tables.ServerCertificates.Kind(), Keys: c.ofCertificate},
			{Kind: tables.TrustStores.Kind(), Keys: c.ofTrustStore},
		},
		Reconcile: c.Reconcile,
	}
}

// Reconcile brings a load balancer or a target group to what its records say.
func (c *LoadBalancers) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	if id, ok := strings.CutPrefix(key.ID, lbKey); ok {
		return c.loadBalancer(ctx, controller.Key{Account: key.Account, Region: key.Region, ID: id})
	}
	id, _ := strings.CutPrefix(key.ID, groupKey)
	return c.targetGroup(ctx, controller.Key{Account: key.Account, Region: key.Region, ID: id})
}

// Changed tells that the health of a target of the load balancer changed. It
// does not block. The data plane calls it.
func (c *LoadBalancers) Changed(lb string) {
	c.mu.Lock()
	c.pending[lb] = true
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// retryDelay is the wait before health is recorded again that could not be.
const retryDelay = time.Second

// Run records changes of targets' health as the data plane finds them, until
// ctx ends.
func (c *LoadBalancers) Run(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		var failed []string
		for _, key := range c.takePending() {
			if _, err := c.loadBalancer(ctx, key); err != nil && ctx.Err() == nil {
				if !errors.Is(err, store.ErrConflict) {
					c.Log.Error("recording target health failed", "loadBalancer", key.ID, "error", err)
				}
				failed = append(failed, key.ID)
			}
		}
		if len(failed) > 0 && !clock.Sleep(ctx, c.Clock, retryDelay) {
			return
		}
		for _, lb := range failed {
			c.Changed(lb)
		}
	}
}

func (c *LoadBalancers) takePending() []controller.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []controller.Key
	for id := range c.pending {
		if k, ok := c.keys[id]; ok {
			keys = append(keys, k)
		}
	}
	c.pending = map[string]bool{}
	return keys
}

// keyed is a lock for each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the key, or for ctx to end.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		other, taken := k.held[key]
		if !taken {
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
