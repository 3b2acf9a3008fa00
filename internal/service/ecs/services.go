package ecs

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func errDaemonStrategy() error {
	return ecs.NewInvalidParameterException("Specifying a capacity provider strategy is not supported when you create a service using the DAEMON scheduling strategy.")
}

func errServiceNotFound() error { return ecs.NewServiceNotFoundException("Service not found.") }

// service reads a service of a cluster, of any status.
func (s *Service) service(ctx context.Context, sc scope, cluster, ref string) (store.Row[model.Service], error) {
	recordID, err := child("service", cluster, ref)
	if err != nil {
		return store.Row[model.Service]{}, err
	}
	if !sc.inScope(ref) {
		return store.Row[model.Service]{}, errServiceNotFound()
	}
	row, err := tables.ECSServices.Get(ctx, s.store, sc.account, sc.region, recordID)
	if errors.Is(err, store.ErrNotFound) {
		return row, errServiceNotFound()
	}
	return row, err
}

// CreateService makes a service with its first deployment.
func (s *Service) CreateService(ctx context.Context, in *ecs.CreateServiceInput) (*ecs.CreateServiceOutput, error) {
	sc := scopeOf(ctx)
	name := val(in.ServiceName)
	if !identifier.MatchString(name) {
		return nil, ecs.NewInvalidParameterException("Service name must have between 1 and 255 characters and contain only letters, numbers, underscores, and hyphens.")
	}
	switch {
	case val(in.TaskDefinition) == "":
		return nil, ecs.NewInvalidParameterException("TaskDefinition can not be blank.")
	case len(val(in.ClientToken)) > 36:
		return nil, ecs.NewInvalidParameterException("clientToken cannot be longer than 36 characters.")
	case len(in.VolumeConfigurations) > 0:
		return nil, unsupported("The parameter volumeConfigurations")
	case len(in.VpcLatticeConfigurations) > 0:
		return nil, unsupported("The parameter vpcLatticeConfigurations")
	case in.ServiceConnectConfiguration != nil && val(in.ServiceConnectConfiguration.Enabled):
		return nil, unsupported("Service Connect")
	}
	tags := tagsOf(in.Tags)
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	hash, err := requestHash(in)
	if err != nil {
		return nil, err
	}
	return retry(ctx, func() (*ecs.CreateServiceOutput, error) {
		tx := store.NewTxn()
		cluster, err := s.activeCluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		tables.ECSClusters.Check(tx, cluster)
		recordID := cluster.V.ClusterName + "/" + name
		old, err := tables.ECSServices.Get(ctx, s.store, sc.account, sc.region, recordID)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return nil, err
		case err == nil && old.V.Status == model.ECSDraining:
			return nil, ecs.NewInvalidParameterException("Unable to Start a service that is still Draining.")
		case err == nil && old.V.Status == model.ECSActive:
			return s.repeatedCreate(ctx, sc, old.V, val(in.ClientToken), hash)
		}
		def, err := s.runnableTaskDefinition(ctx, sc, val(in.TaskDefinition))
		if err != nil {
			return nil, err
		}
		tables.ECSTaskDefinitions.Check(tx, def)
		spec, err := s.newServiceSpec(ctx, sc, cluster.V, def.V, in)
		if err != nil {
			return nil, err
		}
		svc := &model.Service{
			ServiceName: name,
			ServiceARN:  model.ECSServiceARN(sc.region, sc.account, cluster.V.ClusterName, name),
			ClusterName: cluster.V.ClusterName,
			ClusterARN:  cluster.V.ClusterARN,
			Status:      model.ECSActive,
			Spec:        *spec,
			Tags:        tags,
			CreatedAt:   sc.now,
			CreatedBy:   sc.call.Identity.ARN,
		}
		svc.Deployments = []model.Deployment{newDeployment(svc, sc)}
		if token := val(in.ClientToken); token != "" {
			tables.ECSClientTokens.Put(tx, sc.account, sc.region, createTokenID(svc, token),
				&model.ECSClientToken{RequestHash: hash, Resources: []string{svc.ServiceARN}, ExpiresAt: sc.now.Add(clientTokenLife)})
		}
		if err := s.forgetDeployments(ctx, sc, tx, recordID); err != nil {
			return nil, err
		}
		recordDeployment(tx, sc, svc, nil)
		tables.ECSServices.Replace(tx, old, svc)
		tables.ECSServiceEvents.Put(tx, sc.account, sc.region, recordID, &model.ServiceEvents{})
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		out := showService(svc, nil, true)
		return &ecs.CreateServiceOutput{Service: &out}, nil
	})
}

func createTokenID(svc *model.Service, token string) string {
	return "CreateService/" + svc.ClusterName + "/" + svc.ServiceName + "/" + token
}

// repeatedCreate answers a repeated request under its client token, and
// refuses any other for a service that exists.
func (s *Service) repeatedCreate(ctx context.Context, sc scope, svc *model.Service, token, hash string) (*ecs.CreateServiceOutput, error) {
	if token != "" {
		row, err := tables.ECSClientTokens.Get(ctx, s.store, sc.account, sc.region, createTokenID(svc, token))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil && row.V.RequestHash == hash {
			out := showService(svc, nil, true)
			return &ecs.CreateServiceOutput{Service: &out}, nil
		}
	}
	return nil, ecs.NewInvalidParameterException("Creation of service was not idempotent.")
}

// newServiceSpec checks a request and fills in the defaults.
func (s *Service) newServiceSpec(ctx context.Context, sc scope, c *model.Cluster, d *model.TaskDefinition, in *ecs.CreateServiceInput) (*model.ServiceSpec, error) {
	if in.DeploymentController != nil && in.DeploymentController.Type != ecs.DeploymentControllerTypeEcs {
		return nil, unsupported("The deployment controller " + string(in.DeploymentController.Type))
	}
	l, err := s.resolveLaunch(ctx, sc, c, d, launchRequest{
		launchType: in.LaunchType, strategy: in.CapacityProviderStrategy, platformVersion: in.PlatformVersion, network: in.NetworkConfiguration,
	})
	if err != nil {
		return nil, err
	}
	strategy := in.SchedulingStrategy
	switch {
	case strategy == "":
		strategy = ecs.SchedulingStrategyReplica
	case strategy == ecs.SchedulingStrategyDaemon && len(l.strategy) > 0:
		return nil, errDaemonStrategy()
	case strategy == ecs.SchedulingStrategyDaemon && l.fargate():
		return nil, ecs.NewInvalidParameterException("The daemon scheduling strategy is not supported for Fargate tasks.")
	}
	if err := sc.passRole(ctx, sc.roleARN(d.TaskRoleARN), sc.roleARN(d.ExecutionRoleARN)); err != nil {
		return nil, err
	}
	spec := &model.ServiceSpec{
		TaskDefinition:           d.TaskDefinitionARN,
		LaunchType:               l.launchType,
		FirstLaunchType:          l.launchType,
		CapacityProviderStrategy: l.strategy,
		PlatformVersion:          l.platformVersion,
		PlatformFamily:           l.platformFamily,
		SchedulingStrategy:       string(strategy),
		DeploymentController:     string(ecs.DeploymentControllerTypeEcs),
		EnableECSManagedTags:     val(in.EnableECSManagedTags),
		PropagateTags:            string(in.PropagateTags),
	}
	if in.DesiredCount == nil && strategy == ecs.SchedulingStrategyReplica {
		return nil, ecs.NewInvalidParameterException("Desired count can not be null for services with REPLICA scheduling strategy.")
	}
	if l.network != nil {
		spec.NetworkConfiguration = &model.ECSNetworkConfiguration{AwsvpcConfiguration: l.network}
	}
	if val(in.Role) != "" {
		return nil, ecs.NewInvalidParameterException("You cannot specify an IAM role for services that require a service linked role.")
	}
	change := serviceChange{
		desiredCount: in.DesiredCount, deploymentConfiguration: in.DeploymentConfiguration,
		loadBalancers: in.LoadBalancers, registries: in.ServiceRegistries, gracePeriod: in.HealthCheckGracePeriodSeconds,
		constraints: in.PlacementConstraints, strategy: in.PlacementStrategy,
		exec: val(in.EnableExecuteCommand), rebalancing: in.AvailabilityZoneRebalancing,
	}
	if err := s.applyChange(ctx, sc, spec, d, l.vpcID, change); err != nil {
		return nil, err
	}
	if spec.PropagateTags == "" {
		spec.PropagateTags = string(ecs.PropagateTagsNone)
	}
	return spec, nil
}

// newDeployment is a PRIMARY deployment of the service's present spec.
func newDeployment(svc *model.Service, sc scope) model.Deployment {
	digits := digits19()
	deployID := "ecs-svc/" + digits
	return model.Deployment{
		ID:                       deployID,
		Status:                   model.DeploymentPrimary,
		TaskDefinition:           svc.Spec.TaskDefinition,
		LaunchType:               svc.Spec.LaunchType,
		CapacityProviderStrategy: svc.Spec.CapacityProviderStrategy,
		PlatformVersion:          svc.Spec.PlatformVersion,
		PlatformFamily:           svc.Spec.PlatformFamily,
		NetworkConfiguration:     svc.Spec.NetworkConfiguration,
		LoadBalancers:            svc.Spec.LoadBalancers,
		ServiceRegistries:        svc.Spec.ServiceRegistries,
		EnableExecuteCommand:     svc.Spec.EnableExecuteCommand,
		CreatedAt:                sc.now,
		UpdatedAt:                sc.now,
		RevisionID:               digits,
		DesiredCount:             svc.Spec.DesiredCount,
		RolloutState:             model.RolloutInProgress,
		RolloutStateReason:       "ECS deployment " + deployID + " in progress.",
	}
}

// UpdateService changes a service. A change that running tasks cannot take
// over makes a new PRIMARY deployment.
func (s *Service) UpdateService(ctx context.Context, in *ecs.UpdateServiceInput) (*ecs.UpdateServiceOutput, error) {
	sc := scopeOf(ctx)
	switch {
	case len(in.VolumeConfigurations) > 0:
		return nil, unsupported("The parameter volumeConfigurations")
	case len(in.VpcLatticeConfigurations) > 0:
		return nil, unsupported("The parameter vpcLatticeConfigurations")
	case in.ServiceConnectConfiguration != nil && val(in.ServiceConnectConfiguration.Enabled):
		return nil, unsupported("Service Connect")
	case in.DeploymentController != nil && in.DeploymentController.Type != ecs.DeploymentControllerTypeEcs:
		return nil, unsupported("The deployment controller " + string(in.DeploymentController.Type))
	}
	return retry(ctx, func() (*ecs.UpdateServiceOutput, error) {
		cluster, err := s.activeCluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		row, err := s.service(ctx, sc, cluster.V.ClusterName, val(in.Service))
		if err != nil {
			return nil, err
		}
		if row.V.Status != model.ECSActive {
			return nil, ecs.NewServiceNotActiveException("Service was not ACTIVE.")
		}
		svc := row.Copy()
		tx := store.NewTxn()
		if err := s.updateSpec(ctx, sc, tx, cluster.V, svc, in); err != nil {
			return nil, err
		}
		if val(in.ForceNewDeployment) || deploys(&row.V.Spec, &svc.Spec) {
			if err := s.finishDeployments(ctx, sc, tx, row.V); err != nil {
				return nil, err
			}
			var replaced []string
			for i := range svc.Deployments {
				svc.Deployments[i].Status = model.DeploymentActive
				replaced = append(replaced, svc.Deployments[i].RevisionID)
			}
			svc.Deployments = slices.Insert(svc.Deployments, 0, newDeployment(svc, sc))
			recordDeployment(tx, sc, svc, replaced)
		}
		tables.ECSServices.Replace(tx, row, svc)
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		events, err := s.events(ctx, sc, row.Key.ID)
		if err != nil {
			return nil, err
		}
		out := showService(svc, events, true)
		return &ecs.UpdateServiceOutput{Service: &out}, nil
	})
}

// deploys tells whether tasks of the old spec do not fit the new one.
func deploys(old, spec *model.ServiceSpec) bool {
	return old.TaskDefinition != spec.TaskDefinition ||
		old.PlatformVersion != spec.PlatformVersion ||
		old.LaunchType != spec.LaunchType ||
		!slices.Equal(old.CapacityProviderStrategy, spec.CapacityProviderStrategy) ||
		!sameJSON(old.NetworkConfiguration, spec.NetworkConfiguration) ||
		!sameJSON(old.LoadBalancers, spec.LoadBalancers)
}

// updateSpec checks what the request changes and nothing else: what a service
// stands on may be going while it is scaled down.
func (s *Service) updateSpec(ctx context.Context, sc scope, tx *store.Txn, c *model.Cluster, svc *model.Service, in *ecs.UpdateServiceInput) error {
	spec := &svc.Spec
	ref := spec.TaskDefinition
	if val(in.TaskDefinition) != "" {
		ref = *in.TaskDefinition
	}
	def, err := s.taskDefinition(ctx, sc, ref)
	changed := err != nil || def.V.TaskDefinitionARN != spec.TaskDefinition
	relaunch := changed && val(in.TaskDefinition) != "" || val(in.ForceNewDeployment) || in.PlatformVersion != nil ||
		in.NetworkConfiguration != nil || in.CapacityProviderStrategy != nil
	switch {
	case errors.Is(err, errNoTaskDefinition) && !relaunch:
		def.V = &model.TaskDefinition{}
	case errors.Is(err, errNoTaskDefinition):
		return ecs.NewClientException("TaskDefinition not found.")
	case err != nil:
		return err
	}
	vpcID := ""
	if relaunch {
		// A service goes on with a revision that was deregistered, but does not
		// go to one.
		if changed && def.V.Status != model.ECSActive {
			return ecs.NewClientException("TaskDefinition is inactive")
		}
		if err := sc.passRole(ctx, sc.roleARN(def.V.TaskRoleARN), sc.roleARN(def.V.ExecutionRoleARN)); err != nil {
			return err
		}
		tables.ECSTaskDefinitions.Check(tx, def)
		if vpcID, err = s.relaunch(ctx, sc, c, spec, def.V, in); err != nil {
			return err
		}
	}
	if vpcID == "" && in.LoadBalancers != nil {
		if vpcID, err = s.vpcOf(ctx, sc, spec.NetworkConfiguration); err != nil {
			return err
		}
	}
	if in.PropagateTags != "" {
		spec.PropagateTags = string(in.PropagateTags)
	}
	if in.EnableECSManagedTags != nil {
		spec.EnableECSManagedTags = *in.EnableECSManagedTags
	}
	change := serviceChange{
		desiredCount: in.DesiredCount, deploymentConfiguration: in.DeploymentConfiguration,
		loadBalancers: in.LoadBalancers, registries: in.ServiceRegistries, gracePeriod: in.HealthCheckGracePeriodSeconds,
		constraints: in.PlacementConstraints, strategy: in.PlacementStrategy,
		exec: val(in.EnableExecuteCommand), rebalancing: in.AvailabilityZoneRebalancing,
	}
	return s.applyChange(ctx, sc, spec, def.V, vpcID, change)
}

// relaunch gives the spec the launch parameters of the request, and tells the
// VPC that its tasks are in.
func (s *Service) relaunch(ctx context.Context, sc scope, c *model.Cluster, spec *model.ServiceSpec, d *model.TaskDefinition, in *ecs.UpdateServiceInput) (string, error) {
	spec.TaskDefinition = d.TaskDefinitionARN
	req := launchRequest{launchType: ecs.LaunchType(spec.LaunchType), platformVersion: in.PlatformVersion, network: in.NetworkConfiguration}
	req.strategy = convertedList[ecs.CapacityProviderStrategyItem](spec.CapacityProviderStrategy)
	if in.CapacityProviderStrategy != nil {
		if !val(in.ForceNewDeployment) {
			return "", ecs.NewInvalidParameterException("A new deployment must be forced when you change the capacity provider strategy of a service.")
		}
		// None at all is the way back to the launch type that the service began
		// with.
		req.strategy, req.launchType = in.CapacityProviderStrategy, ""
		if len(req.strategy) > 0 && spec.SchedulingStrategy == string(ecs.SchedulingStrategyDaemon) {
			return "", errDaemonStrategy()
		}
		if len(req.strategy) == 0 {
			req.launchType = ecs.LaunchType(spec.FirstLaunchType)
		}
		// What is of the other kind of provider does not move with it.
		if in.PlatformVersion == nil {
			spec.PlatformVersion = ""
		}
	}
	if req.platformVersion == nil && spec.PlatformVersion != "" {
		req.platformVersion = &spec.PlatformVersion
	}
	if req.network == nil && spec.NetworkConfiguration != nil && d.NetworkMode == "awsvpc" {
		req.network = converted[ecs.NetworkConfiguration](spec.NetworkConfiguration)
	}
	l, err := s.resolveLaunch(ctx, sc, c, d, req)
	if err != nil {
		return "", err
	}
	spec.LaunchType, spec.CapacityProviderStrategy = l.launchType, l.strategy
	spec.PlatformVersion, spec.PlatformFamily = l.platformVersion, l.platformFamily
	spec.NetworkConfiguration = nil
	if l.network != nil {
		spec.NetworkConfiguration = &model.ECSNetworkConfiguration{AwsvpcConfiguration: l.network}
	}
	return l.vpcID, nil
}

// DeleteService empties a service; the controller ends it when its last task
// has stopped.
func (s *Service) DeleteService(ctx context.Context, in *ecs.DeleteServiceInput) (*ecs.DeleteServiceOutput, error) {
	sc := scopeOf(ctx)
	return retry(ctx, func() (*ecs.DeleteServiceOutput, error) {
		cluster, err := s.cluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		row, err := s.service(ctx, sc, cluster.V.ClusterName, val(in.Service))
		if err != nil {
			return nil, err
		}
		events, err := s.events(ctx, sc, row.Key.ID)
		if err != nil {
			return nil, err
		}
		svc := row.V
		switch {
		case svc.Status == model.ECSInactive:
			return nil, errServiceNotFound()
		case svc.Status == model.ECSDraining:
		case svc.Spec.DesiredCount > 0 && svc.Spec.SchedulingStrategy != string(ecs.SchedulingStrategyDaemon) && !val(in.Force):
			return nil, ecs.NewInvalidParameterException("The service cannot be stopped while it is scaled above 0.")
		default:
			svc = row.Copy()
			svc.Status = model.ECSDraining
			svc.Spec.DesiredCount = 0
			svc.DeletedAt = sc.now
			tx := store.NewTxn()
			tables.ECSServices.Replace(tx, row, svc)
			if _, err := tx.Commit(ctx, s.store); err != nil {
				return nil, err
			}
		}
		out := showService(svc, events, true)
		return &ecs.DeleteServiceOutput{Service: &out}, nil
	})
}
