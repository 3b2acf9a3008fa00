package elb

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// The check of a new load balancer's instances is by TCP, at the port of its
// first listener's instances.
const (
	newInterval  = 30
	newTimeout   = 5
	newHealthy   = 10
	newUnhealthy = 2
)

const internetFacing, internal = "internet-facing", "internal"

// CreateLoadBalancer writes a load balancer, which the controller provisions.
func (s *Service) CreateLoadBalancer(ctx context.Context, in *elb.CreateLoadBalancerInput) (*elb.CreateLoadBalancerOutput, error) {
	c := api.CallFrom(ctx)
	lb, err := wanted(ctx, in)
	if err != nil {
		return nil, err
	}
	made, err := newListeners(in.Listeners)
	if err != nil {
		return nil, err
	}
	name := lb.DNSName
	err = store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		b := &balancer{lb: lb}
		lb.AvailabilityZones, lb.SecurityGroups, lb.Classic, name = nil, nil, &model.ClassicLoadBalancer{}, lb.DNSName
		existing, err := s.find(ctx, lb.Name)
		if err != nil && api.Code(err) != "LoadBalancerNotFound" {
			return err
		}
		if existing != nil {
			lb.AvailabilityZones = existing.lb.AvailabilityZones // has room where it stands
		}
		if err := s.placeIn(ctx, tx, lb, in.Subnets, in.AvailabilityZones); err != nil {
			return err
		}
		if err := s.secureNew(ctx, tx, lb, in.SecurityGroups, made); err != nil {
			return err
		}
		if existing != nil {
			if !same(existing, lb, made) {
				return elb.NewDuplicateAccessPointNameException("Load Balancer named '%s' already exists and it is configured with different parameters.", lb.Name)
			}
			name = existing.lb.DNSName
			return nil
		}
		all, err := s.all(ctx)
		if err != nil {
			return err
		}
		if len(all) >= maxLoadBalancers {
			return elb.NewTooManyAccessPointsException("The maximum number of load balancers (%d) has been reached", maxLoadBalancers)
		}
		for _, l := range made {
			if err := s.addListener(ctx, tx, b, l); err != nil {
				return err
			}
		}
		g := newGroup(c, lb, made)
		tables.ELBNames.Create(tx, c.Account, c.Region, nameKey(lb.Name), &model.ELBName{ID: lb.ID})
		tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", lb.DNSName, &model.LoadBalancerDNSName{Account: c.Account, Region: c.Region, ID: lb.ID})
		tables.TargetGroups.Create(tx, c.Account, c.Region, g.ID, g)
		tables.LoadBalancers.Create(tx, c.Account, c.Region, lb.ID, lb)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.CreateLoadBalancerOutput{DNSName: &name}, nil
}

// wanted checks what needs no records.
func wanted(ctx context.Context, in *elb.CreateLoadBalancerInput) (*model.LoadBalancer, error) {
	c := api.CallFrom(ctx)
	name := value(in.LoadBalancerName)
	if err := validName(name); err != nil {
		return nil, err
	}
	if len(in.Listeners) == 0 {
		return nil, invalid("Listeners cannot be empty")
	}
	tags, err := tagsOf(ctx, model.ClassicLoadBalancerARN(c.Region, c.Account, name), in.Tags)
	if err != nil {
		return nil, err
	}
	lb := &model.LoadBalancer{
		ID: id.Hex(16), Name: name, ARN: model.ClassicLoadBalancerARN(c.Region, c.Account, name), Type: model.LoadBalancerClassic,
		Scheme: value(in.Scheme), IPAddressType: "ipv4", Tags: tags, CreatedAt: c.Time,
	}
	switch lb.Scheme {
	case "":
		lb.Scheme = internetFacing
	case internetFacing, internal:
	default:
		return nil, elb.NewInvalidSchemeException("Invalid scheme '%s': it must be internet-facing or internal", lb.Scheme)
	}
	lb.DNSName = loadbalancers.DNSName(name, lb.ID, c.Region, lb.Scheme)
	return lb, nil
}

// validName checks a load balancer's name.
func validName(name string) error {
	switch {
	case name == "":
		return invalid("LoadBalancer name cannot be empty")
	case len(name) > 32:
		return invalid("LoadBalancer name cannot be longer than 32 characters")
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return invalid("LoadBalancer name may only contain alphanumeric characters and hyphens")
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-"):
		return invalid("LoadBalancer name cannot begin or end with a hyphen")
	}
	return nil
}

// newGroup is a load balancer's set of instances, with none yet.
func newGroup(c *api.Call, lb *model.LoadBalancer, made []*model.Listener) *model.TargetGroup {
	hc, _ := checkOf("TCP", portText(made[0].Classic.InstancePort), "") // a listener's port is right
	hc.IntervalSeconds, hc.TimeoutSeconds, hc.HealthyThreshold, hc.UnhealthyThreshold = newInterval, newTimeout, newHealthy, newUnhealthy
	return &model.TargetGroup{
		ID: lb.ID, ARN: groupARN(c, lb), Name: lb.Name, Port: model.ClassicTargetPort, VpcID: lb.VpcID, TargetType: model.TargetTypeInstance,
		Classic: true, HealthCheck: hc, Attributes: map[string]string{drainDelay: "0"}, CreatedAt: c.Time,
	}
}

func groupARN(c *api.Call, lb *model.LoadBalancer) string {
	return model.ClassicGroupARN(c.Region, c.Account, lb.Name, lb.ID)
}

// same tells whether creating lb with those listeners would make what b is.
func same(b *balancer, lb *model.LoadBalancer, made []*model.Listener) bool {
	if b.lb.Scheme != lb.Scheme || !slices.Equal(b.lb.AvailabilityZones, lb.AvailabilityZones) ||
		!slices.Equal(b.lb.SecurityGroups, lb.SecurityGroups) || len(b.listeners) != len(made) {
		return false
	}
	for _, l := range made {
		if there, ok := b.listener(l.Port); !ok || !sameListener(there.V, l) {
			return false
		}
	}
	return true
}

// DeleteLoadBalancer removes a load balancer. The controller takes it down.
// Deleting what is not there is no error.
func (s *Service) DeleteLoadBalancer(ctx context.Context, in *elb.DeleteLoadBalancerInput) (*elb.DeleteLoadBalancerOutput, error) {
	c := api.CallFrom(ctx)
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		b, err := s.find(ctx, value(in.LoadBalancerName))
		if api.Code(err) == "LoadBalancerNotFound" {
			return nil
		}
		if err != nil {
			return err
		}
		for _, l := range b.listeners {
			removeListener(tx, l)
		}
		name, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, nameKey(b.lb.Name))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil {
			tables.ELBNames.Delete(tx, name)
		}
		tables.LoadBalancerDNSNames.Erase(tx, model.AmazonAccount, "", b.lb.DNSName)
		tables.TargetGroups.Delete(tx, b.group)
		b.lb.DeletedAt = new(c.Time)
		tables.LoadBalancers.Replace(tx, b.row, b.lb)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.DeleteLoadBalancerOutput{}, nil
}
