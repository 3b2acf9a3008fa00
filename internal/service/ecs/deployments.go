package ecs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// historyLife is how long service deployments can be described.
const historyLife = 90 * 24 * time.Hour

// deploymentRow is the record of a service deployment.
type deploymentRow = store.Row[model.ServiceDeployment]

// The ARNs of a service deployment and of a service revision end like the
// service's, with their id behind it.
func historyARN(kind, serviceARN, id string) string {
	return strings.Replace(serviceARN, ":service/", ":"+kind+"/", 1) + "/" + id
}

func deploymentARN(serviceARN, id string) string {
	return historyARN("service-deployment", serviceARN, id)
}

func revisionARN(serviceARN, id string) string {
	return historyARN("service-revision", serviceARN, id)
}

// recordDeployment begins the history of the service's PRIMARY deployment.
func recordDeployment(tx *store.Txn, sc scope, svc *model.Service, replaced []string) {
	d := svc.Primary()
	tables.ECSServiceDeployments.Create(tx, sc.account, sc.region, svc.ClusterName+"/"+svc.ServiceName+"/"+d.RevisionID, &model.ServiceDeployment{
		ServiceARN: svc.ServiceARN, ClusterARN: svc.ClusterARN,
		Deployment: *d, Configuration: svc.Spec.DeploymentConfiguration, SourceRevisions: replaced,
	})
}

func (s *Service) deployments(ctx context.Context, sc scope, serviceID string) ([]deploymentRow, error) {
	return tables.ECSServiceDeployments.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region, Prefix: serviceID + "/"})
}

// finishDeployments writes down how the deployments ended that the next one
// follows, and forgets the oldest.
func (s *Service) finishDeployments(ctx context.Context, sc scope, tx *store.Txn, svc *model.Service) error {
	rows, err := s.deployments(ctx, sc, svc.ClusterName+"/"+svc.ServiceName)
	if err != nil {
		return err
	}
	for _, r := range rows {
		switch {
		case sc.now.Sub(r.V.Deployment.CreatedAt) > historyLife:
			tables.ECSServiceDeployments.Delete(tx, r)
		case r.V.Status == "":
			v := r.Copy()
			status, _ := deploymentStatus(svc, v)
			if status == ecs.ServiceDeploymentStatusInProgress || status == ecs.ServiceDeploymentStatusRollbackInProgress {
				status = ecs.ServiceDeploymentStatusStopped
			}
			v.Status, v.FinishedAt = string(status), sc.now
			tables.ECSServiceDeployments.Replace(tx, r, v)
		}
	}
	return nil
}

// forgetDeployments removes the history of a former service of the name.
func (s *Service) forgetDeployments(ctx context.Context, sc scope, tx *store.Txn, serviceID string) error {
	rows, err := s.deployments(ctx, sc, serviceID)
	for _, r := range rows {
		tables.ECSServiceDeployments.Delete(tx, r)
	}
	return err
}

// deploymentStatus reads from the service how a deployment goes, and gives the
// service's view of it, nil when it has no tasks left.
func deploymentStatus(svc *model.Service, v *model.ServiceDeployment) (ecs.ServiceDeploymentStatus, *model.Deployment) {
	i := slices.IndexFunc(svc.Deployments, func(d model.Deployment) bool { return d.ID == v.Deployment.ID })
	var d *model.Deployment
	if i >= 0 {
		d = &svc.Deployments[i]
	}
	primary := svc.Primary()
	switch {
	case v.Status != "":
		return ecs.ServiceDeploymentStatus(v.Status), d
	case d != nil && d.RolloutState == model.RolloutCompleted:
		return ecs.ServiceDeploymentStatusSuccessful, d
	case primary == nil || svc.Status != model.ECSActive:
		return ecs.ServiceDeploymentStatusStopped, d
	case d == primary && d.RolloutState == model.RolloutInProgress:
		return ecs.ServiceDeploymentStatusInProgress, d
	case d == primary: // it failed, and nothing is rolled back
		return ecs.ServiceDeploymentStatusStopped, d
	case primary.RolloutState == model.RolloutCompleted:
		return ecs.ServiceDeploymentStatusRollbackSuccessful, d
	}
	return ecs.ServiceDeploymentStatusRollbackInProgress, d
}

// showCurrent adds to a service what is deployed now.
func showCurrent(out *ecs.Service, svc *model.Service) {
	if svc.Status == model.ECSInactive {
		return
	}
	newest := time.Time{}
	for _, d := range svc.Deployments {
		if d.CreatedAt.After(newest) {
			newest = d.CreatedAt
			out.CurrentServiceDeployment = new(deploymentARN(svc.ServiceARN, d.RevisionID))
		}
		out.CurrentServiceRevisions = append(out.CurrentServiceRevisions, ecs.ServiceCurrentRevisionSummary{
			Arn:                new(revisionARN(svc.ServiceARN, d.RevisionID)),
			RequestedTaskCount: new(int32(d.DesiredCount)),
			RunningTaskCount:   new(int32(d.RunningCount)),
			PendingTaskCount:   new(int32(d.PendingCount)),
		})
	}
}

func revisionSummary(svc *model.Service, id string) ecs.ServiceRevisionSummary {
	r := ecs.ServiceRevisionSummary{
		Arn:                new(revisionARN(svc.ServiceARN, id)),
		RequestedTaskCount: new(int32(0)), RunningTaskCount: new(int32(0)), PendingTaskCount: new(int32(0)),
	}
	for _, d := range svc.Deployments {
		if d.RevisionID == id {
			r.RequestedTaskCount, r.RunningTaskCount, r.PendingTaskCount = new(int32(d.DesiredCount)), new(int32(d.RunningCount)), new(int32(d.PendingCount))
		}
	}
	return r
}

// breakerThreshold is how many failed tasks trip the circuit breaker.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
func breakerThreshold(desired int) int { return min(max((desired+1)/2, 3), 200) }

func showDeployment(svc *model.Service, v *model.ServiceDeployment) ecs.ServiceDeployment {
	status, d := deploymentStatus(svc, v)
	out := ecs.ServiceDeployment{
		ServiceDeploymentArn:    new(deploymentARN(v.ServiceARN, v.Deployment.RevisionID)),
		ServiceArn:              new(v.ServiceARN),
		ClusterArn:              new(v.ClusterARN),
		CreatedAt:               moment(v.Deployment.CreatedAt),
		StartedAt:               moment(v.Deployment.CreatedAt),
		UpdatedAt:               moment(v.Deployment.CreatedAt),
		FinishedAt:              moment(v.FinishedAt),
		Status:                  status,
		TargetServiceRevision:   new(revisionSummary(svc, v.Deployment.RevisionID)),
		SourceServiceRevisions:  []ecs.ServiceRevisionSummary{},
		DeploymentConfiguration: converted[ecs.DeploymentConfiguration](&v.Configuration),
	}
	for _, id := range v.SourceRevisions {
		out.SourceServiceRevisions = append(out.SourceServiceRevisions, revisionSummary(svc, id))
	}
	failed := 0
	if d != nil {
		failed = d.FailedTasks
		out.UpdatedAt = moment(d.UpdatedAt)
		if d.RolloutStateReason != "" {
			out.StatusReason = new(d.RolloutStateReason)
		}
	}
	done := status != ecs.ServiceDeploymentStatusInProgress && status != ecs.ServiceDeploymentStatusRollbackInProgress
	if done && out.FinishedAt == nil {
		out.FinishedAt = out.UpdatedAt
	}
	if !done {
		out.LifecycleStage = ecs.ServiceDeploymentLifecycleStageScaleUp
	}
	breaker := ecs.ServiceDeploymentRollbackMonitorsStatusDisabled
	if b := v.Configuration.DeploymentCircuitBreaker; b != nil && b.Enable {
		switch {
		case d != nil && d.RolloutState == model.RolloutFailed, strings.HasPrefix(string(status), "ROLLBACK"):
			breaker = ecs.ServiceDeploymentRollbackMonitorsStatusTriggered
		case done:
			breaker = ecs.ServiceDeploymentRollbackMonitorsStatusMonitoringComplete
		default:
			breaker = ecs.ServiceDeploymentRollbackMonitorsStatusMonitoring
		}
	}
	out.DeploymentCircuitBreaker = &ecs.ServiceDeploymentCircuitBreaker{
		Status: breaker, FailureCount: new(int32(failed)), Threshold: new(int32(breakerThreshold(v.Deployment.DesiredCount))),
	}
	if strings.HasPrefix(string(status), "ROLLBACK") {
		out.Rollback = &ecs.Rollback{Reason: out.StatusReason, StartedAt: out.UpdatedAt}
		if p := svc.Primary(); p != nil && v.Status == "" {
			out.Rollback.ServiceRevisionArn = new(revisionARN(svc.ServiceARN, p.RevisionID))
		}
	}
	return out
}

// ListServiceDeployments lists a service's deployments, newest first.
func (s *Service) ListServiceDeployments(ctx context.Context, in *ecs.ListServiceDeploymentsInput) (*ecs.ListServiceDeploymentsOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	svc, err := s.service(ctx, sc, cluster.V.ClusterName, val(in.Service))
	if err != nil {
		return nil, err
	}
	filters := []string{"ListServiceDeployments", svc.Key.ID}
	for _, st := range in.Status {
		filters = append(filters, string(st))
	}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	rows, err := s.deployments(ctx, sc, svc.Key.ID)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b deploymentRow) int {
		if c := b.V.Deployment.CreatedAt.Compare(a.V.Deployment.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Key.ID, b.Key.ID)
	})
	if i := slices.IndexFunc(rows, func(r deploymentRow) bool { return r.Key.ID == after }); i >= 0 {
		rows = rows[i+1:]
	}
	out := &ecs.ListServiceDeploymentsOutput{ServiceDeployments: []ecs.ServiceDeploymentBrief{}}
	last := ""
	for _, r := range rows {
		d := showDeployment(svc.V, r.V)
		if c := in.CreatedAt; c != nil && (c.After != nil && d.CreatedAt.Before(*c.After) || c.Before != nil && d.CreatedAt.After(*c.Before)) {
			continue
		}
		if len(in.Status) > 0 && !slices.Contains(in.Status, d.Status) {
			continue
		}
		if len(out.ServiceDeployments) == limit {
			out.NextToken = sc.token(true, last, filters...)
			break
		}
		last = r.Key.ID
		brief := converted[ecs.ServiceDeploymentBrief](&d)
		brief.TargetServiceRevisionArn = d.TargetServiceRevision.Arn
		out.ServiceDeployments = append(out.ServiceDeployments, *brief)
	}
	return out, nil
}

// history reads the record that the ARN of a service deployment or revision
// names, with its service.
func (s *Service) history(ctx context.Context, sc scope, kind, arn string) (*model.ServiceDeployment, *model.Service, error) {
	a, err := model.ParseARN(arn)
	rest, ok := strings.CutPrefix(a.Resource, kind+"/")
	i := strings.LastIndexByte(rest, '/')
	if err != nil || a.Service != "ecs" || !ok || i < 0 {
		return nil, nil, ecs.NewInvalidParameterException("Invalid identifier: Unexpected resource type or format in ARN %s.", arn)
	}
	if !sc.inScope(arn) {
		return nil, nil, store.ErrNotFound
	}
	row, err := tables.ECSServiceDeployments.Get(ctx, s.store, sc.account, sc.region, rest)
	if err != nil {
		return nil, nil, err
	}
	svc, err := tables.ECSServices.Get(ctx, s.store, sc.account, sc.region, rest[:i])
	return row.V, svc.V, err
}

// DescribeServiceDeployments shows deployments.
func (s *Service) DescribeServiceDeployments(ctx context.Context, in *ecs.DescribeServiceDeploymentsInput) (*ecs.DescribeServiceDeploymentsOutput, error) {
	sc := scopeOf(ctx)
	if n := len(in.ServiceDeploymentArns); n == 0 || n > 20 {
		return nil, ecs.NewInvalidParameterException("serviceDeploymentArns must have between 1 and 20 elements.")
	}
	out := &ecs.DescribeServiceDeploymentsOutput{ServiceDeployments: []ecs.ServiceDeployment{}, Failures: []ecs.Failure{}}
	for _, arn := range in.ServiceDeploymentArns {
		v, svc, err := s.history(ctx, sc, "service-deployment", arn)
		if errors.Is(err, store.ErrNotFound) {
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		out.ServiceDeployments = append(out.ServiceDeployments, showDeployment(svc, v))
	}
	return out, nil
}

// DescribeServiceRevisions shows what deployments deployed.
func (s *Service) DescribeServiceRevisions(ctx context.Context, in *ecs.DescribeServiceRevisionsInput) (*ecs.DescribeServiceRevisionsOutput, error) {
	sc := scopeOf(ctx)
	if n := len(in.ServiceRevisionArns); n == 0 || n > 20 {
		return nil, ecs.NewInvalidParameterException("serviceRevisionArns must have between 1 and 20 elements.")
	}
	out := &ecs.DescribeServiceRevisionsOutput{ServiceRevisions: []ecs.ServiceRevision{}, Failures: []ecs.Failure{}}
	for _, arn := range in.ServiceRevisionArns {
		v, _, err := s.history(ctx, sc, "service-revision", arn)
		if errors.Is(err, store.ErrNotFound) {
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		r := converted[ecs.ServiceRevision](&v.Deployment)
		r.ServiceRevisionArn, r.ServiceArn, r.ClusterArn = new(arn), new(v.ServiceARN), new(v.ClusterARN)
		showNetwork(r.NetworkConfiguration)
		def, err := s.taskDefinition(ctx, sc, v.Deployment.TaskDefinition)
		if err != nil && !errors.Is(err, errNoTaskDefinition) {
			return nil, err
		}
		if err == nil {
			for _, c := range def.V.ContainerDefinitions {
				r.ContainerImages = append(r.ContainerImages, ecs.ContainerImage{ContainerName: new(c.Name), Image: new(c.Image)})
			}
		}
		out.ServiceRevisions = append(out.ServiceRevisions, *r)
	}
	return out, nil
}
