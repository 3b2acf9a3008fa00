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

// node is a stateful double of dispatch and the node behind it: it writes
// what a node would report. Images decide what becomes of a task: "crash"
// exits soon after its start, "missing" cannot be pulled, others run until
// they are stopped or the random source ends them.
type node struct {
	store store.Store
	clock clock.Clock
	// lifetime, when not nil, gives a task's time to live, 0 for ever.
	lifetime func() time.Duration
	mu       sync.Mutex
	rand     *rand.Rand
	runs     map[string]*run
}

// run is what the node knows of a task.
type run struct {
	started, dies time.Time
}

func newNode(s store.Store, seed uint64) *node {
	return &node{store: s, clock: clock.System{}, rand: rand.New(rand.NewPCG(seed, 1)), runs: map[string]*run{}}
}

func (n *node) controller() *controller.Controller {
	return &controller.Controller{
		Name: "node", Watches: []controller.Watch{controller.Own(tables.ECSTasks)}, Reconcile: n.reconcile, Workers: 2,
	}
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
	t := row.Copy()
	rank := lifecycle.Rank(t.Status.LastStatus)
	if t.Status.Node != nodeName || rank < lifecycle.Rank(model.TaskPending) || t.Observed.Status == model.TaskStopped {
		return controller.Result{}, nil
	}
	image := t.Spec.Containers[0].Image
	now := n.clock.Now()
	r := n.run(key.ID, image, now)
	container := model.ContainerState{Name: t.Spec.Containers[0].Name}
	var wait time.Duration
	switch {
	case t.Observed.Status == "":
		t.Observed.Status, t.Observed.PullStartedAt = model.TaskPending, now
		container.LastStatus = model.TaskPending
	case rank >= lifecycle.Rank(model.TaskStopping):
		t.Observed.Status, t.Observed.ExecutionStoppedAt = model.TaskStopped, now
		container.LastStatus, container.ExitCode = model.TaskStopped, new(143)
	case now.Before(r.started):
		return controller.Result{RequeueAfter: r.started.Sub(now)}, nil
	case strings.HasPrefix(image, "missing"):
		t.Observed.Status = model.TaskStopped
		container.LastStatus = model.TaskStopped
		container.Reason = "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref " + image
	case !r.dies.IsZero() && !now.Before(r.dies):
		t.Observed.Status, t.Observed.ExecutionStoppedAt = model.TaskStopped, now
		container.LastStatus, container.ExitCode, container.StartedAt = model.TaskStopped, new(1), r.started
	case t.Observed.Status == model.TaskPending:
		t.Observed.Status, t.Observed.PullStoppedAt = model.TaskRunning, now
		container.LastStatus, container.StartedAt = model.TaskRunning, now
	case !r.dies.IsZero():
		return controller.Result{RequeueAfter: r.dies.Sub(now)}, nil
	default:
		return controller.Result{}, nil
	}
	t.Observed.Containers = []model.ContainerState{container}
	tx := store.NewTxn()
	tables.ECSTasks.Replace(tx, row, t)
	_, err = tx.Commit(ctx, n.store)
	return controller.Result{RequeueAfter: wait}, err
}

func (n *node) run(id, image string, now time.Time) *run {
	n.mu.Lock()
	r := n.runs[id]
	n.mu.Unlock()
	if r != nil {
		return r
	}
	r = &run{started: now.Add(n.between(500*time.Millisecond, 5*time.Second))}
	if strings.HasPrefix(image, "crash") {
		r.dies = r.started.Add(time.Second)
	} else if n.lifetime != nil {
		if d := n.lifetime(); d > 0 {
			r.dies = r.started.Add(d)
		}
	}
	n.mu.Lock()
	n.runs[id] = r
	n.mu.Unlock()
	return r
}

// crash ends a running task now.
func (n *node) crash(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.runs[id]; r != nil {
		r.dies = n.clock.Now()
	}
}

// balancer is a double of the load balancers: targets become healthy after
// their first checks, and drained ones go.
type balancer struct {
	store store.Store
	clock clock.Clock
	// drain is how long the last requests of a draining target take.
	drain time.Duration
	// sick tells whether a target fails its checks.
	sick func(id string) bool
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
	case b.sick != nil && b.sick(target.V.ID):
		_, err := write(model.TargetHealthUnhealthy, model.ReasonResponseCodeMismatch, "Health checks failed with these codes: [502]")
		return controller.Result{RequeueAfter: 10 * time.Second}, err
	}
	_, err = write(model.TargetHealthHealthy, "", "")
	return controller.Result{RequeueAfter: 10 * time.Second}, err
}
