package ecsservice

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// placeOnProviders finds instances for new tasks, each of its capacity
// provider's. Where the provider scales its group, a task that finds none waits
// for one: controller/capacityprovider places it. It returns the tasks that are
// to be made, with the events about the others.
func (c *services) placeOnProviders(ctx context.Context, v *view, plan *deployment.Plan, def *model.TaskDefinition, d *model.Deployment, tasks []*model.Task, now time.Time) (made []*model.Task, _ *fleet.Choice, events []string, err error) {
	svc, key := v.service.V, v.service.Key
	say := func(cause, how string) {
		if e := plan.Unplaced(svc.ServiceName, cause, how, now); e != "" {
			events = append(events, e)
		}
	}
	subnets, err := c.places(ctx, key, d)
	if err != nil {
		return nil, nil, nil, err
	}
	var wants []*fleet.Want
	for _, t := range tasks {
		at := slices.IndexFunc(wants, func(w *fleet.Want) bool { return w.Tasks[0].Spec.CapacityProviderName == t.Spec.CapacityProviderName })
		if at >= 0 {
			wants[at].Tasks = append(wants[at].Tasks, t)
			continue
		}
		r, err := fleet.Compile(inZones(t, plan.StartIn), def, placement.ServiceDefault, subnets)
		if err != nil {
			return nil, nil, nil, err
		}
		wants = append(wants, &fleet.Want{Request: r, Tasks: []*model.Task{t}})
	}
	var choice *fleet.Choice
	if c.Placer != nil {
		choice = c.Placer.ChooseMany(key.Account, key.Region, svc.ClusterName, wants)
		choice.Settle(subnets, id.UUID)
	}
	room := -1 // for tasks that wait; not known yet
	for _, w := range wants {
		scales, err := c.scales(ctx, key, w.Tasks[0].Spec.CapacityProviderName)
		if err == nil && scales && room < 0 {
			room, err = c.waitingRoom(ctx, key, svc.ClusterName)
		}
		if err != nil {
			if choice != nil {
				choice.Drop()
			}
			return nil, nil, nil, err
		}
		left, take := len(w.Tasks)-w.Placed, 0
		// One that is to balance the zones does not wait for a better one.
		if scales && len(plan.StartIn) == 0 {
			take = min(left, room)
			room -= take
		}
		made = append(made, w.Tasks[:w.Placed+take]...)
		closest := w.Closest()
		switch none := "Reason: No Container Instances were found in your capacity provider."; {
		case left == take:
		case len(plan.StartIn) > 0:
			if e := plan.UnplacedIn(svc.ServiceName, plan.StartIn, now); e != "" {
				events = append(events, e)
			}
		case scales:
			const full = "Reason: Tasks provisioning capacity limit exceeded."
			say(full, full)
		case len(closest) == 0:
			say(none, none)
		default:
			say(string(closest[0].Reason), fmt.Sprintf("The closest matching (container-instance %s) %s.", closest[0].Instance, closest[0].Reason.Sentence()))
		}
	}
	if len(made) == len(tasks) {
		plan.Placed()
	}
	return made, choice, events, nil
}

// scales tells whether a capacity provider scales its group.
func (c *services) scales(ctx context.Context, at store.Key, provider string) (bool, error) {
	row, err := tables.ECSCapacityProviders.Get(ctx, c.Store, at.Account, at.Region, provider)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && row.V.Scaling.Enabled, err
}

// waitingRoom is how many more tasks of the cluster may wait for an instance.
func (c *services) waitingRoom(ctx context.Context, at store.Key, cluster string) (int, error) {
	rows, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
		Account: at.Account, Region: at.Region, Prefix: cluster + "/", Index: store.Index{Name: tables.ByLastStatus, Value: model.TaskProvisioning},
	})
	n := model.MaxProvisioning
	for _, r := range rows {
		if r.V.AwaitsInstance() {
			n--
		}
	}
	return max(n, 0), err
}
