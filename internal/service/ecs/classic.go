package ecs

import (
	"context"
	"errors"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// findClassic finds the target group of the classic load balancer that a
// service's one names.
func (s *Service) findClassic(ctx context.Context, sc scope, lb *model.ServiceLoadBalancer) error {
	held, err := tables.ELBNames.Get(ctx, s.store, sc.account, sc.region, "classic/"+lb.LoadBalancerName)
	if errors.Is(err, store.ErrNotFound) {
		return ecs.NewInvalidParameterException("The load balancer %s does not exist.", lb.LoadBalancerName)
	}
	if err == nil {
		lb.ClassicGroupARN = model.ClassicGroupARN(sc.region, sc.account, lb.LoadBalancerName, held.V.ID)
	}
	return err
}

// checkClassic checks that tasks can be behind a classic load balancer, which
// reaches instances at ports of its own: the container's must lead to one.
func (s *Service) checkClassic(ctx context.Context, sc scope, lb *model.ServiceLoadBalancer, d *model.TaskDefinition) error {
	if d.NetworkMode == "awsvpc" {
		return ecs.NewInvalidParameterException("Classic Load Balancers are not supported with the awsvpc network mode.")
	}
	port := staticPort(d, lb)
	if port == 0 {
		return ecs.NewInvalidParameterException("The container %s must map its port %d to a static host port, for the load balancer %s.", lb.ContainerName, *lb.ContainerPort, lb.LoadBalancerName)
	}
	listeners, err := tables.Listeners.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region, Prefix: model.TargetGroupID(lb.ClassicGroupARN) + "/"})
	if err != nil {
		return err
	}
	for _, l := range listeners {
		if l.V.Classic.InstancePort == port {
			return nil
		}
	}
	return ecs.NewInvalidParameterException("The load balancer %s has no listener with the instance port %d, which the container %s is mapped to.", lb.LoadBalancerName, port, lb.ContainerName)
}

// staticPort is the port of the instance that leads to the container's, 0 when
// it is not always the same.
func staticPort(d *model.TaskDefinition, lb *model.ServiceLoadBalancer) int32 {
	if d.NetworkMode == "host" {
		return int32(*lb.ContainerPort)
	}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		for _, p := range c.PortMappings {
			if c.Name == lb.ContainerName && p.ContainerPort != nil && *p.ContainerPort == *lb.ContainerPort && p.HostPort != nil {
				return int32(*p.HostPort)
			}
		}
	}
	return 0
}
