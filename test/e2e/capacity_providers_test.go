package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// provide makes a launch template, an empty group and a capacity provider with
// all that is managed, all of the cluster's name, and gives them to the cluster.
func (n *nodes) provide(most int32) *autoscaling.Client {
	n.t.Helper()
	ctx := n.t.Context()
	groups := autoscaling.NewFromConfig(n.cfg)
	userData := base64.StdEncoding.EncodeToString([]byte("#!/bin/bash\necho ECS_CLUSTER=" + n.name + " >> /etc/ecs/ecs.config\n"))
	_, err := n.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: new(n.name), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
		ImageId: new(ecsImage), InstanceType: ec2types.InstanceTypeT3Small, UserData: new(userData),
		IamInstanceProfile: &ec2types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: new(n.profile)},
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = groups.CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: new(n.name), LaunchTemplate: &astypes.LaunchTemplateSpecification{LaunchTemplateName: new(n.name)},
		MinSize: new(int32(0)), MaxSize: new(most), VPCZoneIdentifier: new(strings.Join(n.subnets, ",")), NewInstancesProtectedFromScaleIn: new(true),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	group, err := groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{n.name}})
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = n.ecs.CreateCapacityProvider(ctx, &ecs.CreateCapacityProviderInput{Name: new(n.name), AutoScalingGroupProvider: &ecstypes.AutoScalingGroupProvider{
		AutoScalingGroupArn:          group.AutoScalingGroups[0].AutoScalingGroupARN,
		ManagedScaling:               &ecstypes.ManagedScaling{Status: ecstypes.ManagedScalingStatusEnabled, TargetCapacity: new(int32(100)), InstanceWarmupPeriod: new(int32(8))},
		ManagedTerminationProtection: ecstypes.ManagedTerminationProtectionEnabled, ManagedDraining: ecstypes.ManagedDrainingEnabled,
	}})
	if err == nil {
		_, err = n.ecs.PutClusterCapacityProviders(ctx, &ecs.PutClusterCapacityProvidersInput{
			Cluster: new(n.name), CapacityProviders: []string{n.name}, DefaultCapacityProviderStrategy: []ecstypes.CapacityProviderStrategyItem{{CapacityProvider: new(n.name), Weight: 1}},
		})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return groups
}

// TestCapacityProviderGrowsAndShrinks has a service of 40 tasks on an empty
// cluster with an empty group: the group grows, the tasks are placed, and when
// none are wanted any more the instances empty and the group shrinks, without a
// hand.
func TestCapacityProviderGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	n := newNodes(t, ownServer(t, "containerd", "--scaling-period", "1s"))
	ctx := t.Context()
	groups := n.provide(8)
	c := n.container("sleep")
	c.PortMappings, c.LogConfiguration = nil, nil
	definition := n.register("one", func(in *ecs.RegisterTaskDefinitionInput) {
		onInstances(ecstypes.NetworkModeHost)(in)
		in.Memory = new("256")
	}, c)
	began := time.Now()
	if _, err := n.ecs.CreateService(ctx, &ecs.CreateServiceInput{Cluster: new(n.name), ServiceName: new("one"), TaskDefinition: new(definition), DesiredCount: new(int32(40))}); err != nil {
		t.Fatal(err)
	}
	state := func() (running, desired, instances int, err error) {
		services, err := n.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: new(n.name), Services: []string{"one"}})
		if err != nil {
			return 0, 0, 0, err
		}
		group, err := groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{n.name}})
		if err != nil {
			return 0, 0, 0, err
		}
		g := group.AutoScalingGroups[0]
		return int(services.Services[0].RunningCount), int(*g.DesiredCapacity), len(g.Instances), nil
	}
	eventually(t, 3*time.Minute, "40 tasks run on instances that nobody launched", func() error {
		running, desired, instances, err := state()
		if err != nil || running != 40 {
			return fmt.Errorf("%d tasks run; the group has %d instances and wants %d; %w", running, instances, desired, err)
		}
		return nil
	})
	// Eight fit on each: five instances, and one more where an estimate began
	// with what the type has and not with what is left to tasks.
	if _, desired, instances, err := state(); err != nil || desired != instances || instances < 5 || instances > 6 {
		t.Errorf("40 tasks of 256 MiB are on %d instances of 2048 MiB, %d are wanted; %v", instances, desired, err)
	}
	t.Logf("40 tasks ran after %v", time.Since(began).Round(time.Millisecond))

	began = time.Now()
	if _, err := n.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{Cluster: new(n.name), Service: new("one"), DesiredCount: new(int32(0))}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 4*time.Minute, "the group is empty again", func() error {
		running, desired, instances, err := state()
		if err != nil || running != 0 || desired != 0 || instances != 0 {
			return fmt.Errorf("%d tasks run; the group has %d instances and wants %d; %w", running, instances, desired, err)
		}
		return nil
	})
	t.Logf("the group was empty after %v", time.Since(began).Round(time.Millisecond))
	left, err := n.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(n.name)})
	if err != nil || len(left.ContainerInstanceArns) > 0 {
		t.Errorf("container instances are left: %+v, %v", left, err)
	}
}
