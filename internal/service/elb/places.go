package elb

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// placeIn gives a load balancer its subnets, or the default ones of zones; tx
// depends on them.
func (s *Service) placeIn(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, subnets, zones []string) error {
	switch {
	case len(subnets) > 0 && len(zones) > 0:
		return invalid("Only one of SubnetIds or AvailabilityZones parameter may be specified")
	case len(subnets) == 0 && len(zones) == 0:
		return invalid("Either AvailabilityZones or SubnetIds must be specified")
	case len(zones) > 0:
		var err error
		if subnets, err = s.defaultSubnets(ctx, zones); err != nil {
			return err
		}
	}
	var out []model.LoadBalancerZone
	for _, id := range subnets {
		if !slices.ContainsFunc(out, func(z model.LoadBalancerZone) bool { return z.SubnetID == id }) {
			z, err := s.zone(ctx, tx, lb, id)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(out, func(o model.LoadBalancerZone) bool { return o.ZoneName == z.ZoneName }) {
				return misconfigured("ELB cannot be attached to multiple subnets in the same AZ.")
			}
			out = append(out, z)
		}
	}
	slices.SortFunc(out, func(a, b model.LoadBalancerZone) int { return strings.Compare(a.ZoneName, b.ZoneName) })
	lb.AvailabilityZones = out
	return s.checkGateway(ctx, lb)
}

// zone checks that a load balancer can stand in a subnet, which gives it its
// VPC when it has none.
func (s *Service) zone(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, id string) (model.LoadBalancerZone, error) {
	c := api.CallFrom(ctx)
	row, err := tables.Subnets.Get(ctx, s.Store, c.Account, c.Region, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
		return model.LoadBalancerZone{}, elb.NewSubnetNotFoundException("The requested configuration is not valid: subnet '%s' does not exist", id)
	}
	if err != nil {
		return model.LoadBalancerZone{}, err
	}
	if lb.VpcID != "" && row.V.VPCID != lb.VpcID {
		return model.LoadBalancerZone{}, elb.NewInvalidSubnetException("The subnet '%s' does not belong to the VPC '%s' of the load balancer", id, lb.VpcID)
	}
	lb.VpcID = row.V.VPCID
	if !slices.ContainsFunc(lb.AvailabilityZones, func(z model.LoadBalancerZone) bool { return z.SubnetID == id }) {
		crowded, err := s.place(ctx).Crowded(ctx, row.V)
		if err != nil {
			return model.LoadBalancerZone{}, err
		}
		if crowded {
			return model.LoadBalancerZone{}, elb.NewInvalidSubnetException("Not enough IP space available in %s. ELB requires at least %d free IP addresses in each subnet.", id, loadbalancers.MinFree)
		}
	}
	tables.Subnets.Check(tx, row)
	return model.LoadBalancerZone{ZoneName: row.V.Zone, SubnetID: id}, nil
}

// checkGateway refuses that a load balancer faces an internet that its VPC
// does not lead to.
func (s *Service) checkGateway(ctx context.Context, lb *model.LoadBalancer) error {
	if lb.Scheme != internetFacing {
		return nil
	}
	if there, err := s.place(ctx).HasGateway(ctx, lb.VpcID); err != nil || there {
		return err
	}
	return elb.NewInvalidSubnetException("VPC %s has no internet gateway", lb.VpcID)
}

// defaultSubnets are the default subnets of zones.
func (s *Service) defaultSubnets(ctx context.Context, zones []string) ([]string, error) {
	rows, err := tables.Subnets.List(ctx, s.Store, everything(ctx))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, z := range zones {
		i := slices.IndexFunc(rows, func(r store.Row[model.Subnet]) bool { return r.V.DefaultForAZ && r.V.Zone == z && !r.V.Deleting })
		if i < 0 {
			return nil, invalid("The Availability Zone '%s' is not valid, or has no default subnet", z)
		}
		out = append(out, rows[i].V.ID)
	}
	return out, nil
}

const maxSecurityGroups = 5

// secure gives a load balancer its security groups, which tx then depends on;
// without any it is the VPC's default group: see secureNew.
func (s *Service) secure(ctx context.Context, tx *store.Txn, lb *model.LoadBalancer, groups []string) error {
	if len(groups) > maxSecurityGroups {
		return misconfigured("A load balancer can have at most %d security groups", maxSecurityGroups)
	}
	var err error
	lb.SecurityGroups, err = s.place(ctx).Groups(ctx, tx, lb.VpcID, groups)
	if errors.Is(err, loadbalancers.ErrGroup) {
		return elb.NewInvalidSecurityGroupException("One or more of the specified security groups do not exist.")
	}
	return err
}

// ApplySecurityGroupsToLoadBalancer replaces a load balancer's security groups.
func (s *Service) ApplySecurityGroupsToLoadBalancer(ctx context.Context, in *elb.ApplySecurityGroupsToLoadBalancerInput) (*elb.ApplySecurityGroupsToLoadBalancerOutput, error) {
	if len(in.SecurityGroups) == 0 {
		return nil, misconfigured("At least one security group must be specified")
	}
	b, err := s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error { return s.secure(ctx, tx, b.lb, in.SecurityGroups) })
	if err != nil {
		return nil, err
	}
	return &elb.ApplySecurityGroupsToLoadBalancerOutput{SecurityGroups: b.lb.SecurityGroups}, nil
}

// attach adds subnets to those of a load balancer.
func (s *Service) attach(ctx context.Context, name *string, subnets func(lb *model.LoadBalancer) ([]string, error)) (*balancer, error) {
	return s.change(ctx, name, func(tx *store.Txn, b *balancer) error {
		more, err := subnets(b.lb)
		if err != nil {
			return err
		}
		return s.placeIn(ctx, tx, b.lb, append(subnetsOf(b.lb), more...), nil)
	})
}

// detach takes those of a load balancer's zones that which names.
func (s *Service) detach(ctx context.Context, name *string, which func(model.LoadBalancerZone) bool) (*balancer, error) {
	return s.change(ctx, name, func(_ *store.Txn, b *balancer) error {
		left := slices.DeleteFunc(slices.Clone(b.lb.AvailabilityZones), which)
		if len(left) == 0 {
			return misconfigured("Load balancer '%s' must have at least one subnet", b.lb.Name)
		}
		b.lb.AvailabilityZones = left
		return nil
	})
}

// AttachLoadBalancerToSubnets adds subnets.
func (s *Service) AttachLoadBalancerToSubnets(ctx context.Context, in *elb.AttachLoadBalancerToSubnetsInput) (*elb.AttachLoadBalancerToSubnetsOutput, error) {
	b, err := s.attach(ctx, in.LoadBalancerName, func(*model.LoadBalancer) ([]string, error) { return in.Subnets, nil })
	if err != nil {
		return nil, err
	}
	return &elb.AttachLoadBalancerToSubnetsOutput{Subnets: subnetsOf(b.lb)}, nil
}

// DetachLoadBalancerFromSubnets takes subnets away. The instances in their
// zones are out of service.
func (s *Service) DetachLoadBalancerFromSubnets(ctx context.Context, in *elb.DetachLoadBalancerFromSubnetsInput) (*elb.DetachLoadBalancerFromSubnetsOutput, error) {
	b, err := s.detach(ctx, in.LoadBalancerName, func(z model.LoadBalancerZone) bool { return slices.Contains(in.Subnets, z.SubnetID) })
	if err != nil {
		return nil, err
	}
	return &elb.DetachLoadBalancerFromSubnetsOutput{Subnets: subnetsOf(b.lb)}, nil
}

// EnableAvailabilityZonesForLoadBalancer adds the default subnets of zones to a
// load balancer in the default VPC.
func (s *Service) EnableAvailabilityZonesForLoadBalancer(ctx context.Context, in *elb.EnableAvailabilityZonesForLoadBalancerInput) (*elb.EnableAvailabilityZonesForLoadBalancerOutput, error) {
	b, err := s.attach(ctx, in.LoadBalancerName, func(lb *model.LoadBalancer) ([]string, error) {
		if err := s.checkDefault(ctx, lb); err != nil {
			return nil, err
		}
		return s.defaultSubnets(ctx, slices.DeleteFunc(slices.Clone(in.AvailabilityZones), func(z string) bool { return slices.Contains(zonesOf(lb), z) }))
	})
	if err != nil {
		return nil, err
	}
	return &elb.EnableAvailabilityZonesForLoadBalancerOutput{AvailabilityZones: zonesOf(b.lb)}, nil
}

// DisableAvailabilityZonesForLoadBalancer takes zones from a load balancer.
func (s *Service) DisableAvailabilityZonesForLoadBalancer(ctx context.Context, in *elb.DisableAvailabilityZonesForLoadBalancerInput) (*elb.DisableAvailabilityZonesForLoadBalancerOutput, error) {
	b, err := s.detach(ctx, in.LoadBalancerName, func(z model.LoadBalancerZone) bool { return slices.Contains(in.AvailabilityZones, z.ZoneName) })
	if err != nil {
		return nil, err
	}
	return &elb.DisableAvailabilityZonesForLoadBalancerOutput{AvailabilityZones: zonesOf(b.lb)}, nil
}

// checkDefault refuses to give zones to a load balancer outside of the default
// VPC, where subnets would have to be named.
func (s *Service) checkDefault(ctx context.Context, lb *model.LoadBalancer) error {
	c := api.CallFrom(ctx)
	vpc, err := tables.VPCs.Get(ctx, s.Store, c.Account, c.Region, lb.VpcID)
	if err == nil && !vpc.V.IsDefault {
		err = invalid("Availability Zones cannot be enabled for a load balancer in the VPC '%s': attach it to subnets", lb.VpcID)
	}
	return err
}

func subnetsOf(lb *model.LoadBalancer) []string {
	out := []string{}
	for _, z := range lb.AvailabilityZones {
		out = append(out, z.SubnetID)
	}
	return out
}

func zonesOf(lb *model.LoadBalancer) []string {
	out := []string{}
	for _, z := range lb.AvailabilityZones {
		out = append(out, z.ZoneName)
	}
	return out
}
