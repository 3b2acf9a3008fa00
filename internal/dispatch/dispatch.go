// Package dispatch is the control plane's side of the node protocol: it sends
// nodes the tasks that they are to run, with their roles' credentials, and
// writes what they report into the tasks' records.
//
// Dispatch owns one part of a task's record, Observed. Which node runs a task
// and when it is to stop it reads there: a task is the node's from PENDING on,
// and is to stop from STOPPING on.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Credentials makes the temporary credentials of tasks' roles.
// *identity.Directory does.
type Credentials interface {
	MintRoleSession(ctx context.Context, roleARN, sessionName, service string, duration time.Duration, conditions map[string]string) (identity.Credentials, error)
}

// Config of a Dispatcher. All but Credentials is needed; without it tasks get
// no credentials.
type Config struct {
	Store       store.Store
	Clock       clock.Clock
	Credentials Credentials
	Log         *slog.Logger
}

// Dispatcher serves the sessions of nodes.
type Dispatcher struct {
	cfg Config

	mu sync.Mutex
	// nodes are the tasks of each node, by the node's name: those that it is
	// to know of.
	nodes map[string]map[store.Key]bool
	// of tells whose a task is, to notice when it leaves.
	of       map[store.Key]string
	sessions map[*session]bool
	// ready is closed once nodes is complete; base is Run's context, which
	// all sessions end with.
	ready    chan struct{}
	base     context.Context
	wg       sync.WaitGroup
	timeline int64
}

// New makes a dispatcher; Run must run for sessions to get anything.
func New(cfg Config) *Dispatcher {
	return &Dispatcher{
		cfg: cfg, nodes: map[string]map[store.Key]bool{}, of: map[store.Key]string{}, sessions: map[*session]bool{},
		ready: make(chan struct{}),
	}
}

// Run follows the tasks' records until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer d.wg.Wait()
	defer func() {
		d.mu.Lock() // no session begins any more
		defer d.mu.Unlock()
		cancel()
	}()
	d.base = ctx // before ready is closed
	if err := d.forgetConnections(ctx); err != nil {
		return err
	}
	first := true
	for {
		err := d.follow(ctx, first)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, store.ErrCompacted) {
			return fmt.Errorf("follow tasks: %w", err)
		}
		first = false
	}
}

// follow lists the tasks that live, then applies every change, until the watch ends.
func (d *Dispatcher) follow(ctx context.Context, first bool) error {
	// A change behind this revision may be seen twice, the older state last;
	// what follows it then sets that right.
	w, err := d.cfg.Store.Watch(ctx, d.cfg.Store.Revision(), tables.ECSTasks.Kind())
	if err != nil {
		return err
	}
	present := map[store.Key]bool{}
	for _, q := range tables.LiveTasks() {
		rows, err := tables.ECSTasks.List(ctx, d.cfg.Store, q)
		if err != nil {
			return err
		}
		for _, r := range rows {
			present[r.Key] = true
			d.place(r.Key, r.V)
		}
	}
	d.mu.Lock()
	var gone []store.Key
	for k := range d.of {
		if !present[k] {
			gone = append(gone, k)
		}
	}
	d.mu.Unlock()
	for _, k := range gone {
		d.place(k, nil)
	}
	if first {
		close(d.ready)
	}
	for events := range w.Events {
		for _, e := range events {
			if e.Type == store.Delete {
				d.place(e.Record.Key, nil)
				continue
			}
			row, err := tables.ECSTasks.Row(e.Record)
			if err != nil {
				d.cfg.Log.Error("a task's record does not decode", "key", e.Record.Key, "error", err)
				continue
			}
			d.place(row.Key, row.V)
		}
	}
	return w.Err()
}

// concerns tells whether a task's node has anything to do for it.
func concerns(t *model.Task) bool {
	return t != nil && t.Status.Node != "" && t.Observed.Status != model.TaskStopped &&
		lifecycle.Rank(t.Status.LastStatus) >= lifecycle.Rank(model.TaskPending) && t.Status.LastStatus != model.TaskStopped
}

// attaching tells whether a task's node is to find the task's interface.
func attaching(t *model.Task) bool {
	return t != nil && t.Status.Node != "" && t.Attaching() && t.Desired.Status == model.TaskRunning
}

// desired is what the task's node is to do.
func desired(t *model.Task) string {
	if lifecycle.Rank(t.Status.LastStatus) >= lifecycle.Rank(model.TaskStopping) {
		return acs.DesiredStopped
	}
	return acs.DesiredRunning
}

// place keeps whose the task is, and wakes the session that it concerns.
func (d *Dispatcher) place(key store.Key, t *model.Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	node := ""
	if concerns(t) || attaching(t) {
		node = t.Status.Node
	}
	if old := d.of[key]; old != node && old != "" {
		delete(d.nodes[old], key)
		delete(d.of, key)
		d.wake(old, key)
	}
	if node == "" {
		return
	}
	if d.nodes[node] == nil {
		d.nodes[node] = map[store.Key]bool{}
	}
	d.nodes[node][key], d.of[key] = true, node
	d.wake(node, key)
}

// wake has the node's sessions look at a task; d.mu is held.
func (d *Dispatcher) wake(node string, key store.Key) {
	for s := range d.sessions {
		if s.node == node {
			s.notify(key)
		}
	}
}

// tasksOf lists a node's tasks.
func (d *Dispatcher) tasksOf(node string) []store.Key {
	d.mu.Lock()
	defer d.mu.Unlock()
	keys := make([]store.Key, 0, len(d.nodes[node]))
	for k := range d.nodes[node] {
		keys = append(keys, k)
	}
	return keys
}

// nextTimeline grows with every manifest, over restarts too.
func (d *Dispatcher) nextTimeline() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeline = max(d.timeline+1, d.cfg.Clock.Now().UnixMilli())
	return d.timeline
}

// Submit records a node's report. acs.ErrUnknownTask tells that there is no
// such task, or that it is another node's.
func (d *Dispatcher) Submit(ctx context.Context, node string, ch acs.TaskStateChange) error {
	key, err := taskKey(ch.Task)
	if err != nil {
		return err
	}
	_, err = tables.ECSTasks.Update(ctx, d.cfg.Store, key.Account, key.Region, key.ID, func(t *model.Task) error {
		if t.Status.Node != node || t.TaskARN != ch.Task {
			return fmt.Errorf("task %s of node %s: %w", ch.Task, node, acs.ErrUnknownTask)
		}
		if !Merge(&t.Observed, &ch) {
			return store.ErrUnchanged
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("task %s: %w", ch.Task, acs.ErrUnknownTask)
	}
	return err
}

// taskKey is the key of the record that a task's ARN names.
func taskKey(arn string) (store.Key, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return store.Key{}, fmt.Errorf("%w: %w", acs.ErrUnknownTask, err)
	}
	id := model.ECSResourceID(arn)
	if id == "" {
		return store.Key{}, fmt.Errorf("%q: %w", arn, acs.ErrUnknownTask)
	}
	return tables.ECSTasks.Key(a.Account, a.Region, id), nil
}

// Node is the transport of a node that runs inside this process.
func (d *Dispatcher) Node(name string) *Local { return &Local{d: d, name: name} }

// Local is a node's way to a Dispatcher in the same process.
type Local struct {
	d    *Dispatcher
	name string
}

// Connect opens a session. It waits until the dispatcher runs.
func (l *Local) Connect(ctx context.Context) (acs.Session, error) {
	select {
	case <-l.d.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ours, theirs := newPipe()
	if _, err := l.d.open(l.name, "", ours); err != nil {
		return nil, err
	}
	return theirs, nil
}

// SubmitTaskStateChange records a report of the node's.
func (l *Local) SubmitTaskStateChange(ctx context.Context, ch acs.TaskStateChange) error {
	return l.d.Submit(ctx, l.name, ch)
}
