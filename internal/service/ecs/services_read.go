package ecs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func (s *Service) events(ctx context.Context, sc scope, recordID string) ([]model.ServiceEvent, error) {
	row, err := tables.ECSServiceEvents.Get(ctx, s.store, sc.account, sc.region, recordID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return row.V.Events, nil
}

// showService is a service as the API has it.
func showService(svc *model.Service, events []model.ServiceEvent, withTags bool) ecs.Service {
	var out ecs.Service
	convert(&out, &svc.Spec)
	convert(&out, &svc.Counts)
	out.ServiceArn, out.ServiceName, out.ClusterArn, out.Status = &svc.ServiceARN, &svc.ServiceName, &svc.ClusterARN, &svc.Status
	out.CreatedAt = moment(svc.CreatedAt)
	out.CreatedBy = &svc.CreatedBy
	out.DeploymentController = &ecs.DeploymentController{Type: ecs.DeploymentControllerType(svc.Spec.DeploymentController)}
	out.LoadBalancers = orEmpty(out.LoadBalancers)
	out.ServiceRegistries = orEmpty(out.ServiceRegistries)
	out.PlacementConstraints = orEmpty(out.PlacementConstraints)
	out.PlacementStrategy = orEmpty(out.PlacementStrategy)
	out.Events = orEmpty(convertedList[ecs.ServiceEvent](events))
	showNetwork(out.NetworkConfiguration)
	out.Deployments = []ecs.Deployment{}
	if svc.Status != model.ECSInactive {
		for i := range svc.Deployments {
			d := converted[ecs.Deployment](&svc.Deployments[i])
			showNetwork(d.NetworkConfiguration)
			out.Deployments = append(out.Deployments, *d)
		}
	}
	showCurrent(&out, svc)
	if withTags {
		out.Tags = tagList[ecs.Tag](svc.Tags)
	}
	return out
}

func showNetwork(n *ecs.NetworkConfiguration) {
	if n != nil && n.AwsvpcConfiguration != nil {
		n.AwsvpcConfiguration.SecurityGroups = orEmpty(n.AwsvpcConfiguration.SecurityGroups)
	}
}

// DescribeServices shows services, deleted ones too.
func (s *Service) DescribeServices(ctx context.Context, in *ecs.DescribeServicesInput) (*ecs.DescribeServicesOutput, error) {
	sc := scopeOf(ctx)
	switch n := len(in.Services); {
	case n == 0:
		return nil, ecs.NewInvalidParameterException("Services cannot be empty.")
	case n > 10:
		return nil, ecs.NewInvalidParameterException("Services cannot have more than 10 elements.")
	}
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	name := cluster.V.ClusterName
	out := &ecs.DescribeServicesOutput{Services: []ecs.Service{}, Failures: []ecs.Failure{}}
	for _, ref := range in.Services {
		row, err := s.service(ctx, sc, name, ref)
		if _, no := errors.AsType[*ecs.ServiceNotFoundException](err); no {
			arn := ref
			if sc.inScope(ref) {
				recordID, _ := child("service", name, ref)
				arn = model.ECSServiceARN(sc.region, sc.account, name, strings.TrimPrefix(recordID, name+"/"))
			}
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		events, err := s.events(ctx, sc, row.Key.ID)
		if err != nil {
			return nil, err
		}
		out.Services = append(out.Services, showService(row.V, events, slices.Contains(in.Include, ecs.ServiceFieldTags)))
	}
	return out, nil
}

// ListServices lists the ACTIVE services of a cluster.
func (s *Service) ListServices(ctx context.Context, in *ecs.ListServicesInput) (*ecs.ListServicesOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	name := cluster.V.ClusterName
	filters := []string{"ListServices", name, string(in.LaunchType), string(in.SchedulingStrategy), string(in.ResourceManagementType)}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	if in.MaxResults == nil {
		limit = 10
	}
	q := store.Query{Account: sc.account, Region: sc.region, Prefix: name + "/", After: after}
	rows, last, more, err := collect(ctx, s, tables.ECSServices, q, limit, func(v *model.Service) bool {
		return v.Status == model.ECSActive &&
			(in.LaunchType == "" || v.Spec.LaunchType == string(in.LaunchType)) &&
			(in.SchedulingStrategy == "" || v.Spec.SchedulingStrategy == string(in.SchedulingStrategy)) &&
			in.ResourceManagementType != ecs.ResourceManagementTypeEcs
	})
	if err != nil {
		return nil, err
	}
	out := &ecs.ListServicesOutput{ServiceArns: []string{}, NextToken: sc.token(more, last, filters...)}
	for _, r := range rows {
		out.ServiceArns = append(out.ServiceArns, r.V.ServiceARN)
	}
	return out, nil
}
