package ecs

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DescribeTasks shows tasks, stopped ones too while they are kept.
func (s *Service) DescribeTasks(ctx context.Context, in *ecs.DescribeTasksInput) (*ecs.DescribeTasksOutput, error) {
	sc := scopeOf(ctx)
	switch n := len(in.Tasks); {
	case n == 0:
		return nil, ecs.NewInvalidParameterException("Tasks cannot be empty.")
	case n > 100:
		return nil, ecs.NewInvalidParameterException("taskIds can have at most 100 items.")
	}
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &ecs.DescribeTasksOutput{Tasks: []ecs.Task{}, Failures: []ecs.Failure{}}
	for _, ref := range in.Tasks {
		row, arn, err := s.task(ctx, sc, cluster.V.ClusterName, ref)
		if errors.Is(err, store.ErrNotFound) {
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Tasks = append(out.Tasks, showTask(row.V, slices.Contains(in.Include, ecs.TaskFieldTags)))
	}
	return out, nil
}

// task reads the task that ref means, and tells its ARN whether it is there or
// not.
func (s *Service) task(ctx context.Context, sc scope, cluster, ref string) (row store.Row[model.Task], arn string, err error) {
	recordID, err := child("task", cluster, ref)
	if err != nil {
		return row, "", err
	}
	if !sc.inScope(ref) {
		return row, ref, store.ErrNotFound
	}
	row, err = tables.ECSTasks.Get(ctx, s.store, sc.account, sc.region, recordID)
	return row, model.ECSTaskARN(sc.region, sc.account, cluster, strings.TrimPrefix(recordID, cluster+"/")), err
}

// showTask is a task as the API has it.
func showTask(t *model.Task, withTags bool) ecs.Task {
	var out ecs.Task
	convert(&out, &t.Spec)
	convert(&out, &t.Status)
	out.TaskArn, out.ClusterArn = &t.TaskARN, &t.ClusterARN
	out.TaskDefinitionArn = &t.Spec.TaskDefinitionARN
	out.DesiredStatus = &t.Desired.Status
	out.StopCode = ecs.TaskStopCode(t.Desired.StopCode)
	out.Tags = []ecs.Tag{}
	if withTags {
		out.Tags = tagList[ecs.Tag](t.Tags)
	}
	if t.Desired.StoppedReason != "" {
		out.StoppedReason = new(t.Desired.StoppedReason)
	}
	out.StoppingAt = moment(t.Desired.StoppingAt)
	out.PullStartedAt = moment(t.Observed.PullStartedAt)
	out.PullStoppedAt = moment(t.Observed.PullStoppedAt)
	out.ExecutionStoppedAt = moment(t.Observed.ExecutionStoppedAt)
	out.HealthStatus = ecs.HealthStatusUnknown
	if h := t.Observed.HealthStatus; h != "" {
		out.HealthStatus = ecs.HealthStatus(h)
	}
	out.Attachments = orEmpty(out.Attachments)
	if t.Spec.CPUArchitecture != "" {
		out.Attributes = []ecs.Attribute{{Name: new("ecs.cpu-architecture"), Value: new(strings.ToLower(t.Spec.CPUArchitecture))}}
	}
	out.Overrides.ContainerOverrides = showOverrides(t)
	if t.Spec.LaunchType == model.LaunchTypeFargate {
		size := int32(20)
		if e := t.Spec.EphemeralStorage; e != nil {
			size = int32(e.SizeInGiB)
		}
		out.EphemeralStorage = &ecs.EphemeralStorage{SizeInGiB: new(size)}
		out.FargateEphemeralStorage = &ecs.TaskEphemeralStorage{SizeInGiB: new(size)}
	}
	out.Containers = showContainers(t)
	return out
}

// moment is a time that is absent when it has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// showOverrides names every container, as AWS does, overridden or not.
func showOverrides(t *model.Task) []ecs.ContainerOverride {
	out := convertedList[ecs.ContainerOverride](t.Spec.Overrides.ContainerOverrides)
	for _, c := range t.Spec.Containers {
		if !slices.ContainsFunc(out, func(o ecs.ContainerOverride) bool { return val(o.Name) == c.Name }) {
			out = append(out, ecs.ContainerOverride{Name: new(c.Name)})
		}
	}
	return out
}

func showContainers(t *model.Task) []ecs.Container {
	out := []ecs.Container{}
	var interfaces []ecs.NetworkInterface
	if eni := t.ENI(); eni != nil {
		if ip := eni.Detail("privateIPv4Address"); ip != "" {
			interfaces = append(interfaces, ecs.NetworkInterface{AttachmentId: new(eni.ID), PrivateIpv4Address: new(ip)})
		}
	}
	for _, spec := range t.Spec.Containers {
		var c ecs.Container
		convert(&c, &spec)
		c.ContainerArn, c.TaskArn = new(spec.ARN), new(t.TaskARN)
		c.LastStatus = new(model.TaskPending)
		if t.Status.LastStatus == model.TaskStopped {
			c.LastStatus = new(model.TaskStopped)
		}
		c.HealthStatus = ecs.HealthStatusUnknown
		if state := t.Container(spec.Name); state != nil {
			convert(&c, state)
			if state.HealthStatus == "" {
				c.HealthStatus = ecs.HealthStatusUnknown
			}
		}
		c.NetworkBindings = orEmpty(c.NetworkBindings)
		c.NetworkInterfaces = orEmpty(interfaces)
		out = append(out, c)
	}
	return out
}

// ListTasks lists a cluster's tasks by desired status and whatever else is
// given.
func (s *Service) ListTasks(ctx context.Context, in *ecs.ListTasksInput) (*ecs.ListTasksOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	name := cluster.V.ClusterName
	status := string(in.DesiredStatus)
	if status == "" {
		status = model.TaskRunning
	}
	if val(in.DaemonName) != "" {
		return nil, unsupported("The filter daemonName")
	}
	service := ""
	if in.ServiceName != nil {
		if service, err = child("service", name, *in.ServiceName); err != nil {
			return nil, err
		}
		if _, err := s.service(ctx, sc, name, *in.ServiceName); err != nil {
			return nil, err
		}
	}
	filters := []string{
		"ListTasks", name, status, service, val(in.Family), val(in.StartedBy), val(in.ContainerInstance), string(in.LaunchType),
		strconv.FormatBool(in.StartedBy != nil),
	}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	// The most selective index first; the other filters look at each record.
	q := store.Query{Account: sc.account, Region: sc.region, Prefix: name + "/"}
	switch {
	case service != "":
		q.Index = store.Index{Name: tables.ByServiceStatus, Value: service + "/" + status}
	case in.StartedBy != nil:
		q.Index = store.Index{Name: tables.ByStartedBy, Value: name + "/" + *in.StartedBy + "/" + status}
	case in.Family != nil:
		q.Index = store.Index{Name: tables.ByFamily, Value: name + "/" + *in.Family + "/" + status}
	default:
		q.Index = store.Index{Name: tables.ByDesiredStatus, Value: name + "/" + status}
	}
	if after != "" {
		q.After = after
	}
	rows, last, more, err := collect(ctx, s, tables.ECSTasks, q, limit, func(t *model.Task) bool {
		return t.Desired.Status == status &&
			(service == "" || t.TaskServiceID() == service) &&
			(in.Family == nil || t.Spec.Family == *in.Family) &&
			(in.StartedBy == nil || t.Spec.StartedBy == *in.StartedBy) &&
			(in.LaunchType == "" || t.Spec.LaunchType == string(in.LaunchType)) &&
			(in.ContainerInstance == nil || t.Status.ContainerInstanceARN != "" && strings.HasSuffix(t.Status.ContainerInstanceARN, *in.ContainerInstance))
	})
	if err != nil {
		return nil, err
	}
	out := &ecs.ListTasksOutput{TaskArns: []string{}, NextToken: sc.token(more, last, filters...)}
	for _, r := range rows {
		out.TaskArns = append(out.TaskArns, r.V.TaskARN)
	}
	return out, nil
}
