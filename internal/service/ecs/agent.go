package ecs

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Where the connections of agents are, below the endpoint: each has "/ws" in
// it.
const (
	AgentControlPath   = "/_roadstead/agent/acs"
	AgentTelemetryPath = "/_roadstead/agent/tcs"
)

// Reports takes what nodes report of their tasks. *dispatch.Dispatcher does.
type Reports interface {
	// Submit fails with acs.ErrUnknownTask for a task that is not the node's.
	Submit(ctx context.Context, node string, ch acs.TaskStateChange) error
}

// DiscoverPollEndpoint tells an agent where to connect: to the host that it
// has called.
func (s *Service) DiscoverPollEndpoint(ctx context.Context, in *ecs.DiscoverPollEndpointInput) (*ecs.DiscoverPollEndpointOutput, error) {
	sc := scopeOf(ctx)
	if _, err := s.activeCluster(ctx, sc, in.Cluster); err != nil {
		return nil, err
	}
	base := "http://" + sc.call.Host
	if sc.call.Secure {
		base = "https://" + sc.call.Host
	}
	return &ecs.DiscoverPollEndpointOutput{Endpoint: new(base + AgentControlPath), TelemetryEndpoint: new(base + AgentTelemetryPath)}, nil
}

const acknowledged = "ACCEPT"

// SubmitTaskStateChange takes an agent's report of a task.
func (s *Service) SubmitTaskStateChange(ctx context.Context, in *ecs.SubmitTaskStateChangeInput) (*ecs.SubmitTaskStateChangeOutput, error) {
	ch := acs.TaskStateChange{
		Status: val(in.Status), Reason: val(in.Reason),
		PullStartedAt: in.PullStartedAt, PullStoppedAt: in.PullStoppedAt, ExecutionStoppedAt: in.ExecutionStoppedAt,
	}
	for _, a := range in.Attachments {
		ch.Attachments = append(ch.Attachments, acs.AttachmentStateChange{AttachmentArn: val(a.AttachmentArn), Status: val(a.Status)})
	}
	for _, c := range in.Containers {
		ch.Containers = append(ch.Containers, acs.ContainerStateChange{
			ContainerName: val(c.ContainerName), RuntimeID: val(c.RuntimeId), Status: val(c.Status), ExitCode: c.ExitCode,
			Reason: val(c.Reason), ImageDigest: val(c.ImageDigest), NetworkBindings: bindings(c.NetworkBindings),
		})
	}
	return &ecs.SubmitTaskStateChangeOutput{Acknowledgment: new(acknowledged)}, s.submit(ctx, in.Cluster, val(in.Task), ch)
}

// SubmitContainerStateChange takes an agent's report of one container.
func (s *Service) SubmitContainerStateChange(ctx context.Context, in *ecs.SubmitContainerStateChangeInput) (*ecs.SubmitContainerStateChangeOutput, error) {
	ch := acs.TaskStateChange{Containers: []acs.ContainerStateChange{{
		ContainerName: val(in.ContainerName), RuntimeID: val(in.RuntimeId), Status: val(in.Status), ExitCode: in.ExitCode,
		Reason: val(in.Reason), NetworkBindings: bindings(in.NetworkBindings),
	}}}
	return &ecs.SubmitContainerStateChangeOutput{Acknowledgment: new(acknowledged)}, s.submit(ctx, in.Cluster, val(in.Task), ch)
}

// SubmitAttachmentStateChanges takes an agent's word that tasks' interfaces are
// there. What no task waits for is acknowledged.
func (s *Service) SubmitAttachmentStateChanges(ctx context.Context, in *ecs.SubmitAttachmentStateChangesInput) (*ecs.SubmitAttachmentStateChangesOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	of := map[string][]acs.AttachmentStateChange{}
	for _, a := range in.Attachments {
		task, err := s.attachedTask(ctx, sc, cluster.V.ClusterName, val(a.AttachmentArn))
		if err != nil {
			return nil, err
		}
		if task != "" {
			of[task] = append(of[task], acs.AttachmentStateChange{AttachmentArn: val(a.AttachmentArn), Status: val(a.Status)})
		}
	}
	for task, changes := range of {
		if err := s.submit(ctx, in.Cluster, task, acs.TaskStateChange{Attachments: changes}); err != nil {
			return nil, err
		}
	}
	return &ecs.SubmitAttachmentStateChangesOutput{Acknowledgment: new(acknowledged)}, nil
}

// attachedTask is the ARN of the task that waits for an attachment, "" when none
// does.
func (s *Service) attachedTask(ctx context.Context, sc scope, cluster, arn string) (string, error) {
	_, attachment, _ := strings.Cut(arn, ":attachment/")
	rows, err := tables.ECSTasks.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Index: store.Index{Name: tables.ByLastStatus, Value: model.TaskProvisioning},
	})
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if a := r.V.ENI(); r.V.ClusterName == cluster && a != nil && a.ID == attachment {
			return r.V.TaskARN, nil
		}
	}
	return "", nil
}

// submit records a report if it comes from the agent of the instance that the
// task is on. Agents repeat reports for a day, so one of a task that is gone
// is acknowledged.
func (s *Service) submit(ctx context.Context, clusterRef *string, ref string, ch acs.TaskStateChange) error {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, clusterRef)
	if err != nil {
		return err
	}
	if ref == "" {
		return ecs.NewInvalidParameterException("Task cannot be empty.")
	}
	row, _, err := s.task(ctx, sc, cluster.V.ClusterName, ref)
	if errors.Is(err, store.ErrNotFound) {
		s.log.WarnContext(ctx, "a report of a task that is not known", "task", ref, "caller", sc.call.Identity.ARN)
		return nil
	}
	if err != nil {
		return err
	}
	ch.Task = row.V.TaskARN
	node := row.V.Status.Node
	mine, err := s.isAgentOf(ctx, sc, cluster.V.ClusterName, node)
	if err != nil {
		return err
	}
	if !mine {
		s.log.WarnContext(ctx, "a report of a task of another instance is refused", "task", ch.Task, "node", node, "caller", sc.call.Identity.ARN)
		return ecs.NewAccessDeniedException("User: %s is not the agent of the container instance that runs the task %s", sc.call.Identity.ARN, ch.Task)
	}
	if err := checkReport(row.V, &ch); err != nil {
		return err
	}
	err = s.reports.Submit(ctx, node, ch)
	if errors.Is(err, acs.ErrUnknownTask) {
		return nil // it went elsewhere, or away, in between
	}
	return err
}

// isAgentOf tells whether the caller is the agent of the container instance id.
func (s *Service) isAgentOf(ctx context.Context, sc scope, cluster, node string) (bool, error) {
	if node == "" || s.reports == nil {
		return false, nil
	}
	i, err := tables.ECSContainerInstances.Get(ctx, s.store, sc.account, sc.region, cluster+"/"+node)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil // Fargate's
	}
	if err != nil {
		return false, err
	}
	return s.speaksFor(ctx, sc, i.V)
}

// checkReport refuses what cannot be true of the task.
func checkReport(t *model.Task, ch *acs.TaskStateChange) error {
	names := map[string]bool{}
	for _, c := range t.Spec.Containers {
		names[c.Name] = true
	}
	for _, c := range ch.Containers {
		if !names[c.ContainerName] {
			return ecs.NewInvalidParameterException("The task has no container %s.", c.ContainerName)
		}
		for _, b := range c.NetworkBindings {
			if b.HostPort < 0 || b.HostPort > 65535 || b.ContainerPort < 0 || b.ContainerPort > 65535 || !isRange(b.ContainerPortRange) || !isRange(b.HostPortRange) {
				return ecs.NewInvalidParameterException("Container %s reports an invalid port.", c.ContainerName)
			}
		}
	}
	return nil
}

// isRange tells whether text is a range of ports, or empty.
func isRange(text string) bool {
	m := portRange.FindStringSubmatch(text)
	if m == nil {
		return text == ""
	}
	from, _ := strconv.Atoi(m[1])
	to, _ := strconv.Atoi(m[2])
	return from > 0 && from <= to && to <= 65535
}

func bindings(in []ecs.NetworkBinding) []acs.NetworkBinding {
	var out []acs.NetworkBinding
	for _, b := range in {
		out = append(out, acs.NetworkBinding{
			BindIP: val(b.BindIP), ContainerPort: val(b.ContainerPort), HostPort: val(b.HostPort), Protocol: string(b.Protocol),
			ContainerPortRange: val(b.ContainerPortRange), HostPortRange: val(b.HostPortRange),
		})
	}
	return out
}
