package autoscaling

import (
	"context"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
)

// settings are what both CreateAutoScalingGroup and UpdateAutoScalingGroup
// take; nil is what was not said.
type settings struct {
	min, max, desired                   *int32
	desiredType                         *string
	cooldown, grace, lifetime, warmup   *int32
	healthCheckType                     *string
	policies                            []string
	protected, rebalance                *bool
	template                            *autoscaling.LaunchTemplateSpecification
	mixed                               *autoscaling.MixedInstancesPolicy
	launchConfiguration                 *string
	where                               where
	placementGroup, linkedRole, context *string
	maintenance                         *autoscaling.InstanceMaintenancePolicy
	distribution                        *autoscaling.AvailabilityZoneDistribution
	impairment                          *autoscaling.AvailabilityZoneImpairmentPolicy
	reservation                         *autoscaling.CapacityReservationSpecification
	lifecycle                           *autoscaling.InstanceLifecyclePolicy
	deletionProtection                  autoscaling.DeletionProtection
}

func created(in *autoscaling.CreateAutoScalingGroupInput) settings {
	return settings{
		min: in.MinSize, max: in.MaxSize, desired: in.DesiredCapacity, desiredType: in.DesiredCapacityType,
		cooldown: in.DefaultCooldown, grace: in.HealthCheckGracePeriod, lifetime: in.MaxInstanceLifetime, warmup: in.DefaultInstanceWarmup,
		healthCheckType: in.HealthCheckType, policies: in.TerminationPolicies, protected: in.NewInstancesProtectedFromScaleIn, rebalance: in.CapacityRebalance,
		template: in.LaunchTemplate, mixed: in.MixedInstancesPolicy, launchConfiguration: in.LaunchConfigurationName,
		where:          where{in.VPCZoneIdentifier, in.AvailabilityZones, in.AvailabilityZoneIds},
		placementGroup: in.PlacementGroup, linkedRole: in.ServiceLinkedRoleARN, context: in.Context,
		maintenance: in.InstanceMaintenancePolicy, distribution: in.AvailabilityZoneDistribution, impairment: in.AvailabilityZoneImpairmentPolicy,
		reservation: in.CapacityReservationSpecification, lifecycle: in.InstanceLifecyclePolicy, deletionProtection: in.DeletionProtection,
	}
}

func updated(in *autoscaling.UpdateAutoScalingGroupInput) settings {
	return settings{
		min: in.MinSize, max: in.MaxSize, desired: in.DesiredCapacity, desiredType: in.DesiredCapacityType,
		cooldown: in.DefaultCooldown, grace: in.HealthCheckGracePeriod, lifetime: in.MaxInstanceLifetime, warmup: in.DefaultInstanceWarmup,
		healthCheckType: in.HealthCheckType, policies: in.TerminationPolicies, protected: in.NewInstancesProtectedFromScaleIn, rebalance: in.CapacityRebalance,
		template: in.LaunchTemplate, mixed: in.MixedInstancesPolicy, launchConfiguration: in.LaunchConfigurationName,
		where:          where{in.VPCZoneIdentifier, in.AvailabilityZones, in.AvailabilityZoneIds},
		placementGroup: in.PlacementGroup, linkedRole: in.ServiceLinkedRoleARN, context: in.Context,
		maintenance: in.InstanceMaintenancePolicy, distribution: in.AvailabilityZoneDistribution, impairment: in.AvailabilityZoneImpairmentPolicy,
		reservation: in.CapacityReservationSpecification, lifecycle: in.InstanceLifecyclePolicy, deletionProtection: in.DeletionProtection,
	}
}

// apply writes into spec what was said, but for the capacity and the role.
func (s *Service) apply(ctx context.Context, in *settings, spec *model.ASGSpec) error {
	for _, step := range []func(*model.ASGSpec) error{in.refuse, in.times, in.health, in.termination, in.maintain, in.asGiven} {
		if err := step(spec); err != nil {
			return err
		}
	}
	if in.where.given() {
		if err := s.place(ctx, spec, in.where); err != nil {
			return err
		}
	}
	if in.protected != nil {
		spec.NewInstancesProtected = *in.protected
	}
	if in.rebalance != nil {
		spec.CapacityRebalance = *in.rebalance
	}
	return s.applySource(ctx, in, spec)
}

// applySource settles what the group launches from.
func (s *Service) applySource(ctx context.Context, in *settings, spec *model.ASGSpec) error {
	given := 0
	for _, is := range []bool{in.template != nil, in.mixed != nil, in.launchConfiguration != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return invalid(eitherSource)
	case in.launchConfiguration != nil:
		return invalid("Launch configuration name not found - Launch configuration %s not found", *in.launchConfiguration)
	case in.template != nil:
		t, err := s.templateOf(ctx, in.template)
		if err != nil {
			return err
		}
		spec.LaunchTemplate, spec.MixedInstances = &t, nil
	case in.mixed != nil:
		m, err := s.mixed(ctx, in.mixed, spec.MixedInstances)
		if err != nil {
			return err
		}
		spec.LaunchTemplate, spec.MixedInstances = nil, m
	}
	if given > 0 || in.where.given() {
		return s.launchable(ctx, spec)
	}
	return nil
}

// refuse says no to what would not act.
func (in *settings) refuse(*model.ASGSpec) error {
	switch {
	case value(in.placementGroup) != "":
		return invalid("The placement group '%s' does not exist.", *in.placementGroup)
	case value(in.context) != "":
		return unsupported("Context is reserved")
	case in.desiredType != nil && *in.desiredType != "units":
		if *in.desiredType == "vcpu" || *in.desiredType == "memory-mib" {
			return unsupported("a desired capacity in " + *in.desiredType + ", which needs attribute-based instance type selection")
		}
		return invalid("Invalid DesiredCapacityType: %s. Valid values are units, vcpu, memory-mib.", *in.desiredType)
	case in.lifecycle != nil && in.lifecycle.RetentionTriggers != nil && in.lifecycle.RetentionTriggers.TerminateHookAbandon == autoscaling.RetentionActionRetain:
		return unsupported("instances retained after an abandoned hook")
	case in.impairment != nil && value(in.impairment.ZonalShiftEnabled):
		return unsupported("zonal shift")
	case in.impairment != nil && in.impairment.ImpairedZoneHealthCheckBehavior != "":
		return unsupported("an ImpairedZoneHealthCheckBehavior without zonal shift")
	}
	if r := in.reservation; r != nil {
		if r.CapacityReservationTarget != nil {
			return unsupported("capacity reservations")
		}
		switch r.CapacityReservationPreference {
		case "", autoscaling.CapacityReservationPreferenceDefault, autoscaling.CapacityReservationPreferenceNone:
		default:
			return unsupported("capacity reservations")
		}
	}
	return nil
}

// asGiven keeps what is told back.
func (in *settings) asGiven(spec *model.ASGSpec) error {
	if in.desiredType != nil {
		spec.DesiredCapacityType = *in.desiredType
	}
	if in.reservation != nil {
		spec.CapacityReservation = string(in.reservation.CapacityReservationPreference)
	}
	if in.distribution != nil && in.distribution.CapacityDistributionStrategy != "" {
		spec.ZoneDistribution = string(in.distribution.CapacityDistributionStrategy)
	}
	if in.deletionProtection != "" {
		spec.DeletionProtection = string(in.deletionProtection)
	}
	return nil
}

const (
	minLifetime = 86_400
	maxLifetime = 31_536_000
)

// times sets what is counted in seconds.
func (in *settings) times(spec *model.ASGSpec) error {
	for _, t := range []struct {
		name string
		v    *int32
		to   *int
	}{
		{"defaultCooldown", in.cooldown, &spec.CooldownSeconds},
		{"healthCheckGracePeriod", in.grace, &spec.HealthCheckGraceSeconds},
	} {
		if t.v == nil {
			continue
		}
		if *t.v < 0 {
			return constraint(*t.v, t.name, "have value greater than or equal to 0")
		}
		*t.to = int(*t.v)
	}
	if v := in.lifetime; v != nil {
		if *v != 0 && (*v < minLifetime || *v > maxLifetime) {
			return invalid("The maximum instance lifetime must be equal to 0 or between %d and %d seconds (inclusive).", minLifetime, maxLifetime)
		}
		spec.MaxInstanceLifetimeSecond = int(*v)
	}
	if v := in.warmup; v != nil {
		switch {
		case *v < -1:
			return constraint(*v, "defaultInstanceWarmup", "have value greater than or equal to -1")
		case *v < 0:
			spec.InstanceWarmupSeconds = nil
		default:
			spec.InstanceWarmupSeconds = new(int(*v))
		}
	}
	return nil
}

// health sets the types of health checks.
func (in *settings) health(spec *model.ASGSpec) error {
	if in.healthCheckType == nil {
		return nil
	}
	for kind := range strings.SplitSeq(*in.healthCheckType, ",") {
		switch strings.TrimSpace(kind) {
		case "EC2", "ELB":
		case "EBS", "VPC_LATTICE":
			return unsupported("health checks of type " + strings.TrimSpace(kind))
		default:
			return invalid("Invalid health check type: %s. Valid types are: EC2, ELB, EBS, VPC_LATTICE.", kind)
		}
	}
	spec.HealthCheckType = *in.healthCheckType
	return nil
}

// termination sets the policies that choose what goes first.
func (in *settings) termination(spec *model.ASGSpec) error {
	if in.policies == nil {
		return nil
	}
	seen := map[string]bool{}
	for _, p := range in.policies {
		switch {
		case strings.HasPrefix(p, "arn:"):
			return unsupported("termination policies of Lambda functions")
		case !slices.Contains(terminationPolicies, p):
			return invalid("Termination policy type %s is not valid", p)
		case seen[p]:
			return invalid("Termination policy type %s is given more than once", p)
		}
		seen[p] = true
	}
	if spec.TerminationPolicies = in.policies; len(in.policies) == 0 {
		spec.TerminationPolicies = []string{defaultPolicy}
	}
	return nil
}

// maintain sets the instance maintenance policy; -1 takes it away.
func (in *settings) maintain(spec *model.ASGSpec) error {
	p := in.maintenance
	if p == nil {
		return nil
	}
	if p.MinHealthyPercentage == nil || p.MaxHealthyPercentage == nil {
		return invalid("You must specify both MinHealthyPercentage and MaxHealthyPercentage in the InstanceMaintenancePolicy.")
	}
	least, most := int(*p.MinHealthyPercentage), int(*p.MaxHealthyPercentage)
	switch {
	case least == -1 && most == -1:
		spec.MinHealthyPercentage, spec.MaxHealthyPercentage = nil, nil
		return nil
	case least == -1 || most == -1:
		return invalid("Both MinHealthyPercentage and MaxHealthyPercentage must be -1 to remove the InstanceMaintenancePolicy.")
	}
	if err := checkHealthy(least, most); err != nil {
		return err
	}
	spec.MinHealthyPercentage, spec.MaxHealthyPercentage = &least, &most
	return nil
}

// checkHealthy checks a pair of healthy percentages.
func checkHealthy(least, most int) error {
	if most < 100 {
		return constraint(most, "maxHealthyPercentage", "have value greater than or equal to 100")
	}
	if most-least > 100 {
		return invalid("The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.")
	}
	return nil
}

// checkSizes checks the bounds of a group's capacity.
func checkSizes(least, most int) error {
	switch {
	case least < 0:
		return constraint(least, "minSize", "have value greater than or equal to 0")
	case most < 0:
		return constraint(most, "maxSize", "have value greater than or equal to 0")
	case most < least:
		return invalid("Max bound, %d, must be greater than or equal to min bound, %d", most, least)
	case most > maxSize:
		return constraint(most, "maxSize", "have value less than or equal to %d", maxSize)
	}
	return nil
}

// maxSize is how large a group may become: what an account has instances for.
const maxSize = 10_000

// tell sets the desired capacity with the sentence that tells why.
func tell(c *api.Call, v *model.AutoScalingGroup, desired int, what string) {
	if desired == v.Desired {
		return
	}
	v.DesiredReason = "At " + stamp(c.Time) + " " + what + " " + changing(v.Desired, desired) + "."
	v.Desired = desired
}
