package ecsservice

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/store"
)

func TestTags(t *testing.T) {
	svc := &model.Service{ServiceName: "web", ClusterName: "c", Tags: model.Tags{"from": "service"}}
	def := &model.TaskDefinition{Tags: model.Tags{"from": "definition"}}
	tests := []struct {
		propagate string
		managed   bool
		want      model.Tags
	}{
		{"NONE", false, nil},
		{"SERVICE", false, model.Tags{"from": "service"}},
		{"TASK_DEFINITION", false, model.Tags{"from": "definition"}},
		{"", true, model.Tags{"aws:ecs:clusterName": "c", "aws:ecs:serviceName": "web"}},
	}
	for _, tt := range tests {
		svc.Spec.PropagateTags, svc.Spec.EnableECSManagedTags = tt.propagate, tt.managed
		if d := cmp.Diff(tt.want, tags(svc, def)); d != "" {
			t.Errorf("%s: %s", tt.propagate, d)
		}
	}
}

func TestRolling(t *testing.T) {
	tests := []struct {
		controller, strategy string
		want                 bool
	}{
		{"", "", true},
		{"ECS", "REPLICA", true},
		{"ECS", "DAEMON", true},
		{"CODE_DEPLOY", "REPLICA", false},
		{"EXTERNAL", "REPLICA", false},
	}
	for _, tt := range tests {
		if got := rolling(&model.ServiceSpec{DeploymentController: tt.controller, SchedulingStrategy: tt.strategy}); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestTaskInSnapshot(t *testing.T) {
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	v := &view{checked: map[string]bool{"checked": true}, targets: map[string][]deployment.Target{}}
	task := func(change func(*model.Task)) *model.Task {
		x := &model.Task{TaskID: "t", Spec: model.TaskSpec{DeploymentID: "d", CreatedAt: now}, Desired: model.TaskDesired{Status: model.TaskRunning}}
		x.Status.LastStatus = model.TaskRunning
		change(x)
		return x
	}
	base := deployment.Task{ID: "t", Deployment: "d", Phase: deployment.Running, Wanted: true, CreatedAt: now}
	tests := []struct {
		name string
		task *model.Task
		want func(*deployment.Task)
	}{
		{"plain", task(func(*model.Task) {}), func(*deployment.Task) {}},
		{"provisioning", task(func(x *model.Task) { x.Status.LastStatus = model.TaskProvisioning }), func(d *deployment.Task) { d.Phase = deployment.Pending }},
		{"activating", task(func(x *model.Task) { x.Status.LastStatus = model.TaskActivating }), func(d *deployment.Task) { d.Phase = deployment.Pending }},
		{"draining", task(func(x *model.Task) { x.Status.LastStatus = model.TaskDeactivating }), func(d *deployment.Task) { d.Phase = deployment.Stopping }},
		{"stopped", task(func(x *model.Task) {
			x.Status.LastStatus = model.TaskStopped
			x.Stop(model.StopUserInitiated, "", now)
		}), func(d *deployment.Task) { d.Phase, d.Wanted, d.ByUser = deployment.Stopped, false, true }},
		{"not started", task(func(x *model.Task) { x.Stop(model.StopTaskFailedToStart, "no image", now) }), func(d *deployment.Task) { d.Wanted, d.StartFailure = false, "no image" }},
		{"health is not known yet", task(func(x *model.Task) { x.Spec.TaskDefinitionARN = "checked" }), func(d *deployment.Task) { d.Health = deployment.Unknown }},
		{"unhealthy", task(func(x *model.Task) {
			x.Spec.TaskDefinitionARN, x.Observed.HealthStatus = "checked", model.ECSHealthUnhealthy
		}), func(d *deployment.Task) { d.Health = deployment.Unhealthy }},
		{"protected", task(func(x *model.Task) { x.Protection = &model.TaskProtection{Enabled: true, ExpiresAt: now} }), func(d *deployment.Task) { d.ProtectedUntil = now }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := base
			tt.want(&want)
			if d := cmp.Diff(want, v.task(tt.task)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTargetState(t *testing.T) {
	for state, want := range map[string]deployment.TargetState{
		model.TargetHealthInitial:   deployment.TargetInitial,
		model.TargetHealthHealthy:   deployment.TargetHealthy,
		model.TargetHealthUnhealthy: deployment.TargetUnhealthy,
		model.TargetHealthDraining:  deployment.TargetDraining,
		model.TargetHealthUnused:    deployment.TargetHealthy,
	} {
		if got, _ := targetState(&model.TargetHealth{State: state}); got != want {
			t.Errorf("%s: %v", state, got)
		}
	}
	elsewhere := &model.TargetHealth{State: model.TargetHealthUnused, Reason: model.ReasonNotInUse, Description: model.DescriptionZoneNotEnabled}
	if got, why := targetState(elsewhere); got != deployment.TargetUnhealthy || why != model.DescriptionZoneNotEnabled {
		t.Errorf("in a zone that is not enabled: %v, %q", got, why)
	}
}

// A rollback makes the spec that of the deployment gone back to, which becomes
// the first one.
func TestApplyRollback(t *testing.T) {
	good := model.Deployment{ID: "ecs-svc/1", Status: model.DeploymentActive, TaskDefinition: "web:1", LaunchType: model.LaunchTypeFargate, RolloutState: model.RolloutCompleted}
	bad := model.Deployment{ID: "ecs-svc/2", Status: model.DeploymentPrimary, TaskDefinition: "web:2", RolloutState: model.RolloutInProgress}
	v := &view{service: store.Row[model.Service]{V: &model.Service{Spec: model.ServiceSpec{TaskDefinition: "web:2"}, Deployments: []model.Deployment{bad, good}}}}
	svc := v.service.Copy()
	now := time.Now()
	v.apply(svc, &deployment.Plan{RollBack: good.ID, Deployments: []deployment.Deployment{
		{ID: bad.ID, Status: deployment.Active, RolloutState: deployment.Failed},
		{ID: good.ID, Status: deployment.Primary, RolloutState: deployment.InProgress},
	}}, now)
	if svc.Spec.TaskDefinition != "web:1" || svc.Spec.LaunchType != model.LaunchTypeFargate || svc.Deployments[0].ID != good.ID || svc.Primary().ID != good.ID {
		t.Fatalf("got %+v", svc)
	}
}
