package capacityprovider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// Patience is how long a task waits for an instance. AWS's wait between 10 and
// 30 minutes.
// https://aws.amazon.com/blogs/containers/deep-dive-on-amazon-ecs-cluster-auto-scaling/
const Patience = 15 * time.Minute

// placedAtOnce bounds the tasks that one transaction places.
const placedAtOnce = 50

// lobby are the clusters in which tasks wait. A cluster enters before it looks
// at the book, and catches the book up with what the watches have told by then,
// so no room that appears passes between the two.
type lobby struct {
	mu    sync.Mutex
	waits map[controller.Key]bool
	seen  uint64 // newest revision that a watch told
}

// enter returns the newest revision told.
func (l *lobby) enter(cluster controller.Key) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits == nil {
		l.waits = map[controller.Key]bool{}
	}
	l.waits[cluster] = true
	return l.seen
}

func (l *lobby) leave(cluster controller.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waits, cluster)
}

// told names the cluster if tasks wait there for what was written.
func (l *lobby) told(cluster controller.Key, revision uint64) []controller.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = max(l.seen, revision)
	if !l.waits[cluster] {
		return nil
	}
	return []controller.Key{cluster}
}

// waiting is the work of NewWaiting's controller.
type waiting struct {
	Config
	lobby lobby
}

// NewWaiting makes the controller that places the tasks that wait for an
// instance of their capacity provider, as soon as there is room, and gives up
// those that waited for too long. Its keys are clusters.
func NewWaiting(cfg Config) *controller.Controller {
	c := &waiting{Config: cfg}
	return &controller.Controller{
		Name: "ecswaiting",
		Watches: []controller.Watch{
			controller.On(tables.ECSTasks, c.ofTask).Passing(func() []store.Query {
				return []store.Query{{Index: store.Index{Name: tables.ByLastStatus, Value: model.TaskProvisioning}}}
			}),
			controller.On(tables.ECSContainerInstances, func(r store.Row[model.ContainerInstance]) []controller.Key {
				return c.lobby.told(controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: r.V.ClusterName}, r.Modified)
			}).Passing(func() []store.Query { return nil }),
		},
		Reconcile: c.reconcile,
	}
}

// ofTask names the cluster of a task that waits, or that may have left room.
func (c *waiting) ofTask(r store.Row[model.Task]) []controller.Key {
	key := controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: r.V.ClusterName}
	switch {
	case r.V.AwaitsInstance():
		return []controller.Key{key}
	case r.V.Spec.LaunchType != model.LaunchTypeFargate && r.V.Status.LastStatus == model.TaskStopped:
		return c.lobby.told(key, r.Modified)
	}
	return nil
}

// waitingIn selects the cluster's tasks that are PROVISIONING.
func waitingIn(cluster controller.Key) store.Query {
	return store.Query{
		Account: cluster.Account, Region: cluster.Region, Prefix: cluster.ID + "/", Index: store.Index{Name: tables.ByLastStatus, Value: model.TaskProvisioning},
	}
}

// attempts bounds how often in a row the tasks are looked at anew at once
// because somebody else placed something meanwhile.
const attempts = 5

func (c *waiting) reconcile(ctx context.Context, key controller.Key) (result controller.Result, err error) {
	for range attempts {
		if result, err = c.place(ctx, key); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return result, err
}

func (c *waiting) place(ctx context.Context, key controller.Key) (controller.Result, error) {
	seen := c.lobby.enter(key)
	rows, err := tables.ECSTasks.List(ctx, c.Store, waitingIn(key))
	if err != nil {
		return controller.Result{}, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.Task]) bool {
		return !r.V.AwaitsInstance() || r.V.Desired.Status == model.TaskStopped
	})
	if len(rows) == 0 {
		c.lobby.leave(key)
		return controller.Result{}, nil
	}
	if err := c.Placer.Ready(ctx); err != nil {
		return controller.Result{}, err
	}
	if err := c.Placer.Reach(ctx, seen); err != nil {
		return controller.Result{}, err
	}
	slices.SortStableFunc(rows, func(a, b store.Row[model.Task]) int {
		return cmp.Or(a.V.Spec.CreatedAt.Compare(b.V.Spec.CreatedAt), cmp.Compare(a.Key.ID, b.Key.ID))
	})
	now := c.Clock.Now().Truncate(time.Millisecond)
	waiters := len(rows)
	var next time.Time
	for len(rows) > 0 {
		var alike, rest []store.Row[model.Task]
		kind := kindOf(rows[0].V)
		for _, r := range rows {
			if kindOf(r.V) == kind {
				alike = append(alike, r)
			} else {
				rest = append(rest, r)
			}
		}
		rows = rest
		left, why, err := c.placeAlike(ctx, key, alike)
		if err != nil {
			return controller.Result{}, err
		}
		for _, r := range left {
			end := r.V.Spec.CreatedAt.Add(Patience)
			if now.Before(end) {
				if next.IsZero() || end.Before(next) {
					next = end
				}
				continue
			}
			if err := c.giveUp(ctx, r, why, now); err != nil {
				return controller.Result{}, err
			}
		}
	}
	result := controller.Result{Rest: time.Duration(waiters) * restForWaiter}
	if !next.IsZero() {
		result.RequeueAfter = max(next.Sub(c.Clock.Now()), time.Millisecond)
	}
	return result, nil
}

// restForWaiter is how long a cluster rests after each look, for each of its
// tasks that waited.
const restForWaiter = 100 * time.Microsecond

// kindOf is the same for tasks that are placed alike.
func kindOf(t *model.Task) string {
	network := model.AwsvpcConfiguration{}
	if t.Spec.Network != nil {
		network = *t.Spec.Network
	}
	return fmt.Sprintf("%q %q %q %+v %q %q %q", t.Spec.CapacityProviderName, t.Spec.TaskDefinitionARN, t.Spec.Group, t.Reservation(), network.Subnets,
		t.Spec.PlacementConstraints, t.Spec.PlacementStrategy)
}

// placeAlike places as many of the tasks, which are of one kind, as there is
// room for. It returns the others, and why they find none.
func (c *waiting) placeAlike(ctx context.Context, key controller.Key, rows []store.Row[model.Task]) (left []store.Row[model.Task], why string, err error) {
	first := rows[0].V
	defID, _ := model.TaskDefinitionIDFromARN(first.Spec.TaskDefinitionARN)
	def, err := tables.ECSTaskDefinitions.Get(ctx, c.Store, key.Account, key.Region, defID)
	if err != nil {
		return nil, "", fmt.Errorf("task definition %s: %w", first.Spec.TaskDefinitionARN, err)
	}
	subnets, err := c.subnets(ctx, key, first)
	if err != nil {
		return nil, "", err
	}
	var fallback []model.ECSPlacementStrategy
	if first.Spec.ServiceName != "" {
		fallback = placement.ServiceDefault
	}
	r, err := fleet.Compile(first, def.V, fallback, subnets)
	if err != nil {
		return nil, "", err
	}
	for len(rows) > 0 {
		n, refused, err := c.placeSome(ctx, key, r, rows[:min(len(rows), placedAtOnce)], subnets)
		if err != nil {
			return nil, "", err
		}
		rows = rows[n:]
		if len(refused) > 0 || n == 0 {
			return rows, reason(refused), nil
		}
	}
	return nil, "", nil
}

// placeSome places the tasks in one transaction, as far as there is room.
func (c *waiting) placeSome(ctx context.Context, key controller.Key, r *placement.Request, rows []store.Row[model.Task], subnets fleet.Subnets) (int, []placement.Refusal, error) {
	tasks := make([]*model.Task, len(rows))
	for i, row := range rows {
		tasks[i] = row.Copy()
	}
	choice := c.Placer.Choose(key.Account, key.Region, key.ID, r, tasks)
	defer choice.Drop()
	if len(choice.Placed) == 0 {
		return 0, choice.Refused, nil
	}
	choice.Settle(subnets, id.UUID)
	tx := store.NewTxn()
	for i, p := range choice.Placed {
		p.Task.Status.Version++
		tables.ECSTasks.Replace(tx, rows[i], p.Task)
	}
	if _, err := choice.Commit(ctx, tx); err != nil {
		return 0, nil, fmt.Errorf("place tasks that wait: %w", err)
	}
	return len(choice.Placed), choice.Refused, nil
}

// subnets are those of a task's interface by zone.
func (c *waiting) subnets(ctx context.Context, key controller.Key, t *model.Task) (fleet.Subnets, error) {
	var out fleet.Subnets
	if t.Spec.Network == nil {
		return out, nil
	}
	for _, subnet := range t.Spec.Network.Subnets {
		row, err := tables.Subnets.Get(ctx, c.Store, key.Account, key.Region, subnet)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return out, err
		}
		if err == nil {
			out.Add(subnet, row.V.VPCID, row.V.Zone)
		}
	}
	return out, nil
}

// reason is why tasks find no instance, as their stoppedReason tells it.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
func reason(refused []placement.Refusal) string {
	why := "EMPTY CAPACITY PROVIDER"
	for _, r := range refused {
		switch r.Reason {
		case placement.Elsewhere:
		case placement.Inactive:
			why = "NO ACTIVE INSTANCES"
		default:
			return string(r.Reason) // the closest to taking the task
		}
	}
	return why
}

// giveUp ends a task that waited for too long.
func (c *waiting) giveUp(ctx context.Context, r store.Row[model.Task], why string, now time.Time) error {
	t := r.Copy()
	if !t.Stop(model.StopTaskFailedToStart, why, now) {
		return nil
	}
	tx := store.NewTxn()
	tables.ECSTasks.Replace(tx, r, t)
	_, err := tx.Commit(ctx, c.Store)
	return err
}
