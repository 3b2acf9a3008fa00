package autoscaling

import (
	"context"
	"slices"
	"strconv"

	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
)

const (
	maxOverrides = 40
	maxPools     = 20
	maxWeight    = 999

	lowestPrice = "lowest-price"
	prioritized = "prioritized"
	spotPools   = 2
)

// mixed is a mixed instances policy over the one that was there, if any: what
// the request leaves out stays.
func (s *Service) mixed(ctx context.Context, in *autoscaling.MixedInstancesPolicy, had *model.ASGMixedInstances) (*model.ASGMixedInstances, error) {
	out := model.ASGMixedInstances{Distribution: model.ASGInstanceAllocation{
		OnDemandAllocationStrategy: prioritized, OnDemandPercentAboveBase: 100, SpotAllocationStrategy: lowestPrice, SpotInstancePools: spotPools,
	}}
	if had != nil {
		out = *had
	}
	if in.LaunchTemplate == nil && had == nil {
		return nil, invalid("A launch template is required when you specify a mixed instances policy.")
	}
	if t := in.LaunchTemplate; t != nil {
		if err := s.mixedTemplate(ctx, t, had, &out); err != nil {
			return nil, err
		}
	}
	if in.InstancesDistribution != nil {
		if err := distribute(in.InstancesDistribution, &out.Distribution); err != nil {
			return nil, err
		}
	}
	return &out, nil
}

func (s *Service) mixedTemplate(ctx context.Context, in *autoscaling.LaunchTemplate, had *model.ASGMixedInstances, out *model.ASGMixedInstances) error {
	if in.LaunchTemplateSpecification == nil && had == nil {
		return invalid(eitherTemplate)
	}
	if in.LaunchTemplateSpecification != nil {
		t, err := s.templateOf(ctx, in.LaunchTemplateSpecification)
		if err != nil {
			return err
		}
		out.LaunchTemplate = t
	}
	if in.Overrides == nil {
		return nil
	}
	if len(in.Overrides) > maxOverrides {
		return invalid("You have exceeded the maximum number of launch template overrides, %d.", maxOverrides)
	}
	out.Overrides = nil
	weighted, seen := 0, map[string]bool{}
	for i := range in.Overrides {
		o, err := s.override(ctx, &in.Overrides[i])
		if err != nil {
			return err
		}
		if seen[o.InstanceType] {
			return invalid("Duplicate instance type override: %s. The launch template overrides must have different instance types.", o.InstanceType)
		}
		seen[o.InstanceType] = true
		if o.WeightedCapacity != "" {
			weighted++
		}
		out.Overrides = append(out.Overrides, o)
	}
	if weighted != 0 && weighted != len(out.Overrides) {
		return invalid("When you specify weighted capacity, you must specify it for all instance types in the launch template overrides.")
	}
	return nil
}

func (s *Service) override(ctx context.Context, in *autoscaling.LaunchTemplateOverrides) (model.ASGOverride, error) {
	out := model.ASGOverride{InstanceType: value(in.InstanceType), WeightedCapacity: value(in.WeightedCapacity)}
	switch {
	case in.InstanceRequirements != nil:
		return out, unsupported("attribute-based instance type selection (InstanceRequirements)")
	case in.ImageId != nil:
		return out, unsupported("an ImageId in a launch template override")
	case out.InstanceType == "" && in.LaunchTemplateSpecification == nil && out.WeightedCapacity == "":
		return out, invalid("An override must specify an instance type, instance requirements, a weighted capacity or a launch template specification.")
	}
	if out.InstanceType != "" {
		if _, ok := instancetype.Find(out.InstanceType); !ok {
			return out, invalid("You must use a valid fully-formed launch template. Invalid value '%s' for InstanceType.", out.InstanceType)
		}
	}
	if w := out.WeightedCapacity; w != "" {
		if n, err := strconv.Atoi(w); err != nil || n < 1 || n > maxWeight {
			return out, invalid("Weighted capacity must be a whole number between 1 and %d: '%s'.", maxWeight, w)
		}
	}
	if in.LaunchTemplateSpecification != nil {
		t, err := s.templateOf(ctx, in.LaunchTemplateSpecification)
		if err != nil {
			return out, err
		}
		out.LaunchTemplate = &t
	}
	return out, nil
}

var (
	onDemandStrategies = []string{prioritized, lowestPrice}
	spotStrategies     = []string{lowestPrice, "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized"}
)

// distribute writes over d what the request says.
func distribute(in *autoscaling.InstancesDistribution, d *model.ASGInstanceAllocation) error {
	if v := in.OnDemandAllocationStrategy; v != nil {
		if !slices.Contains(onDemandStrategies, *v) {
			return invalid("Invalid On-Demand allocation strategy: %s. Valid values are: %s, %s.", *v, prioritized, lowestPrice)
		}
		d.OnDemandAllocationStrategy = *v
	}
	if v := in.OnDemandBaseCapacity; v != nil {
		if *v < 0 {
			return constraint(*v, "onDemandBaseCapacity", "have value greater than or equal to 0")
		}
		d.OnDemandBase = int(*v)
	}
	if v := in.OnDemandPercentageAboveBaseCapacity; v != nil {
		if *v < 0 || *v > 100 {
			return invalid("OnDemandPercentageAboveBaseCapacity must be between 0 and 100: %d.", *v)
		}
		d.OnDemandPercentAboveBase = int(*v)
	}
	if v := in.SpotAllocationStrategy; v != nil {
		if !slices.Contains(spotStrategies, *v) {
			return invalid("Invalid Spot allocation strategy: %s.", *v)
		}
		if d.SpotAllocationStrategy = *v; *v != lowestPrice {
			d.SpotInstancePools = 0
		} else if d.SpotInstancePools == 0 {
			d.SpotInstancePools = spotPools
		}
	}
	if v := in.SpotInstancePools; v != nil && *v != 0 {
		switch {
		case d.SpotAllocationStrategy != lowestPrice:
			return invalid("SpotInstancePools option is only available with the lowest-price allocation strategy.")
		case *v < 1 || *v > maxPools:
			return invalid("SpotInstancePools must be between 1 and %d: %d.", maxPools, *v)
		}
		d.SpotInstancePools = int(*v)
	}
	if v := in.SpotMaxPrice; v != nil {
		if price, err := strconv.ParseFloat(*v, 64); *v != "" && (err != nil || price < 0.001) {
			return invalid("Invalid Spot maximum price: %s.", *v)
		}
		d.SpotMaxPrice = *v
	}
	return nil
}
