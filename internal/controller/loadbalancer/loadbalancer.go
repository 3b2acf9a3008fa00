package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// refusedDelay is the wait before interfaces are tried again that EC2
// refused, such as for want of addresses.
const refusedDelay = 30 * time.Second

// loadBalancer brings one load balancer to what its records say.
func (c *LoadBalancers) loadBalancer(ctx context.Context, key controller.Key) (controller.Result, error) {
	unlock, err := c.locks.lock(ctx, key.ID)
	if err != nil {
		return controller.Result{}, err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	row, err := tables.LoadBalancers.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, c.remove(ctx, key)
	}
	if err != nil {
		return controller.Result{}, err
	}
	if row.V.DeletedAt != nil {
		return controller.Result{}, c.takeDown(ctx, key, row)
	}
	switch row.V.Type {
	case model.LoadBalancerApplication, model.LoadBalancerNetwork, model.LoadBalancerClassic:
	default:
		return controller.Result{}, fmt.Errorf("load balancer %s has type %s", key.ID, row.V.Type)
	}
	interfaces, refused, err := c.ensureInterfaces(ctx, row)
	if err != nil {
		return controller.Result{}, err
	}
	reason := ""
	if refused != nil {
		c.Log.Warn("load balancer gets no interface", "loadBalancer", key.ID, "error", refused)
		if reason = refused.Message; row.V.Status.State != model.LoadBalancerActive || len(interfaces) == 0 {
			return controller.Result{RequeueAfter: refusedDelay}, c.setStatus(ctx, row, func(s *model.LoadBalancerStatus) {
				s.State, s.Reason = model.LoadBalancerFailed, reason
			})
		}
		// It goes on without the zone that it was to have besides.
	}
	st, err := c.read(ctx, row)
	if err != nil {
		return controller.Result{}, err
	}
	if st.input.Interfaces, err = c.placed(ctx, row, interfaces); err != nil {
		return controller.Result{}, err
	}
	if err := errors.Join(c.open(ctx, &st.input), c.openTrustStores(ctx, &st.input)); err != nil {
		return controller.Result{}, err
	}
	c.mu.Lock()
	c.keys[key.ID] = key
	c.mu.Unlock()
	composed := balance.Compose(st.input)
	if err := c.Plane.Apply(ctx, composed); err != nil {
		return controller.Result{}, err
	}
	seen := c.Plane.Targets(key.ID)
	if err := c.hostPorts(ctx); err != nil {
		return controller.Result{}, err
	}
	if err := c.setStatus(ctx, row, func(s *model.LoadBalancerStatus) {
		*s = model.LoadBalancerStatus{State: model.LoadBalancerActive, Reason: reason, Interfaces: statusOf(interfaces, balance.IdleZones(composed, seen))}
	}); err != nil {
		return controller.Result{}, err
	}
	if err := c.dropInterfaces(ctx, row, func(v *model.NetworkInterface) bool {
		return !slices.ContainsFunc(row.V.AvailabilityZones, func(z model.LoadBalancerZone) bool { return z.SubnetID == v.SubnetID })
	}); err != nil {
		return controller.Result{}, err
	}
	again, err := c.record(ctx, st, seen)
	if refused != nil && (again == 0 || again > refusedDelay) {
		again = refusedDelay
	}
	return controller.Result{RequeueAfter: again}, err
}

// remove makes sure that nothing runs of a load balancer without a record.
func (c *LoadBalancers) remove(ctx context.Context, key controller.Key) error {
	c.mu.Lock()
	delete(c.keys, key.ID)
	c.mu.Unlock()
	if err := c.hostPorts(ctx); err != nil {
		return err
	}
	return c.Plane.Remove(ctx, key.ID)
}

// takeDown ends a deleted load balancer, frees its interfaces, and then lets
// its record go.
func (c *LoadBalancers) takeDown(ctx context.Context, key controller.Key, row store.Row[model.LoadBalancer]) error {
	if err := c.remove(ctx, key); err != nil {
		return err
	}
	if err := c.dropInterfaces(ctx, row, func(*model.NetworkInterface) bool { return true }); err != nil {
		return err
	}
	tx := store.NewTxn()
	tables.LoadBalancers.Delete(tx, row)
	_, err := tx.Commit(ctx, c.Store)
	return err
}

// setStatus writes the status if change alters it.
func (c *LoadBalancers) setStatus(ctx context.Context, row store.Row[model.LoadBalancer], change func(*model.LoadBalancerStatus)) error {
	_, err := tables.LoadBalancers.Update(ctx, c.Store, row.Key.Account, row.Key.Region, row.Key.ID, func(v *model.LoadBalancer) error {
		s := v.Status
		change(&s)
		if s.State == v.Status.State && s.Reason == v.Status.Reason && slices.Equal(s.Interfaces, v.Status.Interfaces) {
			return store.ErrUnchanged
		}
		v.Status = s
		return nil
	})
	return err
}

// state is the records that a load balancer is made from.
type state struct {
	input  balance.Input
	groups []groupState
}

// groupState is a target group in use with its targets.
type groupState struct {
	group   store.Row[model.TargetGroup]
	targets []store.Row[model.Target]
	health  map[string]store.Row[model.TargetHealth]
	// instances that are targets, by id.
	instances map[string]*model.Instance
	// balancers that are targets, by ARN.
	balancers map[string]*model.LoadBalancer
}

// read reads what belongs to a load balancer.
func (c *LoadBalancers) read(ctx context.Context, row store.Row[model.LoadBalancer]) (*state, error) {
	account, region := row.Key.Account, row.Key.Region
	q := store.Query{Account: account, Region: region, Prefix: row.Key.ID + "/"}
	listeners, err := tables.Listeners.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	rules, err := tables.Rules.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	st := &state{input: balance.Input{
		LoadBalancer: row.V, Rules: map[string][]*model.Rule{}, Groups: map[string]*model.TargetGroup{},
		Targets: map[string][]*model.Target{}, Health: map[string]*model.TargetHealth{}, Instances: map[string]*model.Instance{},
		Balancers: map[string]*model.LoadBalancer{},
	}}
	subnets, err := tables.Subnets.List(ctx, c.Store, store.Query{
		Account: account, Region: region, Index: store.Index{Name: tables.ByVPC, Value: row.V.VpcID},
	})
	if err != nil {
		return nil, err
	}
	for _, s := range subnets {
		st.input.Subnets = append(st.input.Subnets, s.V)
	}
	if st.input.Deliveries, err = c.deliveries(ctx, account, region, row.V.ARN); err != nil {
		return nil, err
	}
	for _, l := range listeners {
		st.input.Listeners = append(st.input.Listeners, l.V)
	}
	for _, r := range rules {
		st.input.Rules[r.V.ListenerARN] = append(st.input.Rules[r.V.ListenerARN], r.V)
		for _, arn := range balance.ForwardsTo(r.V.Actions) {
			if st.input.Groups[arn] != nil {
				continue
			}
			g, err := tables.TargetGroups.Get(ctx, c.Store, account, region, model.TargetGroupID(arn))
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			gs, err := c.readGroup(ctx, g)
			if err != nil {
				return nil, err
			}
			st.groups = append(st.groups, gs)
			st.input.Groups[arn] = g.V
			for _, t := range gs.targets {
				st.input.Targets[arn] = append(st.input.Targets[arn], t.V)
			}
			for id, h := range gs.health {
				st.input.Health[id] = h.V
			}
			maps.Copy(st.input.Instances, gs.instances)
			maps.Copy(st.input.Balancers, gs.balancers)
		}
	}
	return st, nil
}

func (c *LoadBalancers) readGroup(ctx context.Context, g store.Row[model.TargetGroup]) (groupState, error) {
	gs := groupState{group: g, health: map[string]store.Row[model.TargetHealth]{}}
	q := store.Query{Account: g.Key.Account, Region: g.Key.Region, Prefix: g.Key.ID + "/"}
	var err error
	if gs.targets, err = tables.Targets.List(ctx, c.Store, q); err != nil {
		return gs, err
	}
	health, err := tables.TargetsHealth.List(ctx, c.Store, q)
	if err != nil {
		return gs, err
	}
	for _, h := range health {
		gs.health[h.Key.ID] = h
	}
	if gs.balancers, err = c.balancersIn(ctx, gs.targets); err != nil {
		return gs, err
	}
	return c.letGo(ctx, gs)
}
