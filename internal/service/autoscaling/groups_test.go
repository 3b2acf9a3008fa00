package autoscaling_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func TestAGroupHasAWSsDefaults(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	got := w.describe("web")
	if !strings.HasPrefix(*got.AutoScalingGroupARN, "arn:aws:autoscaling:eu-west-1:000000000000:autoScalingGroup:") || !strings.HasSuffix(*got.AutoScalingGroupARN, ":autoScalingGroupName/web") {
		t.Errorf("ARN %s", *got.AutoScalingGroupARN)
	}
	got.AutoScalingGroupARN = nil
	want := &api2.AutoScalingGroup{
		AutoScalingGroupName: new("web"), CreatedTime: &start, MinSize: new(int32(1)), MaxSize: new(int32(3)), DesiredCapacity: new(int32(1)),
		DefaultCooldown: new(int32(300)), HealthCheckType: new("EC2"), HealthCheckGracePeriod: new(int32(0)),
		AvailabilityZones: []string{"eu-west-1a", "eu-west-1b"}, VPCZoneIdentifier: new("subnet-a,subnet-b"),
		LoadBalancerNames: []string{}, TargetGroupARNs: []string{}, TrafficSources: []api2.TrafficSourceIdentifier{}, Instances: []api2.Instance{},
		SuspendedProcesses: []api2.SuspendedProcess{}, EnabledMetrics: []api2.EnabledMetric{}, Tags: []api2.TagDescription{},
		TerminationPolicies: []string{"Default"}, NewInstancesProtectedFromScaleIn: new(false),
		ServiceLinkedRoleARN:             new("arn:aws:iam::000000000000:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"),
		LaunchTemplate:                   &api2.LaunchTemplateSpecification{LaunchTemplateId: new("lt-1"), LaunchTemplateName: new("web"), Version: new("$Default")},
		AvailabilityZoneDistribution:     &api2.AvailabilityZoneDistribution{CapacityDistributionStrategy: "balanced-best-effort"},
		AvailabilityZoneImpairmentPolicy: &api2.AvailabilityZoneImpairmentPolicy{ImpairedZoneHealthCheckBehavior: "IgnoreUnhealthy", ZonalShiftEnabled: new(false)},
		CapacityReservationSpecification: &api2.CapacityReservationSpecification{CapacityReservationPreference: "default"},
		DeletionProtection:               "none",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, want := w.record("web").DesiredReason, "At 2026-01-02T03:04:05Z a user request created an AutoScalingGroup changing the desired capacity from 0 to 1."; got != want {
		t.Errorf("reason %q", got)
	}
	role, err := tables.Roles.Get(w.ctx, w.store, account, "", "awsserviceroleforautoscaling")
	if err != nil || role.V.LinkedService != "autoscaling.amazonaws.com" {
		t.Errorf("role %+v, %v", role.V, err)
	}
	w.group("again", nil) // with the role that is there
}

func TestWrongGroups(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	w.template("lt-2", "nothing", model.LaunchData{InstanceType: "t3.micro"})
	w.template("lt-3", "spot", model.LaunchData{ImageID: ami, InstanceMarketOptions: &model.LaunchMarketOptions{MarketType: "spot"}})
	w.template("lt-4", "both", model.LaunchData{ImageID: ami, InstanceType: "t3.micro", SecurityGroupIDs: []string{"sg-1"}, NetworkInterfaces: []model.LaunchInterface{{DeviceIndex: new(int32(0))}}})
	named := func(name string) *api2.LaunchTemplateSpecification {
		return &api2.LaunchTemplateSpecification{LaunchTemplateName: &name}
	}
	mixed := func(change func(m *api2.MixedInstancesPolicy)) func(in *api2.CreateAutoScalingGroupInput) {
		return func(in *api2.CreateAutoScalingGroupInput) {
			in.MixedInstancesPolicy = &api2.MixedInstancesPolicy{
				LaunchTemplate:        &api2.LaunchTemplate{LaunchTemplateSpecification: in.LaunchTemplate, Overrides: []api2.LaunchTemplateOverrides{{InstanceType: new("t3.micro")}}},
				InstancesDistribution: &api2.InstancesDistribution{},
			}
			in.LaunchTemplate = nil
			change(in.MixedInstancesPolicy)
		}
	}
	override := func(o ...api2.LaunchTemplateOverrides) func(in *api2.CreateAutoScalingGroupInput) {
		return mixed(func(m *api2.MixedInstancesPolicy) { m.LaunchTemplate.Overrides = o })
	}
	distribution := func(d api2.InstancesDistribution) func(in *api2.CreateAutoScalingGroupInput) {
		return mixed(func(m *api2.MixedInstancesPolicy) { m.InstancesDistribution = &d })
	}
	for _, tt := range []struct {
		name          string
		change        func(in *api2.CreateAutoScalingGroupInput)
		code, message string
	}{
		{"a name that is taken", func(in *api2.CreateAutoScalingGroupInput) { in.AutoScalingGroupName = new("web") }, "AlreadyExists", "A group with the name web already exists"},
		{"a name with a colon", func(in *api2.CreateAutoScalingGroupInput) { in.AutoScalingGroupName = new("a:b") }, "ValidationError", "colons"},
		{"max below min", func(in *api2.CreateAutoScalingGroupInput) { in.MaxSize = new(int32(0)) }, "ValidationError", "Max bound, 0, must be greater than or equal to min bound, 1"},
		{"min below zero", func(in *api2.CreateAutoScalingGroupInput) { in.MinSize = new(int32(-1)) }, "ValidationError", "Value '-1' at 'minSize'"},
		{"desired beyond max", func(in *api2.CreateAutoScalingGroupInput) { in.DesiredCapacity = new(int32(4)) }, "ValidationError", "Desired capacity:4 must be between the specified min size:1 and max size:3"},
		{"nothing to launch from", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate = nil }, "ValidationError", "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter."},
		{"a launch configuration", func(in *api2.CreateAutoScalingGroupInput) {
			in.LaunchTemplate, in.LaunchConfigurationName = nil, new("lc")
		}, "ValidationError", "Launch configuration name not found"},
		{"both", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchConfigurationName = new("lc") }, "ValidationError", "Valid requests must contain either"},
		{"an instance as the model", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate, in.InstanceId = nil, new("i-1") }, "UnsupportedOperation", "Launch Configuration"},
		{
			"a template that is not there", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate = named("none") }, "ValidationError",
			"You must use a valid fully-formed launch template. The specified launch template, with template name none, does not exist.",
		},
		{"a template without a name", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate = &api2.LaunchTemplateSpecification{} }, "ValidationError", "Valid requests must contain either launchTemplateId or LaunchTemplateName"},
		{"a version that is not there", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate.Version = new("7") }, "ValidationError", "You must use a valid fully-formed launch template. Could not find the specified version 7"},
		{
			"a template without an image", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate = named("nothing") }, "ValidationError",
			"You must use a valid fully-formed launch template. The request must contain the parameter ImageId",
		},
		{
			"groups twice", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate = named("both") }, "InvalidQueryParameter",
			"Invalid launch template: When a network interface is provided, the security groups must be a part of it.",
		},
		{"nowhere", func(in *api2.CreateAutoScalingGroupInput) { in.VPCZoneIdentifier = nil }, "ValidationError", "At least one Availability Zone or VPC Subnet is required."},
		{"a subnet that is not there", func(in *api2.CreateAutoScalingGroupInput) { in.VPCZoneIdentifier = new("subnet-a, subnet-x") }, "ValidationError", "The subnet ID 'subnet-x' does not exist"},
		{"subnets of two VPCs", func(in *api2.CreateAutoScalingGroupInput) { in.VPCZoneIdentifier = new("subnet-b,subnet-z") }, "ValidationError", "same VPC"},
		{"a zone that is not there", func(in *api2.CreateAutoScalingGroupInput) {
			in.VPCZoneIdentifier, in.AvailabilityZones = nil, []string{"eu-west-1x"}
		}, "ValidationError", "Invalid availability zones: [eu-west-1x]"},
		{"a zone id that is not there", func(in *api2.CreateAutoScalingGroupInput) { in.AvailabilityZoneIds = []string{"euw1-az9"} }, "ValidationError", "euw1-az9"},
		{
			"zones of other subnets", func(in *api2.CreateAutoScalingGroupInput) { in.AvailabilityZones = []string{"eu-west-1a"} }, "ValidationError",
			"The availability zones of the specified subnets and the AutoScalingGroup do not match",
		},
		{"a zone without a default subnet", func(in *api2.CreateAutoScalingGroupInput) {
			in.VPCZoneIdentifier, in.AvailabilityZones = nil, []string{"eu-west-1c"}
		}, "ValidationError", "No default subnet for availability zone: 'eu-west-1c'"},
		{"a health check", func(in *api2.CreateAutoScalingGroupInput) { in.HealthCheckType = new("PING") }, "ValidationError", "Invalid health check type: PING"},
		{"volumes' health", func(in *api2.CreateAutoScalingGroupInput) { in.HealthCheckType = new("EC2,EBS") }, "ValidationError", "not supported: health checks of type EBS"},
		{"a grace period", func(in *api2.CreateAutoScalingGroupInput) { in.HealthCheckGracePeriod = new(int32(-1)) }, "ValidationError", "healthCheckGracePeriod"},
		{"a policy", func(in *api2.CreateAutoScalingGroupInput) { in.TerminationPolicies = []string{"Youngest"} }, "ValidationError", "Youngest"},
		{"a policy twice", func(in *api2.CreateAutoScalingGroupInput) { in.TerminationPolicies = []string{"Default", "Default"} }, "ValidationError", "more than once"},
		{"a function as policy", func(in *api2.CreateAutoScalingGroupInput) {
			in.TerminationPolicies = []string{"arn:aws:lambda:eu-west-1:000000000000:function:f"}
		}, "ValidationError", "Lambda"},
		{"a lifetime", func(in *api2.CreateAutoScalingGroupInput) { in.MaxInstanceLifetime = new(int32(60)) }, "ValidationError", "maximum instance lifetime"},
		{"a warmup", func(in *api2.CreateAutoScalingGroupInput) { in.DefaultInstanceWarmup = new(int32(-2)) }, "ValidationError", "defaultInstanceWarmup"},
		{"half a maintenance policy", func(in *api2.CreateAutoScalingGroupInput) {
			in.InstanceMaintenancePolicy = &api2.InstanceMaintenancePolicy{MinHealthyPercentage: new(int32(90))}
		}, "ValidationError", "both"},
		{"a wide maintenance policy", func(in *api2.CreateAutoScalingGroupInput) {
			in.InstanceMaintenancePolicy = &api2.InstanceMaintenancePolicy{MinHealthyPercentage: new(int32(50)), MaxHealthyPercentage: new(int32(200))}
		}, "ValidationError", "greater than 100"},
		{"a placement group", func(in *api2.CreateAutoScalingGroupInput) { in.PlacementGroup = new("p") }, "ValidationError", "'p' does not exist"},
		{"capacity in CPUs", func(in *api2.CreateAutoScalingGroupInput) { in.DesiredCapacityType = new("vcpu") }, "ValidationError", "not supported"},
		{"capacity in pounds", func(in *api2.CreateAutoScalingGroupInput) { in.DesiredCapacityType = new("lb") }, "ValidationError", "Invalid DesiredCapacityType: lb"},
		{"a context", func(in *api2.CreateAutoScalingGroupInput) { in.Context = new("x") }, "ValidationError", "Context"},
		{"zonal shift", func(in *api2.CreateAutoScalingGroupInput) {
			in.AvailabilityZoneImpairmentPolicy = &api2.AvailabilityZoneImpairmentPolicy{ZonalShiftEnabled: new(true), ImpairedZoneHealthCheckBehavior: "IgnoreUnhealthy"}
		}, "ValidationError", "zonal shift"},
		{"reservations", func(in *api2.CreateAutoScalingGroupInput) {
			in.CapacityReservationSpecification = &api2.CapacityReservationSpecification{CapacityReservationPreference: "capacity-reservations-only"}
		}, "ValidationError", "capacity reservations"},
		{"instances retained", func(in *api2.CreateAutoScalingGroupInput) {
			in.InstanceLifecyclePolicy = &api2.InstanceLifecyclePolicy{RetentionTriggers: &api2.RetentionTriggers{TerminateHookAbandon: "retain"}}
		}, "ValidationError", "retained"},
		{"a classic load balancer", func(in *api2.CreateAutoScalingGroupInput) { in.LoadBalancerNames = []string{"lb"} }, "ValidationError", "Provided Load Balancers may not be valid."},
		{"a target group that is not there", func(in *api2.CreateAutoScalingGroupInput) {
			in.TargetGroupARNs = []string{"arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/a/0123456789abcdef"}
		}, "ValidationError", "Provided Target Groups may not be valid."},
		{"a traffic source of a lattice", func(in *api2.CreateAutoScalingGroupInput) {
			in.TrafficSources = []api2.TrafficSourceIdentifier{{Identifier: new("x"), Type: new("vpc-lattice")}}
		}, "ValidationError", "vpc-lattice"},
		{"a role that is not there", func(in *api2.CreateAutoScalingGroupInput) {
			in.ServiceLinkedRoleARN = new("arn:aws:iam::000000000000:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling_x")
		}, "ValidationError", "ARN specified for Service-Linked Role does not exist."},
		{"a tag of AWS's", func(in *api2.CreateAutoScalingGroupInput) { in.Tags = []api2.Tag{{Key: new("aws:x")}} }, "ValidationError", "aws:"},
		{"a tag twice", func(in *api2.CreateAutoScalingGroupInput) { in.Tags = []api2.Tag{{Key: new("x")}, {Key: new("x")}} }, "ValidationError", "Duplicate keys"},
		{"a tag of another group", func(in *api2.CreateAutoScalingGroupInput) {
			in.Tags = []api2.Tag{{Key: new("x"), ResourceId: new("y")}}
		}, "ValidationError", "ResourceId"},
		{"a hook without a name for when", func(in *api2.CreateAutoScalingGroupInput) {
			in.LifecycleHookSpecificationList = []api2.LifecycleHookSpecification{{LifecycleHookName: new("h"), LifecycleTransition: new("now")}}
		}, "ValidationError", "Lifecycle Transition must be specified"},

		{"mixed without a template", mixed(func(m *api2.MixedInstancesPolicy) { m.LaunchTemplate = nil }), "ValidationError", "launch template is required"},
		{"mixed from a Spot template", mixed(func(m *api2.MixedInstancesPolicy) { m.LaunchTemplate.LaunchTemplateSpecification = named("spot") }), "ValidationError", "Incompatible launch template"},
		{"a type that is none", override(api2.LaunchTemplateOverrides{InstanceType: new("z9.huge")}), "ValidationError", "Invalid value 'z9.huge' for InstanceType."},
		{"a type twice", override(api2.LaunchTemplateOverrides{InstanceType: new("t3.micro")}, api2.LaunchTemplateOverrides{InstanceType: new("t3.micro")}), "ValidationError", "Duplicate instance type"},
		{"an empty override", override(api2.LaunchTemplateOverrides{}), "ValidationError", "An override must specify"},
		{"a weight for one", override(api2.LaunchTemplateOverrides{InstanceType: new("t3.micro"), WeightedCapacity: new("2")}, api2.LaunchTemplateOverrides{InstanceType: new("t3.small")}), "ValidationError", "for all instance types"},
		{"a weight too many", override(api2.LaunchTemplateOverrides{InstanceType: new("t3.micro"), WeightedCapacity: new("1000")}), "ValidationError", "Weighted capacity"},
		{"requirements", override(api2.LaunchTemplateOverrides{InstanceRequirements: &api2.InstanceRequirements{}}), "ValidationError", "attribute-based"},
		{"an image of its own", override(api2.LaunchTemplateOverrides{InstanceType: new("t3.micro"), ImageId: &ami}), "ValidationError", "ImageId"},
		{"a template of its own that is not there", override(api2.LaunchTemplateOverrides{LaunchTemplateSpecification: named("none")}), "ValidationError", "does not exist"},
		{"an On-Demand strategy", distribution(api2.InstancesDistribution{OnDemandAllocationStrategy: new("x")}), "ValidationError", "On-Demand allocation strategy"},
		{"a Spot strategy", distribution(api2.InstancesDistribution{SpotAllocationStrategy: new("x")}), "ValidationError", "Spot allocation strategy"},
		{"a base", distribution(api2.InstancesDistribution{OnDemandBaseCapacity: new(int32(-1))}), "ValidationError", "onDemandBaseCapacity"},
		{"a percentage", distribution(api2.InstancesDistribution{OnDemandPercentageAboveBaseCapacity: new(int32(101))}), "ValidationError", "between 0 and 100"},
		{"pools without lowest-price", distribution(api2.InstancesDistribution{SpotAllocationStrategy: new("capacity-optimized"), SpotInstancePools: new(int32(3))}), "ValidationError", "lowest-price"},
		{"pools", distribution(api2.InstancesDistribution{SpotInstancePools: new(int32(21))}), "ValidationError", "between 1 and 20"},
		{"a price", distribution(api2.InstancesDistribution{SpotMaxPrice: new("cheap")}), "ValidationError", "price"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := input("new")
			tt.change(in)
			_, err := w.CreateAutoScalingGroup(w.ctx, in)
			fails(t, err, tt.code, tt.message)
			if *in.AutoScalingGroupName != "web" {
				if _, err := tables.AutoScalingGroups.Get(w.ctx, w.store, account, region, *in.AutoScalingGroupName); err == nil {
					t.Error("the group was made all the same")
				}
			}
		})
	}
}

// A type of another architecture than the image's is found out by the launch.
func TestAnUnfitTypeIsTheLaunchsAffair(t *testing.T) {
	w := newWorld(t)
	w.template("lt-2", "arm", model.LaunchData{ImageID: ami, InstanceType: "t4g.micro"})
	w.group("arm", func(in *api2.CreateAutoScalingGroupInput) { in.LaunchTemplate.LaunchTemplateName = new("arm") })
}

func TestWhoMayLaunch(t *testing.T) {
	w := newWorld(t)
	w.profile("node")
	w.template("lt-2", "node", model.LaunchData{ImageID: ami, InstanceType: "t3.micro", IAMInstanceProfile: &model.LaunchProfile{Name: "node"}})
	in := input("web")
	in.LaunchTemplate.LaunchTemplateName = new("node")
	w.denied = "ec2:RunInstances"
	_, err := w.CreateAutoScalingGroup(w.ctx, in)
	fails(t, err, "AccessDenied", "You are not authorized to use launch template: lt-2")
	w.denied = "iam:PassRole"
	_, err = w.CreateAutoScalingGroup(w.ctx, in)
	fails(t, err, "AccessDenied", "iam:PassRole")
	w.denied = "iam:CreateServiceLinkedRole"
	_, err = w.CreateAutoScalingGroup(w.ctx, in)
	fails(t, err, "AccessDenied", "iam:CreateServiceLinkedRole")
	w.denied, w.asked = "", nil
	must[*api2.CreateAutoScalingGroupOutput](t)(w.CreateAutoScalingGroup(w.ctx, in))
	want := []string{
		"ec2:RunInstances arn:aws:ec2:eu-west-1:000000000000:launch-template/lt-2", "ec2:RunInstances arn:aws:ec2:eu-west-1:000000000000:instance/*",
		"iam:PassRole arn:aws:iam::000000000000:role/role-node",
		"iam:CreateServiceLinkedRole arn:aws:iam::000000000000:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
	}
	if d := cmp.Diff(want, w.asked); d != "" {
		t.Error(d)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.InstanceMaintenancePolicy = &api2.InstanceMaintenancePolicy{MinHealthyPercentage: new(int32(90)), MaxHealthyPercentage: new(int32(120))}
		in.DefaultInstanceWarmup, in.AvailabilityZones = new(int32(30)), []string{"eu-west-1b", "eu-west-1a"}
	})
	update := func(in *api2.UpdateAutoScalingGroupInput) error {
		in.AutoScalingGroupName = new("web")
		_, err := w.UpdateAutoScalingGroup(w.ctx, in)
		return err
	}
	sizes := func(wantMin, wantMax, wantDesired int32) {
		t.Helper()
		g := w.describe("web")
		if *g.MinSize != wantMin || *g.MaxSize != wantMax || *g.DesiredCapacity != wantDesired {
			t.Errorf("min %d, max %d, desired %d", *g.MinSize, *g.MaxSize, *g.DesiredCapacity)
		}
	}
	fails(t, update(&api2.UpdateAutoScalingGroupInput{DesiredCapacity: new(int32(9))}), "ValidationError", "Desired capacity:9 must be between the specified min size:1 and max size:3")
	fails(t, update(&api2.UpdateAutoScalingGroupInput{MinSize: new(int32(9))}), "ValidationError", "Max bound, 3, must be greater than or equal to min bound, 9")
	fails(t, update(&api2.UpdateAutoScalingGroupInput{AvailabilityZones: []string{"eu-west-1a"}}), "ValidationError", "do not match")
	if err := update(&api2.UpdateAutoScalingGroupInput{MinSize: new(int32(2))}); err != nil {
		t.Fatal(err)
	}
	sizes(2, 3, 2)
	if got, want := w.record("web").DesiredReason, "At 2026-01-02T03:04:05Z a user request update of AutoScalingGroup constraints to min: 2, max: 3, desired: 2 changing the desired capacity from 1 to 2."; got != want {
		t.Errorf("reason %q", got)
	}
	if err := update(&api2.UpdateAutoScalingGroupInput{MinSize: new(int32(0)), MaxSize: new(int32(1))}); err != nil {
		t.Fatal(err)
	}
	sizes(0, 1, 1)
	err := update(&api2.UpdateAutoScalingGroupInput{
		VPCZoneIdentifier: new("subnet-b"), HealthCheckType: new("ELB"), HealthCheckGracePeriod: new(int32(60)), DefaultCooldown: new(int32(10)),
		TerminationPolicies: []string{"OldestInstance", "Default"}, NewInstancesProtectedFromScaleIn: new(true), CapacityRebalance: new(true),
		MaxInstanceLifetime: new(int32(86400)), DefaultInstanceWarmup: new(int32(-1)), DeletionProtection: "prevent-force-deletion",
		InstanceMaintenancePolicy:    &api2.InstanceMaintenancePolicy{MinHealthyPercentage: new(int32(-1)), MaxHealthyPercentage: new(int32(-1))},
		AvailabilityZoneDistribution: &api2.AvailabilityZoneDistribution{CapacityDistributionStrategy: "balanced-only"},
		MixedInstancesPolicy: &api2.MixedInstancesPolicy{LaunchTemplate: &api2.LaunchTemplate{
			LaunchTemplateSpecification: &api2.LaunchTemplateSpecification{LaunchTemplateId: new("lt-1"), Version: new("$Latest")},
			Overrides:                   []api2.LaunchTemplateOverrides{{InstanceType: new("t3.micro"), WeightedCapacity: new("1")}, {InstanceType: new("t3.small"), WeightedCapacity: new("2")}},
		}, InstancesDistribution: &api2.InstancesDistribution{OnDemandBaseCapacity: new(int32(1)), SpotMaxPrice: new("0.05")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := w.describe("web")
	if *got.VPCZoneIdentifier != "subnet-b" || !slices.Equal(got.AvailabilityZones, []string{"eu-west-1b"}) || *got.HealthCheckType != "ELB" || *got.HealthCheckGracePeriod != 60 ||
		*got.DefaultCooldown != 10 || got.TerminationPolicies[0] != "OldestInstance" || !*got.NewInstancesProtectedFromScaleIn || !*got.CapacityRebalance ||
		*got.MaxInstanceLifetime != 86400 || got.DefaultInstanceWarmup != nil || got.InstanceMaintenancePolicy != nil || got.LaunchTemplate != nil ||
		got.DeletionProtection != "prevent-force-deletion" || got.AvailabilityZoneDistribution.CapacityDistributionStrategy != "balanced-only" {
		t.Errorf("got %+v", got)
	}
	mixed := &api2.MixedInstancesPolicy{
		LaunchTemplate: &api2.LaunchTemplate{
			LaunchTemplateSpecification: &api2.LaunchTemplateSpecification{LaunchTemplateId: new("lt-1"), LaunchTemplateName: new("web"), Version: new("$Latest")},
			Overrides:                   []api2.LaunchTemplateOverrides{{InstanceType: new("t3.micro"), WeightedCapacity: new("1")}, {InstanceType: new("t3.small"), WeightedCapacity: new("2")}},
		},
		InstancesDistribution: &api2.InstancesDistribution{
			OnDemandAllocationStrategy: new("prioritized"), OnDemandBaseCapacity: new(int32(1)), OnDemandPercentageAboveBaseCapacity: new(int32(100)),
			SpotAllocationStrategy: new("lowest-price"), SpotInstancePools: new(int32(2)), SpotMaxPrice: new("0.05"),
		},
	}
	if d := cmp.Diff(mixed, got.MixedInstancesPolicy); d != "" {
		t.Error(d)
	}
	// What a policy leaves out stays.
	err = update(&api2.UpdateAutoScalingGroupInput{MixedInstancesPolicy: &api2.MixedInstancesPolicy{InstancesDistribution: &api2.InstancesDistribution{SpotAllocationStrategy: new("price-capacity-optimized"), SpotMaxPrice: new("")}}})
	if err != nil {
		t.Fatal(err)
	}
	mixed.InstancesDistribution.SpotAllocationStrategy, mixed.InstancesDistribution.SpotInstancePools, mixed.InstancesDistribution.SpotMaxPrice = new("price-capacity-optimized"), nil, nil
	if d := cmp.Diff(mixed, w.describe("web").MixedInstancesPolicy); d != "" {
		t.Error(d)
	}
	if err := update(&api2.UpdateAutoScalingGroupInput{LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateId: new("lt-1"), Version: new("1")}}); err != nil {
		t.Fatal(err)
	}
	if got := w.describe("web"); got.MixedInstancesPolicy != nil || *got.LaunchTemplate.Version != "1" {
		t.Errorf("got %+v", got)
	}
	_, err = w.UpdateAutoScalingGroup(w.ctx, &api2.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("none")})
	fails(t, err, "ValidationError", "AutoScalingGroup name not found - AutoScalingGroup none not found")
}

func TestSetDesiredCapacity(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	set := func(n int32, honor bool) error {
		_, err := w.SetDesiredCapacity(w.ctx, &api2.SetDesiredCapacityInput{AutoScalingGroupName: new("web"), DesiredCapacity: &n, HonorCooldown: &honor})
		return err
	}
	fails(t, set(4, false), "ValidationError", "New SetDesiredCapacity value 4 is above max value 3 for the AutoScalingGroup.")
	fails(t, set(0, false), "ValidationError", "New SetDesiredCapacity value 0 is below min value 1 for the AutoScalingGroup.")
	if err := set(2, true); err != nil {
		t.Fatal(err)
	}
	if got, want := w.record("web").DesiredReason, "At 2026-01-02T03:04:05Z a user request explicitly set group desired capacity changing the desired capacity from 1 to 2."; got != want {
		t.Errorf("reason %q", got)
	}
	tx := store.NewTxn()
	tables.ScalingActivities.Create(tx, account, region, "web/1", &model.ScalingActivity{ID: "1", Group: "web", StatusCode: "InProgress"})
	w.commit(tx)
	fails(t, set(3, true), "ScalingActivityInProgress", "Scaling activity 1 is in progress")
	tx = store.NewTxn()
	tables.ScalingActivities.Put(tx, account, region, "web/1", &model.ScalingActivity{ID: "1", Group: "web", StatusCode: "Successful", EndedAt: start})
	g := *w.record("web")
	g.Status.ScaledAt = start
	tables.AutoScalingGroups.Put(tx, account, region, "web", &g)
	w.commit(tx)
	fails(t, set(3, true), "ScalingActivityInProgress", "cooldown")
	if err := set(3, false); err != nil {
		t.Fatal(err)
	}
	w.ctx = w.at(300e9)
	if err := set(2, true); err != nil {
		t.Fatal(err)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	remove := func(name string, force bool) error {
		_, err := w.DeleteAutoScalingGroup(w.ctx, &api2.DeleteAutoScalingGroupInput{AutoScalingGroupName: &name, ForceDelete: &force})
		return err
	}
	fails(t, remove("web", false), "ValidationError", "AutoScalingGroup name not found")
	w.group("web", nil)
	must[*api2.StartInstanceRefreshOutput](t)(w.StartInstanceRefresh(w.ctx, &api2.StartInstanceRefreshInput{AutoScalingGroupName: new("web")}))
	if err := remove("web", false); err != nil {
		t.Fatal(err)
	}
	if rows, err := tables.InstanceRefreshes.List(w.ctx, w.store, store.Query{}); err != nil || len(rows) != 0 {
		t.Errorf("%d refreshes of no group, %v", len(rows), err)
	}
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) { in.DeletionProtection = "prevent-all-deletion" })
	w.group("web/2", nil) // whose instances are not those of web
	w.joins("web/2", "i-2", model.ASGInService, nil)
	fails(t, remove("web", false), "ResourceInUse", "deletion protection")
	must[*api2.UpdateAutoScalingGroupOutput](t)(w.UpdateAutoScalingGroup(w.ctx, &api2.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("web"), DeletionProtection: "prevent-force-deletion"}))
	w.joins("web", "i-1", model.ASGInService, nil)
	fails(t, remove("web", true), "ResourceInUse", "deletion protection")
	fails(t, remove("web", false), "ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	must[*api2.UpdateAutoScalingGroupOutput](t)(w.UpdateAutoScalingGroup(w.ctx, &api2.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("web"), DeletionProtection: "none"}))
	w.joins("web", "i-1", model.ASGTerminating, nil)
	tx := store.NewTxn()
	tables.ScalingActivities.Create(tx, account, region, "web/1", &model.ScalingActivity{ID: "1", Group: "web", StatusCode: "InProgress"})
	w.commit(tx)
	fails(t, remove("web", false), "ScalingActivityInProgress", "scaling activities in progress")
	for range 2 {
		if err := remove("web", true); err != nil {
			t.Fatal(err)
		}
	}
	if g := w.describe("web"); *g.Status != "Delete in progress" || *g.DesiredCapacity != 0 || *g.MaxSize != 0 {
		t.Errorf("got %+v", g)
	}
	_, err := w.CreateAutoScalingGroup(w.ctx, input("web"))
	fails(t, err, "AlreadyExists", "pending delete")
	_, err = w.SuspendProcesses(w.ctx, &api2.SuspendProcessesInput{AutoScalingGroupName: new("web")})
	fails(t, err, "ValidationError", "pending delete")
	if err := remove("web/2", false); api.Code(err) != "ResourceInUse" {
		t.Error(err)
	}
}

func TestDescribeGroups(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.group(name, func(in *api2.CreateAutoScalingGroupInput) {
			in.Tags = []api2.Tag{{Key: new("name"), Value: new("is " + name)}, {Key: new("of-" + name), Value: new("1"), PropagateAtLaunch: new(false)}}
		})
	}
	w.joins("b", "i-1", model.ASGInService, func(m *model.ASGInstance) { m.Weight = 2 })
	names := func(in *api2.DescribeAutoScalingGroupsInput) (out []string, next *string) {
		t.Helper()
		got := must[*api2.DescribeAutoScalingGroupsOutput](t)(w.DescribeAutoScalingGroups(w.ctx, in))
		for _, g := range got.AutoScalingGroups {
			out = append(out, *g.AutoScalingGroupName)
		}
		return out, got.NextToken
	}
	filter := func(name string, values ...string) api2.Filter { return api2.Filter{Name: &name, Values: values} }
	for _, tt := range []struct {
		filters []api2.Filter
		want    string
	}{
		{[]api2.Filter{filter("tag-key", "of-a", "of-c")}, "a c"},
		{[]api2.Filter{filter("tag-value", "is b")}, "b"},
		{[]api2.Filter{filter("tag:name", "is a", "is b"), filter("tag-key", "of-b")}, "b"},
		{[]api2.Filter{filter("tag:name", "1")}, ""},
	} {
		if got, _ := names(&api2.DescribeAutoScalingGroupsInput{Filters: tt.filters}); strings.Join(got, " ") != tt.want {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
	_, err := w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{Filters: []api2.Filter{filter("name", "a")}})
	fails(t, err, "ValidationError", "Filter type name is not correct")
	first, next := names(&api2.DescribeAutoScalingGroupsInput{MaxRecords: new(int32(2))})
	w.group("aa", nil) // does not move the second page
	second, end := names(&api2.DescribeAutoScalingGroupsInput{MaxRecords: new(int32(2)), NextToken: next})
	if !slices.Equal(first, []string{"a", "b"}) || !slices.Equal(second, []string{"c"}) || end != nil {
		t.Errorf("%v, then %v", first, second)
	}
	_, err = w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{NextToken: next, AutoScalingGroupNames: []string{"a"}})
	fails(t, err, "InvalidNextToken", "")
	_, err = w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{MaxRecords: new(int32(101))})
	fails(t, err, "ValidationError", "less than or equal to 100")
	_, err = w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{MaxRecords: new(int32(0))})
	fails(t, err, "ValidationError", "greater than or equal to 1")
	instance := api2.Instance{
		InstanceId: new("i-1"), InstanceType: new("t3.micro"), AvailabilityZone: new("eu-west-1a"), AvailabilityZoneId: new("euw1-az1"), LifecycleState: "InService",
		HealthStatus: new("Healthy"), ProtectedFromScaleIn: new(false), WeightedCapacity: new("2"),
		LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateId: new("lt-1"), LaunchTemplateName: new("web"), Version: new("1")},
	}
	if d := cmp.Diff([]api2.Instance{instance}, w.describe("b").Instances); d != "" {
		t.Error(d)
	}
	without := must[*api2.DescribeAutoScalingGroupsOutput](t)(w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"b"}, IncludeInstances: new(false)}))
	if len(without.AutoScalingGroups[0].Instances) != 0 {
		t.Error("instances that were not asked for")
	}
	limits := must[*api2.DescribeAccountLimitsOutput](t)(w.DescribeAccountLimits(w.ctx, nil))
	if *limits.NumberOfAutoScalingGroups != 4 || *limits.MaxNumberOfAutoScalingGroups != 500 {
		t.Errorf("limits %+v", limits)
	}
}
