package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// Indexes of instances and what belongs to them.
const (
	// ByState: the state that the instance is in.
	ByState = "state"
	// ByAutoScalingGroup: the group's name.
	ByAutoScalingGroup = "autoScalingGroup"
	// ByName: the name.
	ByName = "name"
	// ByEC2Instance: the EC2 instance's id.
	ByEC2Instance = "ec2Instance"
	// ByCapacityProvider: the capacity provider's name.
	ByCapacityProvider = "capacityProvider"
	// ByProfileAssociation: the id of the instance profile's association.
	ByProfileAssociation = "profileAssociation"
	// ByToken: the client token.
	ByToken = "token"
)

// The tables of EC2's instances, and of Auto Scaling.
var (
	Instances = store.NewTable[model.Instance]("ec2", "Instance").
			WithIndex(ByState, func(v *model.Instance) []string { return []string{v.Status.State} }).
			WithIndex(ByProfileAssociation, func(v *model.Instance) []string { return nonEmpty(v.Spec.ProfileAssociationID) }).
			WithIndex(BySubnet, func(v *model.Instance) []string { return []string{v.Spec.SubnetID} }).
			WithIndex(ByAutoScalingGroup, func(v *model.Instance) []string { return nonEmpty(v.Spec.AutoScalingGroup) }).
			WithIndex(ByToken, func(v *model.Instance) []string { return nonEmpty(v.Spec.ClientToken) })

	InstanceMetadataDefaults = store.NewTable[model.InstanceMetadataDefaults]("ec2", "InstanceMetadataDefaults")

	LaunchTemplates = store.NewTable[model.LaunchTemplate]("ec2", "LaunchTemplate").
			WithIndex(ByName, func(v *model.LaunchTemplate) []string { return []string{v.Name} })
	// LaunchTemplateVersions list by prefix "<template>/".
	LaunchTemplateVersions = store.NewTable[model.LaunchTemplateVersion]("ec2", "LaunchTemplateVersion")
	// LaunchTemplateNames hold the id of the template with a name.
	LaunchTemplateNames = store.NewTable[string]("ec2", "LaunchTemplateName")

	AutoScalingGroups = store.NewTable[model.AutoScalingGroup]("autoscaling", "Group")
	// ASGInstances list by prefix "<group>/".
	ASGInstances = store.NewTable[model.ASGInstance]("autoscaling", "Instance").
			WithIndex(ByEC2Instance, func(v *model.ASGInstance) []string { return []string{v.InstanceID} })
	// ScalingActivities list by prefix "<group>/".
	ScalingActivities = store.NewTable[model.ScalingActivity]("autoscaling", "Activity")
	InstanceRefreshes = store.NewTable[model.InstanceRefresh]("autoscaling", "InstanceRefresh")
)

// The tables of ECS's container instances.
var (
	// ECSContainerInstances list by prefix "<cluster>/".
	ECSContainerInstances = store.NewTable[model.ContainerInstance]("ecs", "ContainerInstance").
				WithIndex(ByEC2Instance, func(v *model.ContainerInstance) []string { return nonEmpty(v.EC2InstanceID) }).
				WithIndex(ByCapacityProvider, func(v *model.ContainerInstance) []string { return nonEmpty(v.CapacityProviderName) })
	ECSInstanceClaims    = store.NewTable[model.InstanceClaim]("ecs", "InstanceClaim")
	ECSCapacityProviders = store.NewTable[model.CapacityProvider]("ecs", "CapacityProvider")
	// ECSCapacityProviderGroups hold the name of the capacity provider of an
	// Auto Scaling group, under the group's name: one has one at the most.
	ECSCapacityProviderGroups = store.NewTable[string]("ecs", "CapacityProviderGroup")
)
