package ecs

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// TestServiceDeployments follows the history of a service through a rollout
// that succeeds, one that is rolled back, and one that is overtaken.
func TestServiceDeployments(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	in := serveWeb()
	in.DeploymentConfiguration = &ecs.DeploymentConfiguration{DeploymentCircuitBreaker: &ecs.DeploymentCircuitBreaker{Enable: new(true), Rollback: new(true)}}
	svc := must(h.CreateService(h.ctx, in))(t).Service
	control := func(change func(*model.Service)) {
		t.Helper()
		must(tables.ECSServices.Update(h.ctx, h.store, account, region, "c/s", func(v *model.Service) error { change(v); return nil }))(t)
	}
	deploy := func() {
		t.Helper()
		h.call.Time = h.call.Time.Add(time.Minute)
		must(h.UpdateService(h.ctx, &ecs.UpdateServiceInput{Cluster: new("c"), Service: new("s"), ForceNewDeployment: new(true)}))(t)
	}
	statuses := func(want ...ecs.ServiceDeploymentStatus) []ecs.ServiceDeploymentBrief {
		t.Helper()
		var got []ecs.ServiceDeploymentStatus
		var all []ecs.ServiceDeploymentBrief
		page := &ecs.ListServiceDeploymentsInput{Cluster: new("c"), Service: new("s"), MaxResults: new(int32(1))}
		for {
			out := must(h.ListServiceDeployments(h.ctx, page))(t)
			for _, d := range out.ServiceDeployments {
				got, all = append(got, d.Status), append(all, d)
			}
			if page.NextToken = out.NextToken; page.NextToken == nil {
				break
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		return all
	}
	first := statuses("IN_PROGRESS")[0]
	if val(first.ServiceDeploymentArn) != val(svc.CurrentServiceDeployment) || val(first.TargetServiceRevisionArn) != val(svc.CurrentServiceRevisions[0].Arn) {
		t.Errorf("the service says %v and %v; listed: %+v", val(svc.CurrentServiceDeployment), svc.CurrentServiceRevisions, first)
	}
	control(func(v *model.Service) { v.Deployments[0].RolloutState = model.RolloutCompleted })
	statuses("SUCCESSFUL")

	deploy()
	statuses("IN_PROGRESS", "SUCCESSFUL")
	control(func(v *model.Service) { // the controller gives up and goes back
		v.Deployments[0].Status, v.Deployments[0].RolloutState = model.DeploymentActive, model.RolloutFailed
		v.Deployments[1].Status, v.Deployments[1].RolloutState = model.DeploymentPrimary, model.RolloutInProgress
		v.Deployments[0], v.Deployments[1] = v.Deployments[1], v.Deployments[0]
	})
	second := statuses("ROLLBACK_IN_PROGRESS", "SUCCESSFUL")[0]
	d := must(h.DescribeServiceDeployments(h.ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{*second.ServiceDeploymentArn}}))(t).ServiceDeployments[0]
	if d.DeploymentCircuitBreaker.Status != "TRIGGERED" || val(d.DeploymentCircuitBreaker.Threshold) != 3 ||
		val(d.Rollback.ServiceRevisionArn) != val(first.TargetServiceRevisionArn) || val(d.SourceServiceRevisions[0].Arn) != val(first.TargetServiceRevisionArn) {
		t.Errorf("rolled back: %+v", d)
	}
	control(func(v *model.Service) {
		v.Deployments = v.Deployments[:1]
		v.Deployments[0].RolloutState = model.RolloutCompleted
	})
	statuses("ROLLBACK_SUCCESSFUL", "SUCCESSFUL")

	deploy()
	statuses("IN_PROGRESS", "ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
	deploy() // overtakes it
	all := statuses("IN_PROGRESS", "STOPPED", "ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
	since := must(h.ListServiceDeployments(h.ctx, &ecs.ListServiceDeploymentsInput{
		Cluster: new("c"), Service: new("s"), CreatedAt: &ecs.CreatedAt{After: all[1].CreatedAt}, Status: []ecs.ServiceDeploymentStatus{"STOPPED", "IN_PROGRESS"},
	}))(t)
	if len(since.ServiceDeployments) != 2 {
		t.Errorf("since the last but one: %+v", since)
	}
	revisions := must(h.DescribeServiceRevisions(h.ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{
		*first.TargetServiceRevisionArn, *first.TargetServiceRevisionArn + "0",
	}}))(t)
	if len(revisions.Failures) != 1 || val(revisions.ServiceRevisions[0].TaskDefinition) != val(svc.TaskDefinition) || len(revisions.ServiceRevisions[0].ContainerImages) != 1 {
		t.Errorf("revisions: %+v", revisions)
	}
}
