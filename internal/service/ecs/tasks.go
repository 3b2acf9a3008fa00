package ecs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/spread"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxRunCount is how many tasks one RunTask may start.
const maxRunCount = 10

// clientTokenLife is how long a client token is remembered.
const clientTokenLife = 24 * time.Hour

// RunTask makes tasks; the controllers bring them up.
func (s *Service) RunTask(ctx context.Context, in *ecs.RunTaskInput) (*ecs.RunTaskOutput, error) {
	sc := scopeOf(ctx)
	count := 1
	if in.Count != nil {
		count = int(*in.Count)
	}
	switch {
	case count < 1:
		return nil, ecs.NewInvalidParameterException("Count cannot be less than 1.")
	case count > maxRunCount:
		return nil, ecs.NewInvalidParameterException("Count cannot be greater than %d.", maxRunCount)
	case len(val(in.ClientToken)) > 64:
		return nil, ecs.NewInvalidParameterException("clientToken cannot be longer than 64 characters.")
	}
	if err := checkRun(in); err != nil {
		return nil, err
	}
	hash, err := requestHash(in)
	if err != nil {
		return nil, err
	}
	return retry(ctx, func() (*ecs.RunTaskOutput, error) {
		cluster, err := s.activeCluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		tx := store.NewTxn()
		tables.ECSClusters.Check(tx, cluster)
		token, again, err := s.clientToken(ctx, sc, cluster.V.ClusterName, val(in.ClientToken), hash)
		if again != nil || err != nil {
			return again, err
		}
		def, err := s.runnableTaskDefinition(ctx, sc, val(in.TaskDefinition))
		if err != nil {
			return nil, err
		}
		tables.ECSTaskDefinitions.Check(tx, def)
		l, params, err := s.taskParams(ctx, sc, cluster.V, def.V, in)
		if err != nil {
			return nil, err
		}
		tasks := make([]*model.Task, count)
		for i := range tasks {
			tasks[i] = model.NewTask(params(i))
		}
		out := &ecs.RunTaskOutput{Tasks: []ecs.Task{}, Failures: []ecs.Failure{}}
		homes := &placed{tasks: tasks, failures: out.Failures}
		if !l.fargate() {
			if homes, err = s.place(ctx, sc, cluster, def.V, l, tasks); err != nil {
				return nil, err
			}
			defer homes.drop()
			tasks, out.Failures = homes.tasks, homes.failures
			if len(tasks) == 0 {
				return out, nil
			}
		}
		var arns []string
		for _, t := range tasks {
			tables.ECSTasks.Create(tx, sc.account, sc.region, t.ClusterName+"/"+t.TaskID, t)
			out.Tasks = append(out.Tasks, showTask(t, true))
			arns = append(arns, t.TaskARN)
		}
		if token.Key.ID != "" {
			tables.ECSClientTokens.Replace(tx, token, &model.ECSClientToken{RequestHash: hash, Resources: arns, ExpiresAt: sc.now.Add(clientTokenLife)})
		}
		return out, homes.commit(ctx, s.store, tx)
	})
}

// checkRun checks what needs no look at the store.
func checkRun(in *ecs.RunTaskInput) error {
	switch {
	case len(val(in.StartedBy)) > 128:
		return ecs.NewInvalidParameterException("startedBy cannot be longer than 128 characters.")
	case strings.HasPrefix(val(in.Group), "service:"):
		return ecs.NewInvalidParameterException("Group name cannot start with 'service:'.")
	case val(in.EnableExecuteCommand):
		return unsupported("ECS Exec")
	case len(in.VolumeConfigurations) > 0:
		return unsupported("The parameter volumeConfigurations")
	case in.PropagateTags == ecs.PropagateTagsService:
		return ecs.NewInvalidParameterException("Tags can only be propagated from the task definition when you run a task.")
	}
	return checkTags(in.Tags)
}

// requestHash is the same for the same request.
func requestHash(in any) (string, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("hash of a request: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// clientToken answers a repeated RunTask with the tasks of the first one. Else
// it returns the row to write the token under, zero without a token.
func (s *Service) clientToken(ctx context.Context, sc scope, cluster, token, hash string) (row store.Row[model.ECSClientToken], again *ecs.RunTaskOutput, err error) {
	if token == "" {
		return row, nil, nil
	}
	row, err = tables.ECSClientTokens.Get(ctx, s.store, sc.account, sc.region, "RunTask/"+cluster+"/"+token)
	if errors.Is(err, store.ErrNotFound) {
		return row, nil, nil
	}
	if err != nil || !sc.now.Before(row.V.ExpiresAt) {
		return row, nil, err
	}
	if row.V.RequestHash != hash {
		e := ecs.NewConflictException("The RunTask request could not be processed due to conflicts. The provided clientToken is already in use with a different RunTask request. The resourceIds are the existing task ARNs which are already associated with the clientToken.")
		e.ResourceIds = row.V.Resources
		return row, nil, e
	}
	again = &ecs.RunTaskOutput{Tasks: []ecs.Task{}, Failures: []ecs.Failure{}}
	for _, arn := range row.V.Resources {
		t, err := tables.ECSTasks.Get(ctx, s.store, sc.account, sc.region, model.ECSResourceID(arn))
		if errors.Is(err, store.ErrNotFound) {
			again.Failures = append(again.Failures, missing(arn))
			continue
		}
		if err != nil {
			return row, nil, err
		}
		again.Tasks = append(again.Tasks, showTask(t.V, true))
	}
	return row, again, nil
}

// taskParams checks the request and gives the parameters of its nth task.
func (s *Service) taskParams(ctx context.Context, sc scope, c *model.Cluster, d *model.TaskDefinition, in *ecs.RunTaskInput) (*launch, func(n int) model.NewTaskParams, error) {
	l, err := s.resolveLaunch(ctx, sc, c, d, launchRequest{
		launchType: in.LaunchType, strategy: in.CapacityProviderStrategy, platformVersion: in.PlatformVersion, network: in.NetworkConfiguration,
	})
	if err != nil {
		return nil, nil, err
	}
	overrides := model.TaskOverride{}
	if in.Overrides != nil {
		convert(&overrides, in.Overrides)
		if err := checkOverrides(d, &overrides, in.Overrides, l.fargate()); err != nil {
			return nil, nil, err
		}
	}
	constraints, strategy, err := placementOf(l, d, in.PlacementConstraints, in.PlacementStrategy)
	if err != nil {
		return nil, nil, err
	}
	params := model.NewTaskParams{
		Account: sc.account, Region: sc.region, Cluster: c, Definition: d,
		NewID: id.UUID, Now: sc.now,
		LaunchType: l.launchType, PlatformVersion: l.platformVersion, Network: l.network,
		Overrides: overrides,
		Group:     val(in.Group),
		StartedBy: val(in.StartedBy),

		PlacementConstraints: slices.Concat(d.PlacementConstraints, constraints),
		PlacementStrategy:    strategy,
	}
	if params.Group == "" {
		params.Group = "family:" + d.Family
	}
	taskRole, executionRole := sc.roleARN(d.TaskRoleARN), sc.roleARN(d.ExecutionRoleARN)
	if overrides.TaskRoleARN != "" {
		taskRole = sc.roleARN(overrides.TaskRoleARN)
	}
	if overrides.ExecutionRoleARN != "" {
		executionRole = sc.roleARN(overrides.ExecutionRoleARN)
	}
	if err := sc.passRole(ctx, taskRole, executionRole); err != nil {
		return nil, nil, err
	}
	if err := s.roleExists(ctx, sc, taskRole, executionRole); err != nil {
		return nil, nil, err
	}
	params.Tags = model.Tags{}
	if in.PropagateTags == ecs.PropagateTagsTaskDefinition {
		maps.Copy(params.Tags, d.Tags)
	}
	maps.Copy(params.Tags, tagsOf(in.Tags))
	if val(in.EnableECSManagedTags) {
		params.Tags["aws:ecs:clusterName"] = c.ClusterName
	}
	count := 1
	if in.Count != nil {
		count = int(*in.Count)
	}
	var shares []spread.Provider
	for _, i := range l.strategy {
		shares = append(shares, spread.Provider{Name: i.CapacityProvider, Base: i.Base, Weight: i.Weight})
	}
	providers := spread.Providers(shares, nil, count)
	return l, func(n int) model.NewTaskParams {
		p := params
		p.TaskID = id.Hex(32)
		if l.fargate() && len(l.subnets) > 0 {
			subnet := l.subnets[n%len(l.subnets)]
			p.SubnetID, p.AvailabilityZone = subnet.ID, subnet.Zone
		}
		if len(l.strategy) > 0 {
			p.LaunchType, p.CapacityProviderName = model.LaunchTypeEC2, providers[n]
			if l.fargate() {
				p.LaunchType = model.LaunchTypeFargate
			}
		}
		p.Tags = maps.Clone(p.Tags)
		return p
	}, nil
}

func checkOverrides(d *model.TaskDefinition, o *model.TaskOverride, in *ecs.TaskOverride, fargate bool) error {
	if len(in.InferenceAcceleratorOverrides) > 0 {
		return ecs.NewInvalidParameterException("Amazon Elastic Inference is no longer available.")
	}
	names := map[string]bool{}
	for i := range d.ContainerDefinitions {
		names[d.ContainerDefinitions[i].Name] = true
	}
	for _, c := range o.ContainerOverrides {
		switch {
		case !names[c.Name]:
			return ecs.NewInvalidParameterException("Override for container named %s is not a container in the TaskDefinition.", c.Name)
		case len(c.EnvironmentFiles) > 0:
			if text := badEnvironmentFiles(c.EnvironmentFiles, cmp.Or(o.ExecutionRoleARN, d.ExecutionRoleARN)); text != "" {
				return ecs.NewInvalidParameterException("%s", text)
			}
		}
		switch {
		case len(c.ResourceRequirements) > 0:
			if !fargate {
				return unsupported("The container override resourceRequirements")
			}
			return ecs.NewInvalidParameterException("Resource requirement overrides are not supported with FARGATE launch type.")
		}
	}
	if b, _ := json.Marshal(o); len(b) > 8192 {
		return ecs.NewInvalidParameterException("Container Overrides length must be at most 8192")
	}
	o.CPU, o.Memory = cpuUnits(o.CPU), mebibytes(o.Memory)
	cpu, memory := d.CPU, d.Memory
	if o.CPU != "" {
		cpu = o.CPU
	}
	if o.Memory != "" {
		memory = o.Memory
	}
	if fargate && (o.CPU != "" || o.Memory != "") {
		if err := checkFargateSize(cpu, memory); err != nil {
			return err
		}
	}
	for _, role := range []string{o.TaskRoleARN, o.ExecutionRoleARN} {
		if role != "" && !roleReference.MatchString(role) {
			return ecs.NewClientException("Role is not valid")
		}
	}
	if e := o.EphemeralStorage; e != nil && (e.SizeInGiB < 21 || e.SizeInGiB > 200) {
		return ecs.NewInvalidParameterException("The ephemeral storage sizeInGiB must be between 21 and 200.")
	}
	return nil
}

// StopTask asks for a task's end.
func (s *Service) StopTask(ctx context.Context, in *ecs.StopTaskInput) (*ecs.StopTaskOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	recordID, err := child("task", cluster.V.ClusterName, val(in.Task))
	if err != nil {
		return nil, err
	}
	reason := val(in.Reason)
	switch {
	case len(reason) > 1024:
		return nil, ecs.NewInvalidParameterException("reason cannot be longer than 1024 characters.")
	case reason == "":
		reason = "Task stopped by user"
	}
	row, err := tables.ECSTasks.Update(ctx, s.store, sc.account, sc.region, recordID, func(t *model.Task) error {
		if !t.Stop(model.StopUserInitiated, reason, sc.now) {
			return store.ErrUnchanged
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && !sc.inScope(val(in.Task)) {
		return nil, ecs.NewInvalidParameterException("The referenced task was not found.")
	}
	if err != nil {
		return nil, err
	}
	t := showTask(row.V, false)
	return &ecs.StopTaskOutput{Task: &t}, nil
}
