package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const nodeName = "fargate"

// node is a stateful double of dispatch and of what is behind it: it writes
// what the Fargate node, and the agent of each container instance, would
// report. Images decide what becomes of a task: "crash" exits soon after its
// start, "missing" cannot be pulled, "dyn" is given a port of the host's;
// others run until they are stopped or crash is called. An agent speaks while
// it is connected; what happened before that it tells then.
type node struct {
	store store.Store
	clock clock.Clock

	mu   sync.Mutex
	rand *rand.Rand
	// grid, when set, is what the times of reports are multiples of. Without
	// it, no two tasks start at one moment of the fake time, and whatever waits
	// for several changes to look at them at once waits in vain.
	grid time.Duration
	runs map[string]*run
	// ports are those that agents have given out, by instance.
	ports map[string]map[int]string
}

// run is what a node knows of a task.
type run struct {
	started, dies time.Time
}

func newNode(s store.Store, seed uint64) *node {
	return &node{store: s, clock: clock.System{}, rand: rand.New(rand.NewPCG(seed, 1)), runs: map[string]*run{}, ports: map[string]map[int]string{}}
}

func (n *node) controller() *controller.Controller {
	return &controller.Controller{
		Name: "node", Workers: 2, Reconcile: n.reconcile,
		Watches: []controller.Watch{
			controller.Own(tables.ECSTasks).Passing(tables.LiveTasks),
			controller.Watch{Kind: tables.ECSContainerInstances.Kind(), Keys: n.ofInstance}.Passing(func() []store.Query { return nil }),
		},
	}
}

// ofInstance names the tasks that an agent which connects has to tell of.
func (n *node) ofInstance(ctx context.Context, r store.Record) ([]controller.Key, error) {
	i, err := tables.ECSContainerInstances.Row(r)
	if err != nil || !i.V.Connection.Connected {
		return nil, err
	}
	tasks, err := tables.ECSTasks.List(ctx, n.store, store.Query{Account: account, Region: region, Index: store.Index{Name: tables.ByNode, Value: i.V.ID}})
	var keys []controller.Key
	for _, t := range tasks {
		keys = append(keys, controller.KeyOf(t.Key))
	}
	return keys, err
}

// speaks tells whether a task's node is there and connected.
func (n *node) speaks(ctx context.Context, t *model.Task) (bool, error) {
	if t.Spec.LaunchType != model.LaunchTypeEC2 {
		return t.Status.Node == nodeName, nil
	}
	i, err := tables.ECSContainerInstances.Get(ctx, n.store, account, region, cluster+"/"+t.Status.Node)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && i.V.Status != model.ContainerInstanceInactive && i.V.Connection.Connected, err
}

func (n *node) between(lo, hi time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return lo + time.Duration(n.rand.Int64N(int64(hi-lo)))
}

func (n *node) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	row, err := tables.ECSTasks.Get(ctx, n.store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	rank := lifecycle.Rank(row.V.Status.LastStatus)
	if row.V.Status.LastStatus == model.TaskStopped {
		n.forget(key.ID, row.V.Status.Node)
		return controller.Result{}, nil
	}
	if speaks, err := n.speaks(ctx, row.V); err != nil || !speaks {
		return controller.Result{}, err
	}
	if row.V.Attaching() {
		t := row.Copy()
		t.Observed.Attached = append(t.Observed.Attached, t.ENI().ID)
		tx := store.NewTxn()
		tables.ECSTasks.Replace(tx, row, t)
		_, err := tx.Commit(ctx, n.store)
		return controller.Result{}, err
	}
	if rank < lifecycle.Rank(model.TaskPending) || row.V.Observed.Status == model.TaskStopped {
		return controller.Result{}, nil
	}
	t := row.Copy()
	image := t.Spec.Containers[0].Image
	now := n.clock.Now()
	started, dies := n.run(key.ID, image, now)
	container := model.ContainerState{Name: t.Spec.Containers[0].Name}
	if c := t.Container(container.Name); c != nil {
		container = *c
	}
	switch {
	case t.Observed.Status == "":
		t.Observed.Status, t.Observed.PullStartedAt = model.TaskPending, now
		container.LastStatus = model.TaskPending
	case rank >= lifecycle.Rank(model.TaskStopping):
		t.Observed.Status, t.Observed.ExecutionStoppedAt = model.TaskStopped, now
		container.LastStatus, container.ExitCode = model.TaskStopped, new(143)
	case now.Before(started):
		return controller.Result{RequeueAfter: started.Sub(now)}, nil
	case strings.HasPrefix(image, "missing"):
		t.Observed.Status = model.TaskStopped
		container.LastStatus = model.TaskStopped
		container.Reason = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref " + image
	case !dies.IsZero() && !now.Before(dies):
		t.Observed.Status, t.Observed.ExecutionStoppedAt = model.TaskStopped, now
		container.LastStatus, container.ExitCode, container.StartedAt = model.TaskStopped, new(1), started
	case t.Observed.Status == model.TaskPending:
		t.Observed.Status, t.Observed.PullStoppedAt = model.TaskRunning, now
		container.LastStatus, container.StartedAt = model.TaskRunning, now
		if strings.HasPrefix(image, "dyn") {
			container.NetworkBindings = []model.NetworkBinding{{BindIP: "0.0.0.0", ContainerPort: new(80), HostPort: new(n.port(t.Status.Node, key.ID)), Protocol: "tcp"}}
		}
	case !dies.IsZero():
		return controller.Result{RequeueAfter: dies.Sub(now)}, nil
	default:
		return controller.Result{}, nil
	}
	t.Observed.Containers = []model.ContainerState{container}
	tx := store.NewTxn()
	tables.ECSTasks.Replace(tx, row, t)
	_, err = tx.Commit(ctx, n.store)
	return controller.Result{}, err
}

// run is when the task's containers start and, if they do, end.
func (n *node) run(id, image string, now time.Time) (started, dies time.Time) {
	wait := n.between(500*time.Millisecond, 5*time.Second)
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.runs[id]
	if r == nil {
		r = &run{started: now.Add(wait)}
		if n.grid > 0 {
			r.started = r.started.Truncate(n.grid).Add(n.grid)
		}
		if strings.HasPrefix(image, "crash") {
			r.dies = r.started.Add(time.Second)
		}
		n.runs[id] = r
	}
	return r.started, r.dies
}

// port gives a task the lowest port that is free on the instance.
func (n *node) port(instance, task string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports[instance] == nil {
		n.ports[instance] = map[int]string{}
	}
	for p := 49153; ; p++ {
		if of := n.ports[instance][p]; of == "" || of == task {
			n.ports[instance][p] = task
			return p
		}
	}
}

// forget ends what is known of a task that has stopped.
func (n *node) forget(task, instance string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.runs, task)
	for p, of := range n.ports[instance] {
		if of == task {
			delete(n.ports[instance], p)
		}
	}
}

// crash ends the containers of a running task. Its node tells so at once or
// when it is connected again.
func (n *node) crash(ctx context.Context, id string) error {
	n.mu.Lock()
	r := n.runs[id]
	if r != nil {
		r.dies = n.clock.Now()
	}
	n.mu.Unlock()
	if r == nil {
		return nil
	}
	for {
		_, err := n.reconcile(ctx, controller.Key{Account: account, Region: region, ID: id})
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, errMadeUp) {
			return err
		}
	}
}

// balancer is a double of the load balancers: targets become healthy after
// their first checks, and drained ones go.
type balancer struct {
	store store.Store
	clock clock.Clock
	// drain is how long the last requests of a draining target take.
	drain time.Duration
}

func (b *balancer) controller() *controller.Controller {
	return &controller.Controller{Name: "balancer", Watches: []controller.Watch{controller.Own(tables.Targets)}, Reconcile: b.reconcile, Workers: 2}
}

func (b *balancer) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	target, err := tables.Targets.Get(ctx, b.store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	health, err := tables.TargetsHealth.Get(ctx, b.store, key.Account, key.Region, key.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, err
	}
	now, tx := b.clock.Now(), store.NewTxn()
	write := func(state, reason, description string) (controller.Result, error) {
		if health.Modified != 0 && health.V.State == state {
			return controller.Result{}, nil
		}
		tables.TargetsHealth.Put(tx, key.Account, key.Region, key.ID, &model.TargetHealth{State: state, Reason: reason, Description: description, Since: now})
		_, err := tx.Commit(ctx, b.store)
		return controller.Result{}, err
	}
	switch {
	case target.V.DeregisteringAt != nil:
		if end := target.V.DeregisteringAt.Add(b.drain); now.Before(end) {
			_, err := write(model.TargetHealthDraining, model.ReasonDeregistrationInProgress, model.DescriptionDeregistration)
			return controller.Result{RequeueAfter: end.Sub(now)}, err
		}
		tables.Targets.Delete(tx, target)
		if health.Modified != 0 {
			tables.TargetsHealth.Delete(tx, health)
		}
		_, err := tx.Commit(ctx, b.store)
		return controller.Result{}, err
	case now.Before(target.V.RegisteredAt.Add(10 * time.Second)):
		_, err := write(model.TargetHealthInitial, model.ReasonInitialHealthChecking, model.DescriptionInitialHealthChecking)
		return controller.Result{RequeueAfter: target.V.RegisteredAt.Add(10 * time.Second).Sub(now)}, err
	}
	if health.Modified != 0 && health.V.State == model.TargetHealthUnhealthy {
		return controller.Result{}, nil
	}
	_, err = write(model.TargetHealthHealthy, "", "")
	return controller.Result{}, err
}

// sicken makes the task's targets fail their checks from now on.
func (b *balancer) sicken(ctx context.Context, t *model.Task) error {
	for _, lb := range t.Spec.LoadBalancers {
		key := model.TargetKey(model.TargetGroupID(lb.TargetGroupARN), t.ENI().Detail("privateIPv4Address"), int32(*lb.ContainerPort))
		_, err := tables.TargetsHealth.Update(ctx, b.store, account, region, key, func(h *model.TargetHealth) error {
			h.State, h.Reason, h.Description = model.TargetHealthUnhealthy, model.ReasonResponseCodeMismatch, "Health checks failed with these codes: [502]"
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// heal makes the targets of all tasks pass their checks again.
func (b *balancer) heal(ctx context.Context) error {
	rows, err := tables.TargetsHealth.List(ctx, b.store, store.Query{Account: account, Region: region})
	if err != nil {
		return err
	}
	for _, row := range rows {
		_, err := tables.TargetsHealth.Update(ctx, b.store, account, region, row.Key.ID, func(h *model.TargetHealth) error {
			if h.State != model.TargetHealthUnhealthy {
				return store.ErrUnchanged
			}
			*h = model.TargetHealth{State: model.TargetHealthHealthy, Since: b.clock.Now()}
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
