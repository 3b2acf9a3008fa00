// Package ec2instance is the controller that makes EC2 instances run, stop and
// end as their records say. It writes their Status; what it finds of an
// instance's end by itself it asks of package instances, as a call of the API
// would.
//
// An instance that was shut down from within stops or terminates, by its
// shutdown behavior. One whose first process was killed terminates with
// Server.InternalError: nothing would bring it back on EC2 either, and so Auto
// Scaling replaces it. One that the machine went down with boots again.
package ec2instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Runtime runs instances. Its methods are idempotent, and are called for one
// instance by one goroutine at a time, but for Wait.
type Runtime interface {
	// Boot makes an instance, with its interfaces attached, and boots it. One
	// that runs goes on. What Spec says of the machine's side is the runtime's
	// to fill in.
	Boot(ctx context.Context, s instance.Spec) error
	// Connect gives an instance that runs its interfaces, and takes out all that
	// it had before.
	Connect(ctx context.Context, s instance.Spec) error
	// Stop shuts down what is there, within patience, and keeps its files.
	Stop(ctx context.Context, id string, patience time.Duration) error
	// Remove ends an instance and forgets it.
	Remove(ctx context.Context, id string) error
	// State fails with instance.ErrNotFound when there is none.
	State(id string) (instance.State, error)
	// List names the instances, running or not.
	List() ([]string, error)
	// Wait returns when an instance does not run.
	Wait(ctx context.Context, id string) error
}

const (
	// Retention is how long a terminated instance is kept.
	Retention = time.Hour
	// bootTimeout bounds how long one attempt to boot may take: it waits for
	// the instance's security groups to be in force.
	bootTimeout = 20 * time.Second
	// launchPatience is for how long booting is tried again before the
	// instance has failed.
	launchPatience = time.Minute
	// stopPatience and endPatience are how long what runs in an instance has to
	// end, when it stops and when it terminates.
	stopPatience = 30 * time.Second
	endPatience  = 5 * time.Second
)

// Config is what a controller stands on.
type Config struct {
	Store   store.Store
	Clock   clock.Clock
	Log     *slog.Logger
	Runtime Runtime
}

// Instances is the controller.
type Instances struct {
	Config
	pokes chan controller.Key
	wake  chan struct{} // holds a token when pending may not be empty

	mu      sync.Mutex
	pending []controller.Key
	// watched are the instances whose end is waited for.
	watched map[string]bool
	// connected are the interfaces that running instances were given.
	connected map[string]string
}

// New makes the controller.
func New(cfg Config) *Instances {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Instances{
		Config: cfg, pokes: make(chan controller.Key), wake: make(chan struct{}, 1),
		watched: map[string]bool{}, connected: map[string]string{},
	}
}

// Controller is what the runtime of controllers runs. Run must run beside it.
func (c *Instances) Controller() *controller.Controller {
	return &controller.Controller{
		Name: "ec2instance",
		Watches: []controller.Watch{
			controller.Own(tables.Instances),
			controller.On(tables.NetworkInterfaces, func(r store.Row[model.NetworkInterface]) []controller.Key {
				if r.V.Attachment == nil || r.V.Attachment.InstanceID == "" {
					return nil
				}
				return []controller.Key{{Account: r.Key.Account, Region: r.Key.Region, ID: r.V.Attachment.InstanceID}}
			}),
		},
		Pokes: c.pokes,
		// A worker waits while an instance shuts down.
		Workers:   16,
		Reconcile: c.Reconcile,
	}
}

// Run waits for the ends of instances, until ctx ends.
func (c *Instances) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		keys := c.pending
		c.pending = nil
		c.mu.Unlock()
		for _, key := range keys {
			wg.Go(func() { c.await(ctx, key) })
		}
	}
}

// await tells the controller of an instance's end.
func (c *Instances) await(ctx context.Context, key controller.Key) {
	if err := c.Runtime.Wait(ctx, key.ID); err != nil && ctx.Err() == nil {
		c.Log.Error("cannot wait for the end of an instance", "instance", key.ID, "error", err)
		timer := c.Clock.NewTimer(time.Second)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	c.mu.Lock()
	delete(c.watched, key.ID)
	c.mu.Unlock()
	select {
	case c.pokes <- key:
	case <-ctx.Done():
	}
}

// watch makes Run wait for the instance's end.
func (c *Instances) watch(key controller.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watched[key.ID] {
		return
	}
	c.watched[key.ID] = true
	c.pending = append(c.pending, key)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Reconcile brings an instance to what its record says.
func (c *Instances) Reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	row, err := tables.Instances.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, c.remove(ctx, key.ID)
	}
	if err != nil {
		return controller.Result{}, err
	}
	var wait time.Duration
	switch {
	case row.V.Status.State == model.InstanceTerminated:
		wait, err = c.forget(ctx, row)
	case row.V.Desired.State == model.InstanceTerminated:
		wait, err = c.terminate(ctx, row)
	case row.V.Desired.State == model.InstanceStopped:
		err = c.stop(ctx, row)
	default:
		wait, err = c.run(ctx, row)
	}
	if err != nil {
		return controller.Result{}, fmt.Errorf("instance %s: %w", key.ID, err)
	}
	return controller.Result{RequeueAfter: wait}, nil
}

// Sweep removes instances that have no record: those whose records ended while
// no server ran. Call it before the controller runs.
func (c *Instances) Sweep(ctx context.Context) error {
	ids, err := c.Runtime.List()
	if err != nil {
		return err
	}
	rows, err := tables.Instances.List(ctx, c.Store, store.Query{})
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, r := range rows {
		known[r.V.ID] = true
	}
	var errs []error
	for _, id := range ids {
		if !known[id] {
			errs = append(errs, c.remove(ctx, id))
		}
	}
	return errors.Join(errs...)
}

func (c *Instances) remove(ctx context.Context, id string) error {
	c.disconnected(id)
	return c.Runtime.Remove(ctx, id)
}

// update writes an instance's status.
func (c *Instances) update(ctx context.Context, row store.Row[model.Instance], change func(*model.InstanceStatus)) error {
	v := row.Copy()
	change(&v.Status)
	if v.Status == row.V.Status {
		return nil
	}
	tx := store.NewTxn()
	tables.Instances.Replace(tx, row, v)
	_, err := tx.Commit(ctx, c.Store)
	return err
}
