package elbv2

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Application load balancers as targets of network load balancers.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/application-load-balancer-target.html

// maxNetworkBalancers is how many network load balancers an application load
// balancer can be a target of.
const maxNetworkBalancers = 2

// checkOf is the protocol of a new group's health check: application load
// balancers are asked by HTTP.
func checkOf(kind elbv2.TargetTypeEnum, p elbv2.ProtocolEnum) elbv2.ProtocolEnum {
	if p == "" && kind == elbv2.TargetTypeEnumAlb {
		return elbv2.ProtocolEnumHttp
	}
	return p
}

// checkBalancers refuses targets that are no application load balancer of the
// group's VPC with a listener at the port, and more than one.
func (s *Service) checkBalancers(ctx context.Context, tx *store.Txn, g *model.TargetGroup, targets []*model.Target) error {
	c := api.CallFrom(ctx)
	registered, err := tables.Targets.List(ctx, s.Store, children(ctx, g.ID))
	if err != nil {
		return err
	}
	one := targets[0]
	for _, r := range registered {
		if r.V.DeregisteringAt == nil {
			targets = append(targets, r.V)
		}
	}
	for _, t := range targets {
		if t.ID != one.ID || t.Port != one.Port {
			return elbv2.NewTooManyTargetsException("You can register only one Application Load Balancer in a target group with target type 'alb'")
		}
	}
	if one.AvailabilityZone != "" {
		return invalid("You cannot specify an Availability Zone for targets of target groups with target type 'alb'")
	}
	id := model.LoadBalancerID(one.ID)
	if id == "" {
		return invalid("'%s' is not a valid load balancer ARN", one.ID)
	}
	lb, err := tables.LoadBalancers.Get(ctx, s.Store, c.Account, c.Region, id)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (lb.V.ARN != one.ID || lb.V.DeletedAt != nil || lb.V.Type != model.LoadBalancerApplication):
		return elbv2.NewInvalidTargetException("The following Application Load Balancers do not exist: '%s'", one.ID)
	case err != nil:
		return err
	case lb.V.VpcID != g.VpcID:
		return elbv2.NewInvalidTargetException("The following targets are not in the target group VPC '%s': '%s'", g.VpcID, one.ID)
	}
	// Whoever deletes it, or its listener, at the same time fails.
	v := lb.Copy()
	v.Generation++
	tables.LoadBalancers.Replace(tx, lb, v)
	listeners, err := tables.Listeners.List(ctx, s.Store, children(ctx, id))
	if err != nil {
		return err
	}
	i := slices.IndexFunc(listeners, func(l store.Row[model.Listener]) bool { return l.V.Port == one.Port })
	if i < 0 {
		return invalid("If the target type is ALB, the target must have at least one listener that matches the target group port or any specified port overrides")
	}
	l := listeners[i].Copy()
	l.Generation++
	tables.Listeners.Replace(tx, listeners[i], l)
	return s.checkAssociations(ctx, one.ID, g.ARN, "")
}

// registrations are the groups in which a load balancer is a target.
func (s *Service) registrations(ctx context.Context, arn string) ([]store.Row[model.Target], error) {
	q := everything(ctx)
	q.Index = store.Index{Name: tables.ByTargetBalancer, Value: model.LoadBalancerID(arn)}
	return tables.Targets.List(ctx, s.Store, q)
}

// checkAssociations refuses that a load balancer becomes the target of too many
// others: by the group, which may not know of it yet, and by lb, "" for none,
// which may not use the group yet.
func (s *Service) checkAssociations(ctx context.Context, target, group, lb string) error {
	rows, err := s.registrations(ctx, target)
	if err != nil {
		return err
	}
	groups := []string{group}
	for _, r := range rows {
		if r.V.DeregisteringAt == nil {
			groups = append(groups, r.V.TargetGroupARN)
		}
	}
	users := map[string]bool{}
	if lb != "" {
		users[lb] = true
	}
	for _, arn := range groups {
		lbs, err := s.loadBalancersOf(ctx, arn)
		if err != nil {
			return err
		}
		for _, u := range lbs {
			users[u] = true
		}
	}
	if len(users) > maxNetworkBalancers {
		return elbv2.NewTooManyRegistrationsForTargetIdException("The Application Load Balancer '%s' cannot be registered with more than %d Network Load Balancers", target, maxNetworkBalancers)
	}
	return nil
}

// checkUsedBalancers is checkAssociations for the targets of groups that a
// network load balancer begins to forward to.
func (s *Service) checkUsedBalancers(ctx context.Context, lb *model.LoadBalancer, acts []model.RuleAction) error {
	for _, arn := range balance.ForwardsTo(acts) {
		g, err := s.targetGroup(ctx, arn)
		if err != nil {
			return err
		}
		if g.V.TargetType != model.TargetTypeALB {
			continue
		}
		rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.Key.ID))
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := s.checkAssociations(ctx, r.V.ID, arn, lb.ARN); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFree refuses that a load balancer ceases to listen at a port at which it
// is a target.
func (s *Service) checkFree(ctx context.Context, arn string, port int32) error {
	rows, err := s.registrations(ctx, arn)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.V.Port == port && r.V.DeregisteringAt == nil {
			return elbv2.NewResourceInUseException("Listener port '%d' is in use by registered target '%s' and cannot be removed.", port, arn)
		}
	}
	return nil
}

// checkNoTarget refuses that a load balancer goes which is a target.
func (s *Service) checkNoTarget(ctx context.Context, arn string) error {
	rows, err := s.registrations(ctx, arn)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r store.Row[model.Target]) bool { return r.V.DeregisteringAt == nil }) {
		return elbv2.NewResourceInUseException("Load balancer '%s' cannot be deleted because it is currently associated with another service", arn)
	}
	return nil
}
