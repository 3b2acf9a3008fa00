package autoscaling_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	api2 "roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func (w *world) activity(id string) *model.ScalingActivity {
	w.Helper()
	rows := must[[]store.Row[model.ScalingActivity]](w)(tables.ScalingActivities.List(w.ctx, w.store, store.Query{Account: account, Region: region}))
	for _, r := range rows {
		if r.V.ID == id {
			return r.V
		}
	}
	w.Fatalf("no activity %s", id)
	return nil
}

// runs stores an EC2 instance.
func (w *world) runs(id, state string) {
	w.Helper()
	tx := store.NewTxn()
	tables.Instances.Create(tx, account, region, id, &model.Instance{
		ID: id, Owner: account, Status: model.InstanceStatus{State: state}, Desired: model.InstanceDesired{State: model.InstanceRunning},
		Spec: model.InstanceSpec{Type: "t3.micro", Zone: region + "a", SubnetID: "subnet-a", LaunchTemplateID: "lt-1", LaunchTemplateVersion: 1},
	})
	w.commit(tx)
}

func TestMovesOfInstances(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) { in.DesiredCapacity = new(int32(3)) })
	for _, id := range []string{"i-1", "i-2", "i-3"} {
		w.runs(id, model.InstanceRunning)
		w.joins("web", id, model.ASGInService, nil)
	}
	w.joins("web", "i-4", model.ASGPending, nil)

	standby := must[*api2.EnterStandbyOutput](t)(w.EnterStandby(w.ctx, &api2.EnterStandbyInput{
		AutoScalingGroupName: new("web"), InstanceIds: []string{"i-1", "i-1"}, ShouldDecrementDesiredCapacity: new(true),
	}))
	if len(standby.Activities) != 1 {
		t.Fatalf("%d activities", len(standby.Activities))
	}
	got := standby.Activities[0]
	want := api2.Activity{
		ActivityId: got.ActivityId, AutoScalingGroupName: new("web"), AutoScalingGroupARN: &w.record("web").ARN, StartTime: &start,
		Description: new("Moving EC2 instance to Standby: i-1"),
		Cause:       new("At 2026-01-02T03:04:05Z instance i-1 was moved to standby in response to a user request, shrinking the capacity from 3 to 2."),
		StatusCode:  "InProgress", Progress: new(int32(50)), Details: new(`{"Subnet ID":"subnet-a","Availability Zone":"eu-west-1a"}`),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	m := w.member("web", "i-1")
	if m.Command.Name != model.ASGEnterStandby || m.Command.Cause != *want.Cause || m.Activity != *got.ActivityId || m.LifecycleState != model.ASGInService {
		t.Errorf("member %+v", m)
	}
	if a := w.activity(m.Activity); a.InstanceID != "i-1" || !a.EndedAt.IsZero() {
		t.Errorf("activity %+v", a)
	}
	if g := w.record("web"); g.Desired != 2 {
		t.Errorf("desired %d", g.Desired)
	}

	_, err := w.EnterStandby(w.ctx, &api2.EnterStandbyInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-2", "i-3"}, ShouldDecrementDesiredCapacity: new(true)})
	fails(t, err, "ValidationError", "AutoScalingGroup web has min-size=1, max-size=3, and desired-size=2. To place into standby 2 instances, please update the AutoScalingGroup sizes appropriately.")
	_, err = w.EnterStandby(w.ctx, &api2.EnterStandbyInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-4"}, ShouldDecrementDesiredCapacity: new(false)})
	fails(t, err, "ValidationError", "The instance i-4 is not in InService.")
	_, err = w.EnterStandby(w.ctx, &api2.EnterStandbyInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-1"}, ShouldDecrementDesiredCapacity: new(false)})
	fails(t, err, "ValidationError", "The instance i-1 is not in InService.") // it is on its way already

	detached := must[*api2.DetachInstancesOutput](t)(w.DetachInstances(w.ctx, &api2.DetachInstancesInput{
		AutoScalingGroupName: new("web"), InstanceIds: []string{"i-2"}, ShouldDecrementDesiredCapacity: new(false),
	}))
	if a := detached.Activities[0]; *a.Description != "Detaching EC2 instance: i-2" || *a.Cause != "At 2026-01-02T03:04:05Z instance i-2 was detached in response to a user request." {
		t.Errorf("activity %s: %s", *a.Description, *a.Cause)
	}
	if g := w.record("web"); g.Desired != 2 {
		t.Errorf("desired %d", g.Desired)
	}
	for _, ids := range [][]string{nil, {"i-5"}} {
		_, err = w.DetachInstances(w.ctx, &api2.DetachInstancesInput{AutoScalingGroupName: new("web"), InstanceIds: ids, ShouldDecrementDesiredCapacity: new(false)})
		fails(t, err, "ValidationError", "")
	}
	fails(t, err, "ValidationError", "The instance i-5 is not part of Auto Scaling group web.")

	w.joins("web", "i-1", model.ASGStandby, nil)
	_, err = w.ExitStandby(w.ctx, &api2.ExitStandbyInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-3"}})
	fails(t, err, "ValidationError", "The instance i-3 is not in Standby.")
	back := must[*api2.ExitStandbyOutput](t)(w.ExitStandby(w.ctx, &api2.ExitStandbyInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-1"}})).Activities[0]
	if back.StatusCode != "PreInService" || *back.Progress != 30 || *back.Description != "Moving EC2 instance out of Standby: i-1" ||
		*back.Cause != "At 2026-01-02T03:04:05Z instance i-1 was moved out of standby in response to a user request, increasing the capacity from 2 to 3." {
		t.Errorf("activity %+v", back)
	}
	if g := w.record("web"); g.Desired != 3 {
		t.Errorf("desired %d", g.Desired)
	}
}

func TestTerminate(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) { in.DesiredCapacity = new(int32(2)) })
	for _, id := range []string{"i-1", "i-2", "i-3"} {
		w.joins("web", id, model.ASGInService, nil)
	}
	end := func(id string, decrement bool) (*api2.TerminateInstanceInAutoScalingGroupOutput, error) {
		return w.TerminateInstanceInAutoScalingGroup(w.ctx, &api2.TerminateInstanceInAutoScalingGroupInput{InstanceId: &id, ShouldDecrementDesiredCapacity: &decrement})
	}
	_, err := end("i-9", false)
	fails(t, err, "ValidationError", "Instance Id not found - No managed instance found for instance ID: i-9")
	a := must[*api2.TerminateInstanceInAutoScalingGroupOutput](t)(end("i-1", true)).Activity
	if *a.Description != "Terminating EC2 instance: i-1" || a.StatusCode != "InProgress" || *a.Progress != 0 ||
		*a.Cause != "At 2026-01-02T03:04:05Z instance i-1 was taken out of service in response to a user request, shrinking the capacity from 2 to 1." {
		t.Errorf("activity %s: %s", *a.Description, *a.Cause)
	}
	if m := w.member("web", "i-1"); m.Command.Name != model.ASGTerminate || w.record("web").Desired != 1 {
		t.Errorf("member %+v", m)
	}
	again := must[*api2.TerminateInstanceInAutoScalingGroupOutput](t)(end("i-1", true)).Activity
	if *again.ActivityId != *a.ActivityId || w.record("web").Desired != 1 {
		t.Error("ended twice")
	}
	_, err = end("i-2", true)
	fails(t, err, "ValidationError", "Currently, desiredSize equals minSize (1). Terminating instance without replacement will violate group's min size constraint. "+
		"Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.")
	a = must[*api2.TerminateInstanceInAutoScalingGroupOutput](t)(end("i-2", false)).Activity
	if *a.Cause != "At 2026-01-02T03:04:05Z instance i-2 was taken out of service in response to a user request." || w.record("web").Desired != 1 {
		t.Errorf("cause %s", *a.Cause)
	}
	w.joins("web", "i-3", model.ASGTerminating, nil)
	_, err = end("i-3", false)
	fails(t, err, "ValidationError", "already being terminated")
}

// Weights count where the desired capacity is counted.
func TestWeights(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.MaxSize, in.DesiredCapacity = new(int32(9)), new(int32(5))
		in.MixedInstancesPolicy = &api2.MixedInstancesPolicy{LaunchTemplate: &api2.LaunchTemplate{
			LaunchTemplateSpecification: in.LaunchTemplate, Overrides: []api2.LaunchTemplateOverrides{{InstanceType: new("t3.micro"), WeightedCapacity: new("4")}},
		}}
		in.LaunchTemplate = nil
	})
	w.joins("web", "i-1", model.ASGInService, func(m *model.ASGInstance) { m.Weight = 4 })
	must[*api2.DetachInstancesOutput](t)(w.DetachInstances(w.ctx, &api2.DetachInstancesInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-1"}, ShouldDecrementDesiredCapacity: new(true)}))
	if g := w.record("web"); g.Desired != 1 {
		t.Errorf("desired %d", g.Desired)
	}
	w.runs("i-2", model.InstanceRunning)
	must[*api2.AttachInstancesOutput](t)(w.AttachInstances(w.ctx, &api2.AttachInstancesInput{AutoScalingGroupName: new("web"), InstanceIds: []string{"i-2"}}))
	if g := w.record("web"); g.Desired != 5 || w.member("web", "i-2").Weight != 4 {
		t.Errorf("desired %d", g.Desired)
	}
}

func TestAttach(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) {
		in.Tags = []api2.Tag{{Key: new("a"), Value: new("1")}, {Key: new("own"), PropagateAtLaunch: new(false)}}
	})
	w.group("narrow", func(in *api2.CreateAutoScalingGroupInput) { in.VPCZoneIdentifier = new("subnet-b") })
	w.runs("i-1", model.InstanceRunning)
	w.runs("i-2", model.InstancePending)
	attach := func(group string, ids ...string) error {
		_, err := w.AttachInstances(w.ctx, &api2.AttachInstancesInput{AutoScalingGroupName: &group, InstanceIds: ids})
		return err
	}
	fails(t, attach("web", "i-9"), "ValidationError", "Invalid Instances: [i-9]")
	fails(t, attach("web", "i-1", "i-2"), "ValidationError", "The instance i-2 is not in running state.")
	fails(t, attach("narrow", "i-1"), "ValidationError", "eu-west-1a")
	if err := attach("web", "i-1"); err != nil {
		t.Fatal(err)
	}
	m := w.member("web", "i-1")
	want := &model.ASGInstance{
		Group: "web", InstanceID: "i-1", InstanceType: "t3.micro", Zone: "eu-west-1a", SubnetID: "subnet-a", LifecycleState: model.ASGPending,
		LaunchedAt: start, StateSince: start, HealthStatus: "Healthy", Activity: m.Activity, Template: model.ASGLaunchTemplate{ID: "lt-1", Name: "web", Version: "1"},
	}
	if d := cmp.Diff(want, m); d != "" {
		t.Error(d)
	}
	if a := w.activity(m.Activity); a.Description != "Attaching an existing EC2 instance: i-1" || a.Cause != "At 2026-01-02T03:04:05Z an instance i-1 was added in response to user request. Keeping the capacity at the new 2." {
		t.Errorf("activity %+v", a)
	}
	v := must[store.Row[model.Instance]](t)(tables.Instances.Get(w.ctx, w.store, account, region, "i-1")).V
	if v.Spec.AutoScalingGroup != "web" || w.record("web").Desired != 2 {
		t.Errorf("instance of %q, desired %d", v.Spec.AutoScalingGroup, w.record("web").Desired)
	}
	if d := cmp.Diff(model.Tags{"aws:autoscaling:groupName": "web", "a": "1"}, v.Tags); d != "" {
		t.Error(d)
	}
	fails(t, attach("web", "i-1"), "ValidationError", "already part of AutoScalingGroup:web")
	for _, id := range []string{"i-3", "i-4"} {
		w.runs(id, model.InstanceRunning)
	}
	fails(t, attach("web", "i-3", "i-4"), "ValidationError", "AutoScalingGroup web has min-size=1, max-size=3, and desired-size=2. To attach 2 instances, please update the AutoScalingGroup sizes appropriately.")
	if _, err := tables.ASGInstances.Get(w.ctx, w.store, account, region, "web/i-3"); err == nil {
		t.Error("half of a request was carried out")
	}
}

func TestHealthAndProtection(t *testing.T) {
	w := newWorld(t)
	w.group("web", func(in *api2.CreateAutoScalingGroupInput) { in.HealthCheckGracePeriod = new(int32(60)) })
	w.joins("web", "i-1", model.ASGInService, func(m *model.ASGInstance) { m.HealthCause = "x" })
	w.joins("web", "i-2", model.ASGTerminating, nil)
	health := func(id, status string, respect *bool) error {
		_, err := w.SetInstanceHealth(w.ctx, &api2.SetInstanceHealthInput{InstanceId: &id, HealthStatus: &status, ShouldRespectGracePeriod: respect})
		return err
	}
	fails(t, health("i-1", "Sick", nil), "ValidationError", "Sick")
	fails(t, health("i-9", "Healthy", nil), "ValidationError", "Instance Id not found - No managed instance found for instance ID: i-9")
	if err := health("i-1", "Unhealthy", nil); err != nil || w.member("web", "i-1").HealthStatus != "Healthy" {
		t.Errorf("unhealthy within the grace period: %v", err)
	}
	if err := health("i-1", "Unhealthy", new(false)); err != nil || w.member("web", "i-1").HealthStatus != "Unhealthy" || w.member("web", "i-1").HealthCause != "" {
		t.Errorf("not unhealthy: %v", err)
	}
	if err := health("i-1", "Healthy", nil); err != nil || w.member("web", "i-1").HealthStatus != "Healthy" {
		t.Errorf("not healthy: %v", err)
	}
	w.ctx = w.at(time.Minute)
	if err := health("i-1", "Unhealthy", nil); err != nil || w.member("web", "i-1").HealthStatus != "Unhealthy" {
		t.Errorf("not unhealthy after the grace period: %v", err)
	}
	protect := func(on bool, ids ...string) error {
		_, err := w.SetInstanceProtection(w.ctx, &api2.SetInstanceProtectionInput{AutoScalingGroupName: new("web"), InstanceIds: ids, ProtectedFromScaleIn: &on})
		return err
	}
	fails(t, protect(true, "i-9"), "ValidationError", "The instance i-9 is not part of Auto Scaling group web.")
	fails(t, protect(true, "i-1", "i-2"), "ValidationError", "The instance i-2 is not in InService or EnteringStandby or Standby.")
	fails(t, protect(true, make([]string, 51)...), "ValidationError", "less than or equal to 50")
	if err := protect(true, "i-1"); err != nil || !w.member("web", "i-1").Protected {
		t.Errorf("not protected: %v", err)
	}
	if err := protect(false, "i-1"); err != nil || w.member("web", "i-1").Protected {
		t.Errorf("still protected: %v", err)
	}
}

func TestDescribeInstances(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	w.group("api", nil)
	w.joins("web", "i-1", model.ASGInService, nil)
	w.joins("api", "i-2", model.ASGPendingWait, nil)
	w.joins("web", "i-3", model.ASGInService, nil)
	ids := func(in *api2.DescribeAutoScalingInstancesInput) (out []string, next *string) {
		t.Helper()
		got := must[*api2.DescribeAutoScalingInstancesOutput](t)(w.DescribeAutoScalingInstances(w.ctx, in))
		for _, i := range got.AutoScalingInstances {
			out = append(out, *i.InstanceId+" "+*i.AutoScalingGroupName+" "+*i.LifecycleState+" "+*i.HealthStatus)
		}
		return out, got.NextToken
	}
	first, next := ids(&api2.DescribeAutoScalingInstancesInput{MaxRecords: new(int32(2))})
	second, _ := ids(&api2.DescribeAutoScalingInstancesInput{MaxRecords: new(int32(2)), NextToken: next})
	if d := cmp.Diff([]string{"i-1 web InService HEALTHY", "i-2 api Pending:Wait HEALTHY", "i-3 web InService HEALTHY"}, append(first, second...)); d != "" {
		t.Error(d)
	}
	if one, _ := ids(&api2.DescribeAutoScalingInstancesInput{InstanceIds: []string{"i-3", "i-9"}}); len(one) != 1 {
		t.Errorf("got %v", one)
	}
	_, err := w.DescribeAutoScalingInstances(w.ctx, &api2.DescribeAutoScalingInstancesInput{InstanceIds: make([]string, 51)})
	fails(t, err, "ValidationError", "50")
}

func TestActivities(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	w.group("api", nil)
	tx := store.NewTxn()
	for i, group := range []string{"web", "api", "web", "gone"} {
		arn := ""
		if group != "gone" {
			arn = w.record(group).ARN
		}
		// The ids are those of ever older activities.
		id := strconv.Itoa(i + 1)
		tables.ScalingActivities.Create(tx, account, region, group+"/"+id, &model.ScalingActivity{
			ID: id, Group: group, GroupARN: arn, Cause: "c", StatusCode: []string{"InProgress", "Failed"}[i%2], StartedAt: start.Add(-time.Duration(i) * time.Hour),
		})
	}
	w.commit(tx)
	ids := func(in *api2.DescribeScalingActivitiesInput) (out string, next *string) {
		t.Helper()
		got := must[*api2.DescribeScalingActivitiesOutput](t)(w.DescribeScalingActivities(w.ctx, in))
		for _, a := range got.Activities {
			out += *a.ActivityId
			if a.AutoScalingGroupState != nil {
				out += " " + *a.AutoScalingGroupState
			}
		}
		return out, got.NextToken
	}
	filter := func(name, value string) []api2.Filter { return []api2.Filter{{Name: &name, Values: []string{value}}} }
	for _, tt := range []struct {
		in   api2.DescribeScalingActivitiesInput
		want string
	}{
		{api2.DescribeScalingActivitiesInput{}, "123"},
		{api2.DescribeScalingActivitiesInput{IncludeDeletedGroups: new(true)}, "1234 Deleted"},
		{api2.DescribeScalingActivitiesInput{AutoScalingGroupName: new("web")}, "13"},
		{api2.DescribeScalingActivitiesInput{AutoScalingGroupName: new("gone"), IncludeDeletedGroups: new(true)}, "4 Deleted"},
		{api2.DescribeScalingActivitiesInput{ActivityIds: []string{"2"}}, "2"},
		{api2.DescribeScalingActivitiesInput{Filters: filter("Status", "Failed")}, "2"},
		{api2.DescribeScalingActivitiesInput{Filters: filter("StartTimeLowerBound", "2026-01-02T02:04:05Z")}, "12"},
		{api2.DescribeScalingActivitiesInput{Filters: filter("StartTimeUpperBound", "2026-01-02T02:04:05Z")}, "23"},
	} {
		if got, _ := ids(&tt.in); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.in, got, tt.want)
		}
	}
	first, next := ids(&api2.DescribeScalingActivitiesInput{MaxRecords: new(int32(2))})
	second, _ := ids(&api2.DescribeScalingActivitiesInput{MaxRecords: new(int32(2)), NextToken: next})
	if first+second != "123" {
		t.Errorf("pages %s and %s", first, second)
	}
	_, err := w.DescribeScalingActivities(w.ctx, &api2.DescribeScalingActivitiesInput{AutoScalingGroupName: new("gone")})
	fails(t, err, "ValidationError", "not found")
	_, err = w.DescribeScalingActivities(w.ctx, &api2.DescribeScalingActivitiesInput{Filters: filter("When", "x")})
	fails(t, err, "ValidationError", "Filter type When is not correct")
	_, err = w.DescribeScalingActivities(w.ctx, &api2.DescribeScalingActivitiesInput{Filters: filter("StartTimeLowerBound", "yesterday")})
	fails(t, err, "ValidationError", "yesterday")
}
