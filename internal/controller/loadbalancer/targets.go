package loadbalancer

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// targetGroup brings the targets' health records of a group up to date: by
// way of the load balancer that uses it, or by itself when there is none.
func (c *LoadBalancers) targetGroup(ctx context.Context, key controller.Key) (controller.Result, error) {
	g, err := tables.TargetGroups.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, c.sweep(ctx, key)
	}
	if err != nil {
		return controller.Result{}, err
	}
	users, err := tables.Rules.List(ctx, c.Store, store.Query{
		Account: key.Account, Region: key.Region,
		Index: store.Index{Name: tables.RulesByTargetGroup, Value: g.V.ARN},
	})
	if err != nil {
		return controller.Result{}, err
	}
	if len(users) > 0 {
		lb, _, _ := strings.Cut(users[0].Key.ID, "/")
		return c.loadBalancer(ctx, controller.Key{Account: key.Account, Region: key.Region, ID: lb})
	}
	gs, err := c.readGroup(ctx, g)
	if err != nil {
		return controller.Result{}, err
	}
	again, err := c.recordGroup(ctx, gs, nil, nil)
	return controller.Result{RequeueAfter: again}, err
}

// sweep removes what is left of a group that is gone.
func (c *LoadBalancers) sweep(ctx context.Context, key controller.Key) error {
	q := store.Query{Account: key.Account, Region: key.Region, Prefix: key.ID + "/"}
	tx := store.NewTxn()
	targets, err := tables.Targets.List(ctx, c.Store, q)
	if err != nil {
		return err
	}
	for _, t := range targets {
		tables.Targets.Delete(tx, t)
	}
	health, err := tables.TargetsHealth.List(ctx, c.Store, q)
	if err != nil {
		return err
	}
	for _, h := range health {
		tables.TargetsHealth.Delete(tx, h)
	}
	_, err = tx.Commit(ctx, c.Store)
	return err
}

// record writes what the data plane, to which st has just been applied, found
// of the targets. It returns when to look again.
func (c *LoadBalancers) record(ctx context.Context, st *state, seen map[string]map[string]balance.Seen) (time.Duration, error) {
	var again time.Duration
	var errs []error
	for _, gs := range st.groups {
		a, err := c.recordGroup(ctx, gs, &st.input, seen[gs.group.V.ID])
		if err != nil {
			errs = append(errs, err)
		}
		if a > 0 && (again == 0 || a < again) {
			again = a
		}
	}
	return again, errors.Join(errs...)
}

// recordGroup is record for one group. In is what the load balancer was made from
// that uses it, nil when there is none.
func (c *LoadBalancers) recordGroup(ctx context.Context, gs groupState, in *balance.Input, seen map[string]balance.Seen) (time.Duration, error) {
	var again time.Duration
	var errs []error
	delay, inUse := balance.DeregistrationDelay(gs.group.V), in != nil
	for _, t := range gs.targets {
		var before *model.TargetHealth
		old, had := gs.health[t.Key.ID]
		if had {
			before = old.V
			delete(gs.health, t.Key.ID)
		}
		var known *balance.Seen
		if inUse {
			ips, unusable := in.Addresses(t.V)
			var at []balance.Seen
			for _, ip := range ips {
				if s, ok := seen[net.JoinHostPort(ip, strconv.Itoa(int(t.V.Port)))]; ok {
					at = append(at, s)
				}
			}
			if known = balance.Merge(at); unusable != nil {
				if known == nil {
					known = &balance.Seen{}
				}
				known.Health = *unusable
			}
		}
		v := balance.Judge(t.V, before, delay, inUse, known, inUse, c.Clock.Now())
		if v.Again > 0 && (again == 0 || v.Again < again) {
			again = v.Again
		}
		tx := store.NewTxn()
		switch {
		case v.Remove:
			tables.Targets.Delete(tx, t)
			if had {
				tables.TargetsHealth.Delete(tx, old)
			}
		case had && *before == v.Health:
			continue
		case had:
			tables.Targets.Check(tx, t)
			tables.TargetsHealth.Replace(tx, old, &v.Health)
		default:
			tables.Targets.Check(tx, t)
			tables.TargetsHealth.Create(tx, t.Key.Account, t.Key.Region, t.Key.ID, &v.Health)
		}
		if _, err := tx.Commit(ctx, c.Store); err != nil {
			errs = append(errs, err)
		}
	}
	// What is left belongs to targets that are gone.
	for _, h := range gs.health {
		tx := store.NewTxn()
		tables.TargetsHealth.Delete(tx, h)
		if _, err := tx.Commit(ctx, c.Store); err != nil {
			errs = append(errs, err)
		}
	}
	return again, errors.Join(errs...)
}
