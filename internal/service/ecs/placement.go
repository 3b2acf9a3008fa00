package ecs

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
)

// Placer finds container instances for tasks: fleet.Book.
type Placer interface {
	Ready(ctx context.Context) error
	CatchUp(ctx context.Context, account, region, cluster string) error
	ChooseMany(account, region, cluster string, wants []*fleet.Want) *fleet.Choice
	ChooseOn(account, region, cluster, instance string, r *placement.Request, task *model.Task) *fleet.Choice
}

var _ Placer = (*fleet.Book)(nil)

// The most that a request may have.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
const (
	maxConstraints = 10
	maxStrategies  = 5
)

func errNoInstances(provider string) error {
	if provider != "" {
		return ecs.NewInvalidParameterException("No Container Instances were found in your capacity provider.")
	}
	return ecs.NewInvalidParameterException("No Container Instances were found in your cluster.")
}

// placementOf checks a request's constraints and strategy for tasks of d.
func placementOf(l *launch, d *model.TaskDefinition, constraints []ecs.PlacementConstraint, strategy []ecs.PlacementStrategy) ([]model.ECSPlacementConstraint, []model.ECSPlacementStrategy, error) {
	if l.fargate() {
		switch {
		case len(constraints) > 0:
			return nil, nil, ecs.NewInvalidParameterException("Placement constraints are not supported with FARGATE launch type.")
		case len(strategy) > 0:
			return nil, nil, ecs.NewInvalidParameterException("Placement strategies are not supported with FARGATE launch type.")
		}
		return nil, nil, nil
	}
	switch {
	case len(constraints) > maxConstraints:
		return nil, nil, ecs.NewInvalidParameterException("placementConstraints can have at most %d items.", maxConstraints)
	case len(strategy) > maxStrategies:
		return nil, nil, ecs.NewInvalidParameterException("placementStrategy can have at most %d items.", maxStrategies)
	}
	for _, c := range constraints {
		switch {
		case c.Type == ecs.PlacementConstraintTypeDistinctInstance && c.Expression != nil:
			return nil, nil, ecs.NewInvalidParameterException("distinctInstance expression should not be specified.")
		case c.Type == ecs.PlacementConstraintTypeMemberOf && val(c.Expression) == "":
			return nil, nil, ecs.NewInvalidParameterException("memberOf expression should be specified.")
		}
	}
	cs, ss := convertedList[model.ECSPlacementConstraint](constraints), convertedList[model.ECSPlacementStrategy](strategy)
	for i := range ss {
		// AWS takes the one name for the other.
		if ss[i].Type == string(ecs.PlacementStrategyTypeSpread) && strings.EqualFold(ss[i].Field, "host") {
			ss[i].Field = "instanceId"
		}
	}
	all := slices.Concat(d.PlacementConstraints, cs)
	if _, err := placement.Compile(placement.Demand{Constraints: all, Strategies: ss}); err != nil {
		return nil, nil, ecs.NewInvalidParameterException("%s.", capital(err.Error()))
	}
	return cs, ss, nil
}

// checkDefinitionConstraints checks a task definition's constraints, which can
// be expressions alone.
func checkDefinitionConstraints(d *model.TaskDefinition) error {
	if len(d.PlacementConstraints) > maxConstraints {
		return clientErrorf("placementConstraints can have at most %d items.", maxConstraints)
	}
	for _, c := range d.PlacementConstraints {
		if c.Type != string(ecs.PlacementConstraintTypeMemberOf) {
			return clientErrorf("constraint.type '%s' is not supported.", c.Type)
		}
	}
	if _, err := placement.Compile(placement.Demand{Constraints: d.PlacementConstraints}); err != nil {
		return clientErrorf("%s.", capital(err.Error()))
	}
	return nil
}

func capital(s string) string {
	r := []rune(s)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// places are the subnets of the launch by zone.
func (l *launch) places() fleet.Subnets {
	var s fleet.Subnets
	for _, subnet := range l.subnets {
		s.Add(subnet.ID, subnet.VPCID, subnet.Zone)
	}
	return s
}

// choose finds instances for the tasks, which are alike in each of the wants.
func (s *Service) choose(ctx context.Context, cluster store.Row[model.Cluster], wants []*fleet.Want) (*fleet.Choice, error) {
	if err := s.placer.Ready(ctx); err != nil {
		return nil, err
	}
	k := cluster.Key
	ch := s.placer.ChooseMany(k.Account, k.Region, k.ID, wants)
	if slices.ContainsFunc(wants, func(w *fleet.Want) bool { return w.Placed < len(w.Tasks) }) {
		// What has registered before the request must count.
		ch.Drop()
		if err := s.placer.CatchUp(ctx, k.Account, k.Region, k.ID); err != nil {
			return nil, err
		}
		ch = s.placer.ChooseMany(k.Account, k.Region, k.ID, wants)
	}
	return ch, nil
}

// settle gives the tasks that found an instance to it.
func settle(ch *fleet.Choice, l *launch) []*model.Task {
	ch.Settle(l.places(), id.UUID)
	tasks := make([]*model.Task, len(ch.Placed))
	for i, p := range ch.Placed {
		tasks[i] = p.Task
	}
	return tasks
}

// failures tells of each instance why it did not take another task, the
// closest first.
func failures(sc scope, c *model.Cluster, w *fleet.Want) []ecs.Failure {
	out := []ecs.Failure{}
	for _, r := range w.Closest() {
		out = append(out, ecs.Failure{
			Arn: new(model.ECSContainerInstanceARN(sc.region, sc.account, c.ClusterName, r.Instance)), Reason: new(string(r.Reason)),
		})
	}
	return out
}
