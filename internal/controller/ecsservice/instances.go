package ecsservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// Placer finds container instances for tasks: fleet.Book.
type Placer interface {
	Ready(ctx context.Context) error
	Reach(ctx context.Context, revision uint64) error
	Choose(account, region, cluster string, r *placement.Request, tasks []*model.Task) *fleet.Choice
	ChooseMany(account, region, cluster string, wants []*fleet.Want) *fleet.Choice
	ChooseEach(account, region, cluster string, instances []string, r *placement.Request, tasks []*model.Task) *fleet.Choice
	Eligible(account, region, cluster string, r *placement.Request) []string
	Zones(account, region, cluster string, r *placement.Request) []string
	Leaving(account, region, cluster string) map[string]bool
}

var _ Placer = (*fleet.Book)(nil)

// roomEvery is how often a service whose tasks find no instance looks again
// without being told of any change.
const roomEvery = time.Minute

// onInstances tells whether a deployment's tasks run on container instances.
func onInstances(d *model.Deployment) bool {
	return !model.StrategyOnFargate(d.CapacityProviderStrategy) && d.LaunchType != model.LaunchTypeFargate
}

func daemon(s *model.ServiceSpec) bool { return s.SchedulingStrategy == "DAEMON" }

// audience are the services that every change of their cluster's instances
// matters to: those whose tasks find no room, and DAEMON services. A service
// joins before it looks at the book, and catches the book up with what the
// watches have told by then, so no change passes between the two.
type audience struct {
	mu   sync.Mutex
	of   map[controller.Key]map[controller.Key]bool // by cluster
	seen uint64                                     // newest revision that a watch told
}

func (a *audience) told(revision uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = max(a.seen, revision)
}

// join adds a service and returns the newest revision told.
func (a *audience) join(cluster, service controller.Key) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == nil {
		a.of = make(map[controller.Key]map[controller.Key]bool)
	}
	if a.of[cluster] == nil {
		a.of[cluster] = make(map[controller.Key]bool)
	}
	a.of[cluster][service] = true
	return a.seen
}

func (a *audience) leave(cluster, service controller.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.of[cluster], service); len(a.of[cluster]) == 0 {
		delete(a.of, cluster)
	}
}

func (a *audience) in(cluster controller.Key) []controller.Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	var keys []controller.Key
	for k := range a.of[cluster] {
		keys = append(keys, k)
	}
	return keys
}

func clusterKey(k store.Key, name string) controller.Key {
	return controller.Key{Account: k.Account, Region: k.Region, ID: name}
}

// freed names the services that wait for the room that a task may have left.
func (c *services) freed(r store.Row[model.Task]) []controller.Key {
	if r.V.Spec.LaunchType == model.LaunchTypeFargate || r.V.Status.LastStatus != model.TaskStopped {
		return nil
	}
	c.room.told(r.Modified)
	return c.room.in(clusterKey(r.Key, r.V.ClusterName))
}

// ofInstance names the services that wait for room, and those that have tasks
// on the instance.
func (c *services) ofInstance(ctx context.Context, r store.Record) ([]controller.Key, error) {
	i, err := tables.ECSContainerInstances.Row(r)
	if err != nil {
		return nil, err
	}
	c.room.told(r.Modified)
	keys := c.room.in(clusterKey(r.Key, i.V.ClusterName))
	tasks, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByNode, Value: i.V.ID},
	})
	if err != nil {
		return nil, err
	}
	for _, t := range tasks {
		for _, k := range keyOf(t.Key, t.V.TaskServiceID()) {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys, nil
}

// readInstances reads what the container instances have to do with the
// service.
func (c *services) readInstances(ctx context.Context, key controller.Key, v *view) error {
	svc := v.service.V
	cluster := clusterKey(v.service.Key, svc.ClusterName)
	d := svc.Primary()
	if d == nil || !onInstances(d) || c.Placer == nil {
		c.room.leave(cluster, key)
		return nil
	}
	if err := c.Placer.Ready(ctx); err != nil {
		return err
	}
	if err := c.Placer.Reach(ctx, c.room.join(cluster, key)); err != nil {
		return err
	}
	v.leaving = c.Placer.Leaving(key.Account, key.Region, svc.ClusterName)
	if !daemon(&svc.Spec) {
		return nil
	}
	def, err := c.definition(ctx, v.service.Key, d)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	subnets, err := c.places(ctx, v.service.Key, d)
	if err != nil {
		return err
	}
	// Where it is to be depends on no more of its tasks.
	t := &model.Task{Spec: model.TaskSpec{
		Group: "service:" + svc.ServiceName, NetworkMode: def.V.NetworkMode, LaunchType: d.LaunchType,
		PlacementConstraints: slices.Concat(def.V.PlacementConstraints, svc.Spec.PlacementConstraints),
	}}
	r, err := fleet.Compile(t, def.V, nil, subnets)
	if err != nil {
		return err
	}
	v.nodes = c.Placer.Eligible(key.Account, key.Region, svc.ClusterName, r)
	return c.lastToLeave(ctx, v)
}

// lastToLeave adds the draining instances on which a DAEMON service still has
// its task to its nodes, for as long as a task of another kind of service is
// there: daemons are the last to leave.
func (c *services) lastToLeave(ctx context.Context, v *view) error {
	k := v.service.Key
	for i := range v.tasks {
		t := v.tasks[i].V
		if !v.leaving[t.Status.Node] || t.Desired.Status == model.TaskStopped || t.Status.LastStatus == model.TaskStopped {
			continue
		}
		others, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
			Account: k.Account, Region: k.Region, Index: store.Index{Name: tables.ByNode, Value: t.Status.Node},
		})
		if err != nil {
			return err
		}
		needed := false
		for _, o := range others {
			of := o.V.TaskServiceID()
			if of == "" || of == k.ID || needed {
				continue
			}
			svc, err := tables.ECSServices.Get(ctx, c.Store, k.Account, k.Region, of)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			needed = err == nil && !daemon(&svc.V.Spec)
		}
		if needed && !slices.Contains(v.nodes, t.Status.Node) {
			v.nodes = append(v.nodes, t.Status.Node)
		}
		// It is not to be replaced elsewhere, in any case.
		delete(v.leaving, t.Status.Node)
	}
	slices.Sort(v.nodes)
	return nil
}

// places are the subnets of a deployment's tasks by zone.
func (c *services) places(ctx context.Context, key store.Key, d *model.Deployment) (fleet.Subnets, error) {
	var out fleet.Subnets
	vpc := awsvpc(d)
	if vpc == nil {
		return out, nil
	}
	for _, subnet := range vpc.Subnets {
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

// placeOnInstances finds instances for new tasks, which are all alike, and
// returns those that found one, with the events about the others.
func (c *services) placeOnInstances(ctx context.Context, v *view, plan *deployment.Plan, def *model.TaskDefinition, d *model.Deployment, tasks []*model.Task, now time.Time) (placed []*model.Task, _ *fleet.Choice, events []string, err error) {
	svc, key := v.service.V, v.service.Key
	say := func(cause, how string) {
		if e := plan.Unplaced(svc.ServiceName, cause, how, now); e != "" {
			events = append(events, e)
		}
	}
	const none = "Reason: No Container Instances were found in your cluster."
	if c.Placer == nil {
		say(none, none)
		return nil, nil, events, nil
	}
	subnets, err := c.places(ctx, key, d)
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := fleet.Compile(inZones(tasks[0], plan.StartIn), def, placement.ServiceDefault, subnets)
	if err != nil {
		return nil, nil, nil, err
	}
	var choice *fleet.Choice
	if daemon(&svc.Spec) {
		choice = c.Placer.ChooseEach(key.Account, key.Region, svc.ClusterName, plan.StartOn[:len(tasks)], r, tasks)
	} else {
		choice = c.Placer.Choose(key.Account, key.Region, svc.ClusterName, r, tasks)
	}
	choice.Settle(subnets, id.UUID)
	for _, p := range choice.Placed {
		placed = append(placed, p.Task)
	}
	switch closest := choice.Closest(); {
	case len(placed) == len(tasks):
		plan.Placed()
	case len(plan.StartIn) > 0:
		if e := plan.UnplacedIn(svc.ServiceName, plan.StartIn, now); e != "" {
			events = append(events, e)
		}
	case len(closest) == 0:
		say(none, none)
	default:
		say(string(closest[0].Reason), fmt.Sprintf("The closest matching (container-instance %s) %s.", closest[0].Instance, closest[0].Reason.Sentence()))
	}
	return placed, choice, events, nil
}
