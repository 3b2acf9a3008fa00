package elb

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func instanceIDs(in []elb.Instance) []string {
	var out []string
	for _, i := range in {
		if id := value(i.InstanceId); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// instance reads an EC2 instance.
func (s *Service) instance(ctx context.Context, id string) (store.Row[model.Instance], error) {
	c := api.CallFrom(ctx)
	row, err := tables.Instances.Get(ctx, s.Store, c.Account, c.Region, id)
	if errors.Is(err, store.ErrNotFound) {
		return row, elb.NewInvalidEndPointException("Could not find EC2 instance %s.", id)
	}
	return row, err
}

// RegisterInstancesWithLoadBalancer adds instances to a load balancer. One that
// leaves it is taken back.
func (s *Service) RegisterInstancesWithLoadBalancer(ctx context.Context, in *elb.RegisterInstancesWithLoadBalancerInput) (*elb.RegisterInstancesWithLoadBalancerOutput, error) {
	c := api.CallFrom(ctx)
	if len(in.Instances) == 0 {
		return nil, invalid("At least one instance must be specified")
	}
	var all []string
	_, err := s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		have, err := s.targets(ctx, b)
		if err != nil {
			return err
		}
		all = registered(have)
		tables.TargetGroups.Check(tx, b.group)
		for _, id := range instanceIDs(in.Instances) {
			i, err := s.instance(ctx, id)
			if err != nil {
				return err
			}
			switch {
			case balance.Gone(i.V):
				return elb.NewInvalidEndPointException("EC2 instance %s is terminated.", id)
			case i.V.Spec.VPCID != b.lb.VpcID:
				return elb.NewInvalidEndPointException("EC2 instance %s is not in the same VPC as ELB.", id)
			}
			tables.Instances.Check(tx, i)
			t := &model.Target{TargetGroupARN: b.group.V.ARN, ID: id, Port: model.ClassicTargetPort, RegisteredAt: c.Time}
			switch old, there := have[id]; {
			case !there:
				tables.Targets.Create(tx, c.Account, c.Region, model.TargetKey(b.group.V.ID, id, t.Port), t)
			case old.V.DeregisteringAt != nil:
				tables.Targets.Replace(tx, old, t)
			default:
				continue
			}
			all = append(all, id)
		}
		if len(all) > maxInstances {
			return misconfigured("A load balancer can have at most %d registered instances", maxInstances)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.RegisterInstancesWithLoadBalancerOutput{Instances: renderInstances(all)}, nil
}

// DeregisterInstancesFromLoadBalancer lets instances go, once what is under way
// with them is done if connection draining is enabled.
func (s *Service) DeregisterInstancesFromLoadBalancer(ctx context.Context, in *elb.DeregisterInstancesFromLoadBalancerInput) (*elb.DeregisterInstancesFromLoadBalancerOutput, error) {
	c := api.CallFrom(ctx)
	if len(in.Instances) == 0 {
		return nil, invalid("At least one instance must be specified")
	}
	var left []string
	_, err := s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		have, err := s.targets(ctx, b)
		if err != nil {
			return err
		}
		left = registered(have)
		for _, id := range instanceIDs(in.Instances) {
			row, there := have[id]
			if !there {
				if _, err := s.instance(ctx, id); err != nil {
					return err
				}
				continue
			}
			left = slices.DeleteFunc(left, func(l string) bool { return l == id })
			if row.V.DeregisteringAt == nil {
				v := row.Copy()
				v.DeregisteringAt = new(c.Time)
				tables.Targets.Replace(tx, row, v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.DeregisterInstancesFromLoadBalancerOutput{Instances: renderInstances(left)}, nil
}

// targets are a load balancer's registrations by the instances' ids.
func (s *Service) targets(ctx context.Context, b *balancer) (map[string]store.Row[model.Target], error) {
	rows, err := tables.Targets.List(ctx, s.Store, under(ctx, b.row.Key.ID))
	out := make(map[string]store.Row[model.Target], len(rows))
	for _, r := range rows {
		out[r.V.ID] = r
	}
	return out, err
}

// registered are those that do not leave.
func registered(all map[string]store.Row[model.Target]) []string {
	var out []string
	for id, r := range all {
		if r.V.DeregisteringAt == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func renderInstances(ids []string) []elb.Instance {
	out := []elb.Instance{}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		out = append(out, elb.Instance{InstanceId: &id})
	}
	return out
}
