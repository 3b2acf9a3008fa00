package ecs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// launch is how tasks are to be launched: a launch type or a strategy, where
// in the network, on which platform.
type launch struct {
	launchType      string
	strategy        []model.CapacityProviderStrategyItem
	platformVersion string
	platformFamily  string
	network         *model.AwsvpcConfiguration
	// vpcID and subnets are those of network.
	vpcID   string
	subnets []*model.Subnet
}

// fargate tells whether the tasks run on Fargate.
func (l *launch) fargate() bool {
	return l.launchType == model.LaunchTypeFargate || model.StrategyOnFargate(l.strategy)
}

// launchRequest is the part of RunTask, CreateService and UpdateService that
// says how to launch.
type launchRequest struct {
	launchType      ecs.LaunchType
	strategy        []ecs.CapacityProviderStrategyItem
	platformVersion *string
	network         *ecs.NetworkConfiguration
}

// platformVersions are those that tasks can ask for. Older ones are retired
// or, like 1.3.0, lack what Roadstead's tasks have.
var platformVersions = []string{"LATEST", model.FargatePlatformVersion}

// resolveLaunch checks how to launch tasks of d in the cluster, and fills in
// the cluster's and AWS's defaults.
func (s *Service) resolveLaunch(ctx context.Context, sc scope, c *model.Cluster, d *model.TaskDefinition, in launchRequest) (*launch, error) {
	l := &launch{launchType: string(in.launchType), strategy: convertedList[model.CapacityProviderStrategyItem](in.strategy)}
	switch {
	case l.launchType != "" && len(l.strategy) > 0:
		return nil, ecs.NewInvalidParameterException("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	case len(l.strategy) > 0:
		if err := checkStrategy(l.strategy, c.CapacityProviders); err != nil {
			return nil, err
		}
	case l.launchType == "" && len(c.DefaultCapacityProviderStrategy) > 0:
		l.strategy = c.DefaultCapacityProviderStrategy
	case l.launchType == "":
		l.launchType = model.LaunchTypeEC2
	}
	kind := l.launchType
	if kind == "" {
		kind = model.LaunchTypeEC2
	}
	switch {
	case l.fargate():
		if !slices.Contains(d.Compatibilities, model.LaunchTypeFargate) {
			if l.launchType == "" {
				return nil, ecs.NewInvalidParameterException("The task definition is configured to use the launch type EC2 and is not compatible with the capacity provider strategy.")
			}
			return nil, ecs.NewInvalidParameterException("Task definition does not support launch_type FARGATE.")
		}
		if err := checkRunnable(d); err != nil {
			return nil, err
		}
		l.platformVersion = val(in.platformVersion)
		if l.platformVersion == "" {
			l.platformVersion = "LATEST"
		}
		if !slices.Contains(platformVersions, l.platformVersion) {
			return nil, ecs.NewPlatformUnknownException("The specified platform version does not exist: %s", l.platformVersion)
		}
		l.platformFamily = "Linux"
	case kind != model.LaunchTypeEC2 && kind != model.LaunchTypeExternal:
		return nil, unsupported("The launch type " + kind)
	case val(in.platformVersion) != "":
		return nil, ecs.NewInvalidParameterException("The platform version must be null when specifying an %s launch type.", kind)
	case !slices.Contains(d.Compatibilities, model.LaunchTypeEC2) && l.launchType == "":
		return nil, ecs.NewInvalidParameterException("The task definition is configured to use the launch type FARGATE and is not compatible with the capacity provider strategy.")
	case !slices.Contains(d.Compatibilities, kind):
		return nil, ecs.NewInvalidParameterException("Task definition does not support launch_type %s.", kind)
	default:
		if err := checkRunnable(d); err != nil {
			return nil, err
		}
	}
	return l, s.resolveNetwork(ctx, sc, l, d, in)
}

// checkRunnable refuses definitions that AWS can run and this server cannot.
func checkRunnable(d *model.TaskDefinition) error {
	if p := d.RuntimePlatform; p != nil && strings.HasPrefix(p.OperatingSystemFamily, "WINDOWS") {
		return unsupported("The operating system family " + p.OperatingSystemFamily)
	}
	if val(d.EnableFaultInjection) {
		return unsupported("Fault injection")
	}
	if d.ProxyConfiguration != nil {
		return unsupported("The proxy configuration APPMESH")
	}
	for _, v := range d.Volumes {
		switch {
		case v.EFSVolumeConfiguration != nil:
			return unsupported("The volume configuration efsVolumeConfiguration")
		case v.ConfiguredAtLaunch != nil && *v.ConfiguredAtLaunch:
			return unsupported("A volume that is configured at launch")
		}
	}
	for i := range d.ContainerDefinitions {
		c := &d.ContainerDefinitions[i]
		switch {
		case c.FirelensConfiguration != nil:
			return unsupported("FireLens")
		case c.LogConfiguration != nil && c.LogConfiguration.LogDriver != "awslogs":
			return unsupported("The log driver " + c.LogConfiguration.LogDriver)
		case c.VersionConsistency == string(ecs.VersionConsistencyEnabled):
			return unsupported("The container definition parameter versionConsistency=enabled")
		}
	}
	return nil
}

func (s *Service) resolveNetwork(ctx context.Context, sc scope, l *launch, d *model.TaskDefinition, in launchRequest) error {
	var vpc *ecs.AwsVpcConfiguration
	if in.network != nil {
		vpc = in.network.AwsvpcConfiguration
	}
	switch {
	case d.NetworkMode != "awsvpc" && vpc != nil:
		return ecs.NewInvalidParameterException("Network Configuration is not valid for the given networkMode of this task definition.")
	case d.NetworkMode != "awsvpc":
		return nil
	case vpc == nil:
		return ecs.NewInvalidParameterException("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case len(vpc.Subnets) == 0:
		return ecs.NewInvalidParameterException("subnets can not be empty.")
	case len(vpc.Subnets) > 16:
		return ecs.NewInvalidParameterException("subnets can have at most 16 items.")
	case len(vpc.SecurityGroups) > 5:
		return ecs.NewInvalidParameterException("securityGroups can have at most 5 items.")
	case !l.fargate() && vpc.AssignPublicIp == ecs.AssignPublicIpEnabled:
		return ecs.NewInvalidParameterException("Assign public IP is not supported for this launch type.")
	}
	n := converted[model.AwsvpcConfiguration](vpc)
	if n.AssignPublicIP == "" {
		n.AssignPublicIP = string(ecs.AssignPublicIpDisabled)
	}
	for _, id := range n.Subnets {
		row, err := tables.Subnets.Get(ctx, s.store, sc.account, sc.region, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
			return ecs.NewInvalidParameterException("Error retrieving subnet information for %s: The subnet ID '%s' does not exist (ErrorCode: InvalidSubnetID.NotFound)", bracketed(n.Subnets), id)
		}
		if err != nil {
			return err
		}
		if l.vpcID == "" {
			l.vpcID = row.V.VPCID
		}
		if row.V.VPCID != l.vpcID {
			return ecs.NewInvalidParameterException("Subnets must be in the same VPC: %s", bracketed(n.Subnets))
		}
		l.subnets = append(l.subnets, row.V)
	}
	for _, id := range n.SecurityGroups {
		row, err := tables.SecurityGroups.Get(ctx, s.store, sc.account, sc.region, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
			return ecs.NewInvalidParameterException("Error retrieving security group information for %s: The security group '%s' does not exist (ErrorCode: InvalidGroup.NotFound)", bracketed(n.SecurityGroups), id)
		}
		if err != nil {
			return err
		}
		if row.V.VPCID != l.vpcID {
			return ecs.NewInvalidParameterException("Security group %s does not appear to belong to the same VPC as the input subnets.", id)
		}
	}
	l.network = n
	return nil
}

// vpcOf is the VPC of a network configuration's subnets, "" where it has none
// that exists.
func (s *Service) vpcOf(ctx context.Context, sc scope, n *model.ECSNetworkConfiguration) (string, error) {
	if n == nil || n.AwsvpcConfiguration == nil {
		return "", nil
	}
	for _, subnet := range n.AwsvpcConfiguration.Subnets {
		row, err := tables.Subnets.Get(ctx, s.store, sc.account, sc.region, subnet)
		if err == nil {
			return row.V.VPCID, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return "", err
		}
	}
	return "", nil
}

func bracketed(ids []string) string { return "[" + strings.Join(ids, ", ") + "]" }

// roleExists refuses roles that ECS could not assume for a task.
func (s *Service) roleExists(ctx context.Context, sc scope, arns ...string) error {
	for _, arn := range arns {
		if arn == "" {
			continue
		}
		a, err := model.ParseARN(arn)
		if err == nil && a.Account == sc.account {
			name := a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]
			row, err := tables.Roles.Get(ctx, s.store, sc.account, "", strings.ToLower(name))
			if err == nil && row.V.ARN == arn {
				continue
			}
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		return ecs.NewClientException("ECS was unable to assume the role '%s' that was provided for this task. Please verify that the role being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role.", arn)
	}
	return nil
}
