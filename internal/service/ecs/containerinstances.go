package ecs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/clusterquery"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Fleet tells what container instances have left. *fleet.Book does.
type Fleet interface {
	// Remaining tells the ports in use too; false for an instance that it does
	// not know.
	Remaining(account, region, cluster, instance string) (placement.Resources, []placement.Port, bool)
}

// containerInstance reads the container instance that ref means, and tells its
// ARN whether it is there or not.
func (s *Service) containerInstance(ctx context.Context, sc scope, cluster, ref string) (row store.Row[model.ContainerInstance], arn string, err error) {
	recordID, err := child("container-instance", cluster, ref)
	if err != nil {
		return row, "", err
	}
	if !sc.inScope(ref) {
		return row, ref, store.ErrNotFound
	}
	arn = model.ECSContainerInstanceARN(sc.region, sc.account, cluster, strings.TrimPrefix(recordID, cluster+"/"))
	row, err = tables.ECSContainerInstances.Get(ctx, s.store, sc.account, sc.region, recordID)
	if err == nil && row.V.Status == model.ContainerInstanceInactive && sc.now.Sub(row.V.DeregisteredAt) > model.ContainerInstanceRetention {
		return row, arn, store.ErrNotFound
	}
	return row, arn, err
}

// DescribeContainerInstances shows container instances.
func (s *Service) DescribeContainerInstances(ctx context.Context, in *ecs.DescribeContainerInstancesInput) (*ecs.DescribeContainerInstancesOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	switch n := len(in.ContainerInstances); {
	case n == 0:
		return nil, ecs.NewInvalidParameterException("Container instance cannot be empty.")
	case n > 100:
		return nil, ecs.NewInvalidParameterException("instanceIds can have at most 100 items.")
	}
	out := &ecs.DescribeContainerInstancesOutput{ContainerInstances: []ecs.ContainerInstance{}, Failures: []ecs.Failure{}}
	for _, ref := range in.ContainerInstances {
		row, arn, err := s.containerInstance(ctx, sc, cluster.V.ClusterName, ref)
		if errors.Is(err, store.ErrNotFound) {
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		shown, err := s.showContainerInstance(ctx, sc, row.V, in.Include)
		if err != nil {
			return nil, err
		}
		out.ContainerInstances = append(out.ContainerInstances, *shown)
	}
	return out, nil
}

// tasksOn lists the tasks of an instance that have not stopped.
func (s *Service) tasksOn(ctx context.Context, sc scope, i *model.ContainerInstance) ([]store.Row[model.Task], error) {
	return tables.ECSTasks.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Prefix: i.ClusterName + "/", Index: store.Index{Name: tables.ByNode, Value: i.ID},
	})
}

// instanceTasks counts the tasks of an instance.
type instanceTasks struct {
	running, pending int
	groups           map[string]int
}

func (s *Service) countTasksOn(ctx context.Context, sc scope, i *model.ContainerInstance) (instanceTasks, error) {
	c := instanceTasks{groups: map[string]int{}}
	rows, err := s.tasksOn(ctx, sc, i)
	for _, r := range rows {
		c.groups[r.V.Spec.Group]++
		switch r.V.Status.LastStatus {
		case model.TaskRunning:
			c.running++
		case model.TaskProvisioning, model.TaskPending, model.TaskActivating:
			c.pending++
		}
	}
	return c, err
}

func (s *Service) showContainerInstance(ctx context.Context, sc scope, i *model.ContainerInstance, include []ecs.ContainerInstanceField) (*ecs.ContainerInstance, error) {
	count, err := s.countTasksOn(ctx, sc, i)
	if err != nil {
		return nil, err
	}
	total := placement.Resources{CPU: i.CPU, Memory: i.Memory, GPUs: len(i.GPUs)}
	left, used := total, reserved(i)
	if s.fleet != nil {
		if r, p, ok := s.fleet.Remaining(sc.account, sc.region, i.ClusterName, i.ID); ok {
			left, used = r, p
		}
	}
	out := &ecs.ContainerInstance{
		ContainerInstanceArn: &i.ARN, Status: &i.Status, AgentConnected: &i.Connection.Connected,
		RegisteredAt: &i.RegisteredAt, Version: &i.Version,
		RunningTasksCount: new(int32(count.running)), PendingTasksCount: new(int32(count.pending)),
		RegisteredResources: resourceList(i, total, reserved(i)), RemainingResources: resourceList(i, left, used),
		Attributes: attributesOf(i), Attachments: []ecs.Attachment{}, Tags: []ecs.Tag{},
		VersionInfo: &ecs.VersionInfo{},
	}
	optional := func(to **string, v string) {
		if v != "" {
			*to = &v
		}
	}
	optional(&out.Ec2InstanceId, i.EC2InstanceID)
	optional(&out.CapacityProviderName, i.CapacityProviderName)
	optional(&out.StatusReason, i.StatusReason)
	optional(&out.VersionInfo.AgentVersion, i.AgentVersion)
	optional(&out.VersionInfo.AgentHash, i.AgentHash)
	optional(&out.VersionInfo.DockerVersion, i.DockerVersion)
	for _, f := range include {
		switch f {
		case ecs.ContainerInstanceFieldTags:
			out.Tags = tagList[ecs.Tag](i.Tags)
		case ecs.ContainerInstanceFieldContainerInstanceHealth:
			out.HealthStatus = healthOf(i)
		}
	}
	return out, nil
}

// healthOf is what the agent said of its container runtime; while it is not
// connected nobody knows.
func healthOf(i *model.ContainerInstance) *ecs.ContainerInstanceHealthStatus {
	state := ecs.InstanceHealthCheckStateOk
	var reason *string
	switch c := i.Connection; {
	case !c.Connected:
		state = ecs.InstanceHealthCheckStateInsufficientData
	case c.Impaired != "":
		state, reason = ecs.InstanceHealthCheckStateImpaired, new(c.Impaired)
	}
	check := ecs.InstanceHealthCheckResult{
		Type: ecs.InstanceHealthCheckTypeContainerRuntime, Status: state, StatusReason: reason,
		LastUpdated: moment(i.Connection.Since), LastStatusChange: moment(i.Connection.Since),
	}
	return &ecs.ContainerInstanceHealthStatus{OverallStatus: state, Details: []ecs.InstanceHealthCheckResult{check}}
}

func reserved(i *model.ContainerInstance) []placement.Port {
	var out []placement.Port
	for _, n := range i.ReservedPorts {
		out = append(out, placement.Port{Number: uint16(n)})
	}
	for _, n := range i.ReservedUDPPorts {
		out = append(out, placement.Port{Number: uint16(n), UDP: true})
	}
	return out
}

// resourceList shows resources. GPUs are shown by their ids; of those that
// remain nobody knows which they are, but how many.
func resourceList(i *model.ContainerInstance, r placement.Resources, used []placement.Port) []ecs.Resource {
	tcp, udp := []string{}, []string{}
	for _, p := range used {
		if n := strconv.Itoa(int(p.Number)); p.UDP {
			udp = append(udp, n)
		} else {
			tcp = append(tcp, n)
		}
	}
	number := func(name string, n int) ecs.Resource {
		return ecs.Resource{Name: &name, Type: new("INTEGER"), IntegerValue: new(int32(n)), LongValue: new(int64(0)), DoubleValue: new(0.0)}
	}
	set := func(name string, v []string) ecs.Resource {
		return ecs.Resource{Name: &name, Type: new("STRINGSET"), StringSetValue: v, IntegerValue: new(int32(0)), LongValue: new(int64(0)), DoubleValue: new(0.0)}
	}
	out := []ecs.Resource{number("CPU", r.CPU), number("MEMORY", r.Memory), set("PORTS", tcp), set("PORTS_UDP", udp)}
	if len(i.GPUs) > 0 {
		out = append(out, set("GPU", i.GPUs[:min(max(0, r.GPUs), len(i.GPUs))]))
	}
	return out
}

// attributesOf lists the attributes by name.
func attributesOf(i *model.ContainerInstance) []ecs.Attribute {
	out := []ecs.Attribute{}
	for _, name := range slices.Sorted(maps.Keys(i.Attributes)) {
		a := ecs.Attribute{Name: &name}
		if v := i.Attributes[name]; v != "" {
			a.Value = &v
		}
		out = append(out, a)
	}
	return out
}

// ListContainerInstances lists the instances of a cluster, those that are
// INACTIVE only when they are asked for.
func (s *Service) ListContainerInstances(ctx context.Context, in *ecs.ListContainerInstancesInput) (*ecs.ListContainerInstancesOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	name := cluster.V.ClusterName
	filters := []string{"ListContainerInstances", name, val(in.Filter), string(in.Status)}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	var query *clusterquery.Query
	if val(in.Filter) != "" {
		if query, err = clusterquery.Parse(*in.Filter); err != nil {
			return nil, ecs.NewInvalidParameterException("Invalid filter: %s", err)
		}
	}
	var failed error
	rows, last, more, err := collect(ctx, s, tables.ECSContainerInstances, store.Query{Account: sc.account, Region: sc.region, Prefix: name + "/", After: after}, limit,
		func(i *model.ContainerInstance) bool {
			if in.Status == "" && i.Status == model.ContainerInstanceInactive || in.Status != "" && string(in.Status) != i.Status {
				return false
			}
			if query == nil {
				return true
			}
			var count instanceTasks
			if !query.Static() {
				var err error
				if count, err = s.countTasksOn(ctx, sc, i); err != nil {
					failed = err
				}
			}
			return query.Selects(&clusterquery.Instance{
				AgentConnected: i.Connection.Connected, AgentVersion: i.AgentVersion, Attributes: i.Attributes, EC2InstanceID: i.EC2InstanceID,
				RegisteredAt: i.RegisteredAt, RunningTasksCount: count.running, TaskGroups: count.groups,
			})
		})
	if err := errors.Join(err, failed); err != nil {
		return nil, err
	}
	out := &ecs.ListContainerInstancesOutput{ContainerInstanceArns: []string{}, NextToken: sc.token(more, last, filters...)}
	for _, r := range rows {
		out.ContainerInstanceArns = append(out.ContainerInstanceArns, r.V.ARN)
	}
	return out, nil
}

// UpdateContainerInstancesState drains instances, or lets them take tasks
// again.
func (s *Service) UpdateContainerInstancesState(ctx context.Context, in *ecs.UpdateContainerInstancesStateInput) (*ecs.UpdateContainerInstancesStateOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Status != ecs.ContainerInstanceStatusActive && in.Status != ecs.ContainerInstanceStatusDraining:
		return nil, ecs.NewInvalidParameterException("Container instance status should be one of [ACTIVE, DRAINING].")
	case len(in.ContainerInstances) == 0:
		return nil, ecs.NewInvalidParameterException("Container instances cannot be empty.")
	case len(in.ContainerInstances) > 10:
		return nil, ecs.NewInvalidParameterException("instanceIds can have at most 10 items.")
	}
	out := &ecs.UpdateContainerInstancesStateOutput{ContainerInstances: []ecs.ContainerInstance{}, Failures: []ecs.Failure{}}
	for _, ref := range in.ContainerInstances {
		row, arn, err := s.containerInstance(ctx, sc, cluster.V.ClusterName, ref)
		if err == nil {
			row, err = tables.ECSContainerInstances.Update(ctx, s.store, sc.account, sc.region, row.Key.ID, func(i *model.ContainerInstance) error {
				switch i.Status {
				case string(in.Status):
					return store.ErrUnchanged
				case model.ContainerInstanceInactive:
					return errInactive
				}
				i.Status = string(in.Status)
				i.Version++
				return nil
			})
		}
		switch {
		case errors.Is(err, errInactive):
			out.Failures = append(out.Failures, ecs.Failure{Arn: new(arn), Reason: new("INACTIVE")})
			continue
		case errors.Is(err, store.ErrNotFound):
			out.Failures = append(out.Failures, missing(arn))
			continue
		case err != nil:
			return nil, err
		}
		shown, err := s.showContainerInstance(ctx, sc, row.V, nil)
		if err != nil {
			return nil, err
		}
		out.ContainerInstances = append(out.ContainerInstances, *shown)
	}
	return out, nil
}

// errInactive is internal.
var errInactive = errors.New("the container instance is inactive")

// UpdateContainerAgent has nothing to update: agents come with the server, or
// are the user's.
func (s *Service) UpdateContainerAgent(ctx context.Context, in *ecs.UpdateContainerAgentInput) (*ecs.UpdateContainerAgentOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	row, _, err := s.containerInstance(ctx, sc, cluster.V.ClusterName, val(in.ContainerInstance))
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ContainerInstanceInactive:
		return nil, ecs.NewInvalidParameterException("Referenced container instance %s not found.", val(in.ContainerInstance))
	case err != nil:
		return nil, err
	case row.V.AgentVersion == "":
		return nil, ecs.NewMissingVersionException("Amazon ECS can't determine the current version of the Amazon ECS container agent on the container instance.")
	}
	return nil, ecs.NewNoUpdateAvailableException("There is no update available for your container agent.")
}
