package ecs

import (
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

// applyRebalancing sets whether a service's tasks are kept balanced over the
// availability zones. What is not said stays as it is; a new service's are
// wherever they can be.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing.html
func applyRebalancing(spec *model.ServiceSpec, d *model.TaskDefinition, asked ecs.AvailabilityZoneRebalancing) error {
	const on, off = string(ecs.AvailabilityZoneRebalancingEnabled), string(ecs.AvailabilityZoneRebalancingDisabled)
	can := canRebalance(spec, d)
	switch {
	case asked == "" && spec.AvailabilityZoneRebalancing == "" && can == nil:
		spec.AvailabilityZoneRebalancing = on
	case asked == "" && spec.AvailabilityZoneRebalancing == "":
		spec.AvailabilityZoneRebalancing = off
	case asked != "":
		spec.AvailabilityZoneRebalancing = string(asked)
	}
	if spec.AvailabilityZoneRebalancing == on {
		return can
	}
	return nil
}

// canRebalance tells why a service's tasks cannot be kept balanced.
func canRebalance(spec *model.ServiceSpec, d *model.TaskDefinition) error {
	const zone = "attribute:" + model.AttributeZone
	switch {
	case spec.SchedulingStrategy == string(ecs.SchedulingStrategyDaemon):
		return ecs.NewInvalidParameterException("Availability Zone rebalancing is not supported with the daemon scheduling strategy.")
	case spec.LaunchType == model.LaunchTypeExternal:
		return ecs.NewInvalidParameterException("Availability Zone rebalancing is not supported with the EXTERNAL launch type.")
	case *spec.DeploymentConfiguration.MaximumPercent <= 100:
		return ecs.NewInvalidParameterException("The deployment configuration maximumPercent must be greater than 100 to use Availability Zone rebalancing.")
	}
	if s := spec.PlacementStrategy; len(s) > 0 && (s[0].Type != string(ecs.PlacementStrategyTypeSpread) || s[0].Field != zone) {
		return ecs.NewInvalidParameterException("Availability Zone Rebalancing only supports availability zone spread as task placement strategy.")
	}
	for _, cs := range [][]model.ECSPlacementConstraint{spec.PlacementConstraints, d.PlacementConstraints} {
		for _, c := range cs {
			if strings.Contains(c.Expression, zone) {
				return ecs.NewInvalidParameterException("Availability Zone Rebalancing does not support the task placement constraint attribute:ecs.availability-zone.")
			}
		}
	}
	return nil
}
