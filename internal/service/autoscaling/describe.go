package autoscaling

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// granularity is the one there is of group metrics.
const granularity = "1Minute"

// DescribeAutoScalingGroups describes groups, by name or by their tags.
func (s *Service) DescribeAutoScalingGroups(ctx context.Context, in *autoscaling.DescribeAutoScalingGroupsInput) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	c := api.CallFrom(ctx)
	match, err := groupFilters(in.Filters)
	if err != nil {
		return nil, err
	}
	rows, err := tables.AutoScalingGroups.List(ctx, s.Store, everything(c))
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r groupRow) bool {
		return len(in.AutoScalingGroupNames) > 0 && !slices.Contains(in.AutoScalingGroupNames, r.V.Name) || !match(r.V)
	})
	list := *in
	list.MaxRecords, list.NextToken = nil, nil
	rows, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeAutoScalingGroups", list}, rows, func(r groupRow) string { return r.Key.ID })
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeAutoScalingGroupsOutput{AutoScalingGroups: []autoscaling.AutoScalingGroup{}, NextToken: next}
	for _, r := range rows {
		g := groupOut(r.V)
		if in.IncludeInstances == nil || *in.IncludeInstances {
			members, err := s.members(ctx, c, r.V.Name)
			if err != nil {
				return nil, err
			}
			for _, m := range members {
				g.Instances = append(g.Instances, memberOut(c, m.V))
			}
		}
		out.AutoScalingGroups = append(out.AutoScalingGroups, g)
	}
	return out, nil
}

// groupFilters are those of DescribeAutoScalingGroups: values of one filter are
// alternatives, filters must all match.
func groupFilters(filters []autoscaling.Filter) (func(*model.AutoScalingGroup) bool, error) {
	for _, f := range filters {
		if name := value(f.Name); name != "tag-key" && name != "tag-value" && !strings.HasPrefix(name, "tag:") {
			return nil, invalid("Filter type %s is not correct. Allowed Filter types are: tag-key, tag-value, tag:<key>", name)
		}
	}
	return func(v *model.AutoScalingGroup) bool {
		for _, f := range filters {
			key, byKey := strings.CutPrefix(value(f.Name), "tag:")
			if !slices.ContainsFunc(v.Tags, func(t model.ASGTag) bool {
				switch {
				case byKey:
					return t.Key == key && slices.Contains(f.Values, t.Value)
				case key == "tag-key":
					return slices.Contains(f.Values, t.Key)
				}
				return slices.Contains(f.Values, t.Value)
			}) {
				return false
			}
		}
		return true
	}, nil
}

func groupOut(v *model.AutoScalingGroup) autoscaling.AutoScalingGroup {
	spec := &v.Spec
	out := autoscaling.AutoScalingGroup{
		AutoScalingGroupName: &v.Name, AutoScalingGroupARN: &v.ARN, CreatedTime: &v.CreatedAt,
		MinSize: number(spec.Min), MaxSize: number(spec.Max), DesiredCapacity: number(v.Desired), DesiredCapacityType: text(spec.DesiredCapacityType),
		DefaultCooldown: number(spec.CooldownSeconds), DefaultInstanceWarmup: optional(spec.InstanceWarmupSeconds),
		AvailabilityZones: spec.Zones, VPCZoneIdentifier: new(strings.Join(spec.SubnetIDs, ",")),
		TrafficSources:  []autoscaling.TrafficSourceIdentifier{},
		HealthCheckType: &spec.HealthCheckType, HealthCheckGracePeriod: number(spec.HealthCheckGraceSeconds),
		Instances: []autoscaling.Instance{}, SuspendedProcesses: suspendedOut(v.Suspended), EnabledMetrics: []autoscaling.EnabledMetric{},
		Tags: tagsOut(v.Name, v.Tags), TerminationPolicies: spec.TerminationPolicies, NewInstancesProtectedFromScaleIn: &spec.NewInstancesProtected,
		ServiceLinkedRoleARN: text(spec.ServiceLinkedRoleARN), LaunchTemplate: templateOut(spec.LaunchTemplate), MixedInstancesPolicy: mixedOut(spec.MixedInstances),
		AvailabilityZoneDistribution: &autoscaling.AvailabilityZoneDistribution{
			CapacityDistributionStrategy: autoscaling.CapacityDistributionStrategy(spec.ZoneDistribution),
		},
		AvailabilityZoneImpairmentPolicy: &autoscaling.AvailabilityZoneImpairmentPolicy{
			ImpairedZoneHealthCheckBehavior: autoscaling.ImpairedZoneHealthCheckBehaviorIgnoreUnhealthy, ZonalShiftEnabled: new(false),
		},
		CapacityReservationSpecification: &autoscaling.CapacityReservationSpecification{
			CapacityReservationPreference: autoscaling.CapacityReservationPreference(cmp.Or(spec.CapacityReservation, string(autoscaling.CapacityReservationPreferenceDefault))),
		},
		DeletionProtection: autoscaling.DeletionProtection(cmp.Or(spec.DeletionProtection, string(autoscaling.DeletionProtectionNone))),
	}
	out.TargetGroupARNs, out.LoadBalancerNames = split(spec.TargetGroups)
	for _, arn := range spec.TargetGroups {
		id, kind := trafficSource(arn)
		out.TrafficSources = append(out.TrafficSources, autoscaling.TrafficSourceIdentifier{Identifier: &id, Type: &kind})
	}
	for _, m := range v.EnabledMetrics {
		out.EnabledMetrics = append(out.EnabledMetrics, autoscaling.EnabledMetric{Metric: new(m), Granularity: new(granularity)})
	}
	if spec.CapacityRebalance {
		out.CapacityRebalance = new(true)
	}
	if spec.MaxInstanceLifetimeSecond > 0 {
		out.MaxInstanceLifetime = number(spec.MaxInstanceLifetimeSecond)
	}
	if spec.MinHealthyPercentage != nil {
		out.InstanceMaintenancePolicy = &autoscaling.InstanceMaintenancePolicy{
			MinHealthyPercentage: optional(spec.MinHealthyPercentage), MaxHealthyPercentage: optional(spec.MaxHealthyPercentage),
		}
	}
	if v.Deleting {
		out.Status = new("Delete in progress")
	}
	return out
}

func suspendedOut(suspended map[string]string) []autoscaling.SuspendedProcess {
	out := []autoscaling.SuspendedProcess{}
	for _, name := range slices.Sorted(maps.Keys(suspended)) {
		out = append(out, autoscaling.SuspendedProcess{ProcessName: new(name), SuspensionReason: new(suspended[name])})
	}
	return out
}

func templateOut(t *model.ASGLaunchTemplate) *autoscaling.LaunchTemplateSpecification {
	if t == nil || t.ID == "" {
		return nil
	}
	return &autoscaling.LaunchTemplateSpecification{LaunchTemplateId: new(t.ID), LaunchTemplateName: text(t.Name), Version: text(t.Version)}
}

func mixedOut(m *model.ASGMixedInstances) *autoscaling.MixedInstancesPolicy {
	if m == nil {
		return nil
	}
	overrides := []autoscaling.LaunchTemplateOverrides{}
	for _, o := range m.Overrides {
		overrides = append(overrides, autoscaling.LaunchTemplateOverrides{
			InstanceType: text(o.InstanceType), WeightedCapacity: text(o.WeightedCapacity), LaunchTemplateSpecification: templateOut(o.LaunchTemplate),
		})
	}
	d := m.Distribution
	out := &autoscaling.MixedInstancesPolicy{
		LaunchTemplate: &autoscaling.LaunchTemplate{LaunchTemplateSpecification: templateOut(&m.LaunchTemplate), Overrides: overrides},
		InstancesDistribution: &autoscaling.InstancesDistribution{
			OnDemandAllocationStrategy: &d.OnDemandAllocationStrategy, OnDemandBaseCapacity: number(d.OnDemandBase),
			OnDemandPercentageAboveBaseCapacity: number(d.OnDemandPercentAboveBase), SpotAllocationStrategy: &d.SpotAllocationStrategy,
			SpotMaxPrice: text(d.SpotMaxPrice),
		},
	}
	if d.SpotInstancePools > 0 {
		out.InstancesDistribution.SpotInstancePools = number(d.SpotInstancePools)
	}
	return out
}

// weight is what an instance of a weighted group counts, as it is told.
func weight(m *model.ASGInstance) *string {
	if m.Weight == 0 {
		return nil
	}
	return new(strconv.Itoa(m.Weight))
}

func memberOut(c *api.Call, m *model.ASGInstance) autoscaling.Instance {
	return autoscaling.Instance{
		InstanceId: &m.InstanceID, InstanceType: text(m.InstanceType), AvailabilityZone: &m.Zone, AvailabilityZoneId: text(zoneID(c.Region, m.Zone)),
		LifecycleState: autoscaling.LifecycleState(m.LifecycleState), HealthStatus: &m.HealthStatus, LaunchTemplate: templateOut(&m.Template),
		ProtectedFromScaleIn: &m.Protected, WeightedCapacity: weight(m),
	}
}

// DescribeAutoScalingInstances describes instances of all groups.
func (s *Service) DescribeAutoScalingInstances(ctx context.Context, in *autoscaling.DescribeAutoScalingInstancesInput) (*autoscaling.DescribeAutoScalingInstancesOutput, error) {
	c := api.CallFrom(ctx)
	const most = 50
	if len(in.InstanceIds) > most {
		return nil, invalid("The number of instance ids that may be passed in is limited to %d", most)
	}
	rows, err := tables.ASGInstances.List(ctx, s.Store, everything(c))
	if err != nil {
		return nil, err
	}
	if len(in.InstanceIds) > 0 {
		rows = slices.DeleteFunc(rows, func(r memberRow) bool { return !slices.Contains(in.InstanceIds, r.V.InstanceID) })
	}
	byID := func(r memberRow) string { return r.V.InstanceID }
	slices.SortFunc(rows, func(a, b memberRow) int { return cmp.Compare(byID(a), byID(b)) })
	rows, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, most, most, "DescribeAutoScalingInstances", in.InstanceIds}, rows, byID)
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeAutoScalingInstancesOutput{AutoScalingInstances: []autoscaling.AutoScalingInstanceDetails{}, NextToken: next}
	for _, r := range rows {
		m := memberOut(c, r.V)
		out.AutoScalingInstances = append(out.AutoScalingInstances, autoscaling.AutoScalingInstanceDetails{
			AutoScalingGroupName: &r.V.Group, InstanceId: m.InstanceId, InstanceType: m.InstanceType, AvailabilityZone: m.AvailabilityZone,
			AvailabilityZoneId: m.AvailabilityZoneId, LifecycleState: new(string(m.LifecycleState)), HealthStatus: new(upper(r.V.HealthStatus)),
			LaunchTemplate: m.LaunchTemplate, ProtectedFromScaleIn: m.ProtectedFromScaleIn, WeightedCapacity: m.WeightedCapacity,
		})
	}
	return out, nil
}

// upper is how DescribeAutoScalingInstances writes a health status.
func upper(status string) string { return strings.ToUpper(status) }
