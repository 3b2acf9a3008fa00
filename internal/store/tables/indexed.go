package tables

import "roadstead.dev/internal/store"

// Indexed are the tables that have indexes, for store.Reindex. A test tells
// when one is missing.
func Indexed() []store.Indexed {
	return []store.Indexed{
		Subnets,
		RouteTables,
		InternetGateways,
		NatGateways,
		NetworkACLs,
		SecurityGroups,
		NetworkInterfaces,
		ClientTokens,
		Instances,
		LaunchTemplates,
		ASGInstances,
		ECSContainerInstances,
		ECRImages,
		ECRTags,
		ECRLayers,
		ECSTaskDefinitions,
		ECSServices,
		ECSTasks,
		Rules,
		Targets,
		Users,
		Groups,
		Roles,
		Certificates,
		S3Versions,
	}
}
