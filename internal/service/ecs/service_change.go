package ecs

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// serviceChange is what CreateService and UpdateService both can set. What is
// nil stays as it is; an empty list empties.
type serviceChange struct {
	desiredCount            *int32
	deploymentConfiguration *ecs.DeploymentConfiguration
	loadBalancers           []ecs.LoadBalancer
	registries              []ecs.ServiceRegistry
	gracePeriod             *int32
	constraints             []ecs.PlacementConstraint
	strategy                []ecs.PlacementStrategy
	exec                    bool
	rebalancing             ecs.AvailabilityZoneRebalancing
}

// maxTasksPerService is ECS's quota.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
const maxTasksPerService = 5000

func (s *Service) applyChange(ctx context.Context, sc scope, spec *model.ServiceSpec, d *model.TaskDefinition, vpcID string, ch serviceChange) error {
	switch {
	case ch.exec:
		return unsupported("ECS Exec")
	case len(ch.registries) > 0:
		return unsupported("Service discovery")
	case ch.desiredCount != nil && *ch.desiredCount < 0:
		return ecs.NewInvalidParameterException("Desired count cannot be less than 0.")
	case ch.desiredCount != nil && *ch.desiredCount > maxTasksPerService:
		return ecs.NewInvalidParameterException("Desired count exceeds limit.")
	}
	daemon := spec.SchedulingStrategy == string(ecs.SchedulingStrategyDaemon)
	switch {
	case ch.desiredCount != nil && daemon:
		return ecs.NewInvalidParameterException("The daemon scheduling strategy does not support a desired count for services. Remove the desired count value and try again")
	case ch.desiredCount != nil:
		spec.DesiredCount = int(*ch.desiredCount)
	}
	if err := applyDeploymentConfiguration(&spec.DeploymentConfiguration, ch.deploymentConfiguration, daemon); err != nil {
		return err
	}
	if err := applyPlacement(spec, d, ch, daemon); err != nil {
		return err
	}
	if err := applyRebalancing(spec, d, ch.rebalancing); err != nil {
		return err
	}
	if ch.loadBalancers != nil {
		spec.LoadBalancers = convertedList[model.ServiceLoadBalancer](ch.loadBalancers)
		if spec.LaunchType == model.LaunchTypeExternal && len(ch.loadBalancers) > 0 {
			return ecs.NewInvalidParameterException("Load balancers are not supported with EXTERNAL launch type.")
		}
		for i := range ch.loadBalancers {
			if ch.loadBalancers[i].AdvancedConfiguration != nil {
				return unsupported("The parameter advancedConfiguration")
			}
			if spec.LoadBalancers[i].LoadBalancerName != "" {
				if err := s.findClassic(ctx, sc, &spec.LoadBalancers[i]); err != nil {
					return err
				}
			}
		}
	}
	if err := s.checkLoadBalancers(ctx, sc, spec.LoadBalancers, d, vpcID, ch.loadBalancers != nil); err != nil {
		return err
	}
	switch {
	case ch.gracePeriod == nil:
		if len(spec.LoadBalancers) > 0 && spec.HealthCheckGracePeriodSeconds == nil {
			spec.HealthCheckGracePeriodSeconds = new(0)
		}
	case *ch.gracePeriod < 0:
		return ecs.NewInvalidParameterException("Health check grace period cannot be negative.")
	case len(spec.LoadBalancers) == 0 && *ch.gracePeriod > 0 && !containerHealthChecks(d):
		return ecs.NewInvalidParameterException("Health check grace period is only valid for services configured to use load balancers")
	default:
		spec.HealthCheckGracePeriodSeconds = new(int(*ch.gracePeriod))
	}
	return nil
}

// applyPlacement checks and sets the constraints and the strategy. New tasks
// alone heed them.
func applyPlacement(spec *model.ServiceSpec, d *model.TaskDefinition, ch serviceChange, daemon bool) error {
	if daemon && len(ch.strategy) > 0 {
		return ecs.NewInvalidParameterException("The daemon scheduling strategy does not support placement strategies. Remove the placement strategies and try again.")
	}
	l := &launch{launchType: spec.LaunchType, strategy: spec.CapacityProviderStrategy}
	constraints, strategy, err := placementOf(l, d, ch.constraints, ch.strategy)
	if err != nil {
		return err
	}
	if ch.constraints != nil {
		spec.PlacementConstraints = constraints
	}
	if ch.strategy != nil {
		spec.PlacementStrategy = strategy
	}
	return nil
}

func containerHealthChecks(d *model.TaskDefinition) bool {
	return slices.ContainsFunc(d.ContainerDefinitions, func(c model.ContainerDefinition) bool { return c.HealthCheck != nil })
}

func applyDeploymentConfiguration(c *model.ServiceDeploymentConfiguration, in *ecs.DeploymentConfiguration, daemon bool) error {
	if in != nil {
		switch {
		case in.Strategy != "" && in.Strategy != ecs.DeploymentStrategyRolling:
			return unsupported("The deployment strategy " + string(in.Strategy))
		case in.Alarms != nil && val(in.Alarms.Enable):
			return unsupported("The deployment configuration alarms")
		case len(in.LifecycleHooks) > 0:
			return unsupported("The deployment configuration lifecycleHooks")
		case in.CanaryConfiguration != nil, in.LinearConfiguration != nil:
			return ecs.NewInvalidParameterException("Canary and linear configurations are not valid for the deployment strategy ROLLING.")
		case val(in.BakeTimeInMinutes) != 0:
			return unsupported("The deployment configuration bakeTimeInMinutes")
		}
		convert(c, in)
	}
	c.Strategy = string(ecs.DeploymentStrategyRolling)
	c.BakeTimeInMinutes = new(0)
	most, least := 200, 100
	if daemon {
		most, least = 100, 0
	}
	if c.MaximumPercent == nil {
		c.MaximumPercent = &most
	}
	if c.MinimumHealthyPercent == nil {
		c.MinimumHealthyPercent = &least
	}
	if c.DeploymentCircuitBreaker == nil {
		c.DeploymentCircuitBreaker = &model.DeploymentCircuitBreaker{}
	}
	switch most, least := *c.MaximumPercent, *c.MinimumHealthyPercent; {
	case daemon && most != 100:
		return ecs.NewInvalidParameterException("maximumPercent must be 100 for services with the daemon scheduling strategy.")
	case most < 100:
		return ecs.NewInvalidParameterException("maximumPercent must be greater than or equal to 100.")
	case least < 0 || least > 100:
		return ecs.NewInvalidParameterException("minimumHealthyPercent must be between 0 and 100.")
	case most == 100 && least == 100:
		return ecs.NewInvalidParameterException("Both minimumHealthyPercent and maximumPercent cannot be 100 as this will block deployments.")
	}
	return nil
}

// checkLoadBalancers checks the ports that target groups get, and the groups
// themselves where they are asked for anew: a service can be scaled down and
// deleted after its load balancer is gone.
func (s *Service) checkLoadBalancers(ctx context.Context, sc scope, lbs []model.ServiceLoadBalancer, d *model.TaskDefinition, vpcID string, anew bool) error {
	if len(lbs) > 5 {
		return ecs.NewInvalidParameterException("load balancers can have at most 5 items.")
	}
	for i := range lbs {
		lb := lbs[i]
		switch {
		case lb.LoadBalancerName != "" && lb.TargetGroupARN != "":
			return ecs.NewInvalidParameterException("loadBalancerName and targetGroupArn cannot both be specified. You must specify either a loadBalancerName or a targetGroupArn.")
		case lb.Group() == "":
			return ecs.NewInvalidParameterException("You must specify either a loadBalancerName or a targetGroupArn.")
		case lb.ContainerPort == nil:
			return ecs.NewInvalidParameterException("containerPort should not be null for load balancers.")
		case lb.ContainerName == "":
			return ecs.NewInvalidParameterException("containerName should not be null or empty for load balancers.")
		}
		if err := checkContainerPort(d, lb); err != nil {
			return err
		}
		if lb.LoadBalancerName != "" {
			if err := s.checkClassic(ctx, sc, &lb, d); anew && err != nil {
				return err
			}
			continue
		}
		if !anew {
			continue
		}
		if err := s.checkTargetGroup(ctx, sc, lb.TargetGroupARN, d, vpcID); err != nil {
			return err
		}
	}
	return nil
}

func checkContainerPort(d *model.TaskDefinition, lb model.ServiceLoadBalancer) error {
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		if c.Name != lb.ContainerName {
			continue
		}
		for _, p := range c.PortMappings {
			if p.ContainerPort != nil && *p.ContainerPort == *lb.ContainerPort {
				return nil
			}
		}
		return ecs.NewInvalidParameterException("The container %s did not have a container port %d defined.", lb.ContainerName, *lb.ContainerPort)
	}
	return ecs.NewInvalidParameterException("The container %s does not exist in the task definition.", lb.ContainerName)
}

func (s *Service) checkTargetGroup(ctx context.Context, sc scope, arn string, d *model.TaskDefinition, vpcID string) error {
	recordID := model.TargetGroupID(arn)
	if recordID == "" {
		return ecs.NewInvalidParameterException("'%s' is not a valid target group ARN", arn)
	}
	group, err := tables.TargetGroups.Get(ctx, s.store, sc.account, sc.region, recordID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (group.V.ARN != arn || group.V.Classic) {
		return ecs.NewInvalidParameterException("The target group with targetGroupArn %s does not exist.", arn)
	}
	if err != nil {
		return err
	}
	want := "instance"
	if d.NetworkMode == "awsvpc" {
		want = "ip"
	}
	mode := d.NetworkMode
	if mode == "" {
		mode = "bridge"
	}
	switch {
	case group.V.TargetType != want:
		return ecs.NewInvalidParameterException("The provided target group %s has target type %s, which is incompatible with the %s network mode specified in the task definition.", arn, group.V.TargetType, mode)
	case vpcID != "" && group.V.VpcID != vpcID:
		return ecs.NewInvalidParameterException("The provided target group %s is in the VPC %s, and the subnets are in the VPC %s.", arn, group.V.VpcID, vpcID)
	}
	used, err := s.groupIsUsed(ctx, sc, arn)
	if err != nil {
		return err
	}
	if !used {
		return ecs.NewInvalidParameterException("The target group with targetGroupArn %s does not have an associated load balancer.", arn)
	}
	return nil
}

// groupIsUsed tells whether a listener's rule forwards to a target group.
func (s *Service) groupIsUsed(ctx context.Context, sc scope, arn string) (bool, error) {
	rules, err := tables.Rules.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Limit: 1,
		Index: store.Index{Name: tables.RulesByTargetGroup, Value: arn},
	})
	return len(rules) > 0, err
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
