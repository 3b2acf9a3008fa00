package autoscalinggroup_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/autoscalinggroup"
	"roadstead.dev/internal/controller/ec2instance"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/instance/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	name    = "web/front" // names may hold slashes
)

var here = instances.Place{Account: account, Region: region}

// fixture is a store, a pretended machine, and the controllers of instances and
// of groups.
type fixture struct {
	testing.TB
	store store.Store
	host  *fake.Host
	stop  func()
}

// in runs f in a bubble.
func in(t *testing.T, f func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		x := build(t)
		defer func() { _ = x.store.Close() }()
		x.start()
		defer func() { x.stop() }()
		f(x)
	})
}

// build makes a VPC with three zones, and a template with two versions.
func build(t testing.TB) *fixture {
	x := &fixture{TB: t, store: memory.New(), host: fake.New(nil)}
	tx := store.NewTxn()
	vpc := netip.MustParsePrefix("10.0.0.0/16")
	tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", CIDR: vpc, DefaultGroupID: "sg-1"})
	tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", VPCID: "vpc-1"})
	for i, z := range []string{"a", "b", "c"} {
		bits := 20
		tables.Subnets.Put(tx, account, region, "subnet-"+z, &model.Subnet{
			ID: "subnet-" + z, VPCID: "vpc-1", Zone: region + z, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(16 * (i + 1)), 0}), bits),
		})
	}
	tables.LaunchTemplates.Put(tx, account, region, "lt-1", &model.LaunchTemplate{ID: "lt-1", Name: "web", DefaultVersion: 1, LatestVersion: 2, LastVersion: 2})
	for n, kind := range map[int64]string{1: "t3.micro", 2: "t3.small"} {
		data, err := instances.Encode(model.LaunchData{
			ImageID: machineimage.All(region)[0].ID, InstanceType: kind,
			TagSpecifications: []model.LaunchTags{{ResourceType: "instance", Tags: []model.LaunchTag{{Key: "Name", Value: "template"}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		tables.LaunchTemplateVersions.Put(tx, account, region, model.LaunchTemplateVersionID("lt-1", n), &model.LaunchTemplateVersion{TemplateID: "lt-1", Version: n, Data: data})
	}
	if _, err := tx.Commit(t.Context(), x.store); err != nil {
		t.Fatal(err)
	}
	return x
}

// start starts the controllers, as a server's start does.
func (x *fixture) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ec2 := ec2instance.New(ec2instance.Config{Store: x.store, Clock: clock.System{}, Runtime: x.host})
	if err := ec2.Sweep(ctx); err != nil {
		x.Fatal(err)
	}
	cfg := autoscalinggroup.Config{Store: x.store, Clock: clock.System{}}
	runtime := controller.Runtime{Store: x.store, Clock: clock.System{}}
	done := make(chan struct{}, 2)
	go func() { ec2.Run(ctx); done <- struct{}{} }()
	go func() {
		_ = runtime.Run(ctx, ec2.Controller(), autoscalinggroup.New(cfg), autoscalinggroup.NewHistory(cfg))
		done <- struct{}{}
	}()
	x.stop = func() { cancel(); <-done; <-done }
}

// group makes a group, as the API would.
func (x *fixture) group(desired int, change func(*model.AutoScalingGroup)) {
	x.Helper()
	v := &model.AutoScalingGroup{
		Name: name, ARN: "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/" + name, CreatedAt: time.Now(), Desired: desired,
		DesiredReason: fmt.Sprintf("At X a user request created an AutoScalingGroup changing the desired capacity from 0 to %d.", desired),
		Spec: model.ASGSpec{
			Max: 10, LaunchTemplate: &model.ASGLaunchTemplate{ID: "lt-1", Name: "web", Version: "$Default"}, SubnetIDs: []string{"subnet-a", "subnet-b", "subnet-c"},
			HealthCheckType: "EC2", TerminationPolicies: []string{"Default"},
		},
	}
	if change != nil {
		change(v)
	}
	tx := store.NewTxn()
	tables.AutoScalingGroups.Put(tx, account, region, v.Name, v)
	x.ok(tx.Commit(x.Context(), x.store))
}

func (x *fixture) change(f func(*model.AutoScalingGroup)) {
	x.Helper()
	_, err := tables.AutoScalingGroups.Update(x.Context(), x.store, account, region, name, func(v *model.AutoScalingGroup) error { f(v); return nil })
	x.ok(nil, err)
}

func (x *fixture) member(id string, f func(*model.ASGInstance)) {
	x.Helper()
	_, err := tables.ASGInstances.Update(x.Context(), x.store, account, region, name+"/"+id, func(v *model.ASGInstance) error { f(v); return nil })
	x.ok(nil, err)
}

func (x *fixture) ok(_ any, err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
	synctest.Wait()
}

func (x *fixture) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (x *fixture) members() []*model.ASGInstance {
	x.Helper()
	rows, err := tables.ASGInstances.List(x.Context(), x.store, store.Query{Account: account, Region: region})
	if err != nil {
		x.Fatal(err)
	}
	var out []*model.ASGInstance
	for _, r := range rows {
		out = append(out, r.V)
	}
	return out
}

// in counts the members in a state.
func (x *fixture) in(state string) int {
	n := 0
	for _, m := range x.members() {
		if m.LifecycleState == state {
			n++
		}
	}
	return n
}

func (x *fixture) ec2(id string) *model.Instance {
	x.Helper()
	row, err := tables.Instances.Get(x.Context(), x.store, account, region, id)
	if err != nil {
		x.Fatal(err)
	}
	return row.V
}

// running counts what EC2 has running.
func (x *fixture) running() int {
	rows, err := tables.Instances.List(x.Context(), x.store, store.Query{})
	if err != nil {
		x.Fatal(err)
	}
	n := 0
	for _, r := range rows {
		if r.V.State() == model.InstanceRunning {
			n++
		}
	}
	return n
}

func (x *fixture) activities() []*model.ScalingActivity {
	rows, err := tables.ScalingActivities.List(x.Context(), x.store, store.Query{})
	if err != nil {
		x.Fatal(err)
	}
	var out []*model.ScalingActivity
	for _, r := range rows {
		out = append(out, r.V)
	}
	return out
}

// told finds an activity.
func (x *fixture) told(description, cause string) *model.ScalingActivity {
	for _, a := range x.activities() {
		if strings.Contains(a.Description, description) && strings.Contains(a.Cause, cause) {
			return a
		}
	}
	return nil
}

// is checks what soon runs and serves, and how many activities are left open.
func (x *fixture) is(inService, running, open int) {
	x.Helper()
	x.pass(time.Second) // lost races are tried again
	var going []string
	for _, a := range x.activities() {
		if a.EndedAt.IsZero() {
			going = append(going, a.Description)
		}
	}
	if n, r := x.in(model.ASGInService), x.running(); n != inService || r != running || len(going) != open {
		x.Fatalf("%d in service, %d running, open %q; want %d, %d, %d", n, r, going, inService, running, open)
	}
}

func TestGroup(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(4, func(v *model.AutoScalingGroup) {
			v.Tags = []model.ASGTag{{Key: "Name", Value: "group", PropagateAtLaunch: true}, {Key: "Team", Value: "a"}, {Key: "Env", PropagateAtLaunch: true}}
		})
		x.is(4, 4, 0)
		zones := map[string]int{}
		for _, m := range x.members() {
			zones[m.Zone]++
			i := x.ec2(m.InstanceID)
			if i.Spec.AutoScalingGroup != name || i.Tags["aws:autoscaling:groupName"] != name || i.Tags["Name"] != "group" || i.Tags["aws:ec2launchtemplate:version"] != "1" || i.Spec.Type != "t3.micro" {
				t.Errorf("%+v %v", i.Spec, i.Tags)
			}
			if _, ok := i.Tags["Team"]; ok {
				t.Error("a tag that is not to be propagated was")
			}
			if _, ok := i.Tags["Env"]; !ok {
				t.Error("a tag without a value was not propagated")
			}
			if m.Template.Version != "1" || m.Template.Name != "web" || m.Activity != "" {
				t.Errorf("%+v", m)
			}
		}
		if zones["us-east-1a"] != 2 || zones["us-east-1b"] != 1 || zones["us-east-1c"] != 1 {
			t.Errorf("zones %v", zones)
		}
		a := x.told("Launching a new EC2 instance: i-", "")
		if a == nil || a.StatusCode != "Successful" || a.Progress != 100 || a.Details != `{"Subnet ID":"`+x.ec2(a.InstanceID).Spec.SubnetID+`","Availability Zone":"`+x.ec2(a.InstanceID).Spec.Zone+`"}` ||
			!strings.HasSuffix(a.Cause, " from 0 to 4.  At "+a.StartedAt.UTC().Format("2006-01-02T15:04:05Z")+" an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 0 to 4.") {
			t.Fatalf("%+v", a)
		}
		x.change(func(v *model.AutoScalingGroup) {
			v.Desired, v.DesiredReason = 1, "At Y."
			v.Spec.LaunchTemplate.Version = "$Latest"
		})
		x.is(1, 1, 0)
		if a := x.told("Terminating EC2 instance: i-", "At Y.  At "); a == nil || a.StatusCode != "Successful" {
			t.Errorf("%+v", a)
		}
		x.change(func(v *model.AutoScalingGroup) { v.Desired, v.DesiredReason = 2, "At Z." })
		x.is(2, 2, 0)
		if kinds := []string{x.members()[0].InstanceType, x.members()[1].InstanceType}; !slices.Contains(kinds, "t3.small") {
			t.Errorf("types %v", kinds)
		}
	})
}

// What ends by itself, or by others, is replaced.
func TestReplacement(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(2, nil)
		first := x.members()[0].InstanceID
		x.ok(instances.Terminate(t.Context(), x.store, here, time.Now(), instances.Why{}, first))
		x.is(2, 2, 0)
		x.pass(time.Second)
		second := x.members()[0].InstanceID
		x.host.End(second, "failure")
		synctest.Wait()
		x.is(2, 2, 0)
		x.pass(time.Second)
		third := x.members()[0].InstanceID
		x.ok(instances.Stop(t.Context(), x.store, here, time.Now(), instances.Why{}, false, third))
		x.is(2, 2, 0)
		for _, id := range []string{first, second, third} {
			if x.told("Terminating EC2 instance: "+id, "in response to an EC2 health check indicating it has been terminated or stopped.") == nil {
				t.Errorf("nothing is told of the end of %s", id)
			}
		}
		if x.told("Launching", "in response to an unhealthy instance needing to be replaced.") == nil {
			t.Error("nothing is told of the replacement")
		}
		fourth := x.members()[0].InstanceID
		x.member(fourth, func(m *model.ASGInstance) { m.HealthStatus = "Unhealthy" })
		x.is(2, 2, 0)
		if x.told("Terminating EC2 instance: "+fourth, "in response to a user health-check.") == nil {
			t.Errorf("nothing is told of the end of %s", fourth)
		}
	})
}

func TestFailingLaunches(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(1, func(v *model.AutoScalingGroup) {
			v.Spec.LaunchTemplate = &model.ASGLaunchTemplate{ID: "lt-0", Version: "1"}
		})
		x.is(0, 0, 0)
		a := x.told("Launching a new EC2 instance.  Status Reason: The specified launch template, with template ID lt-0, does not exist. Launching EC2 instance failed.", "increasing the capacity from 0 to 1.")
		if a == nil || a.StatusCode != "Failed" || a.Progress != 100 {
			t.Fatalf("%+v", x.activities()[0])
		}
		x.pass(10 * time.Minute)
		if n := len(x.activities()); n < 4 || n > 8 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		x.change(func(v *model.AutoScalingGroup) { v.Spec.LaunchTemplate.ID = "lt-1" })
		x.pass(5 * time.Minute)
		x.is(1, 1, 0)
	})
	t.Run("another zone", func(t *testing.T) {
		in(t, func(x *fixture) {
			tx := store.NewTxn()
			tables.Subnets.Put(tx, account, region, "subnet-a", &model.Subnet{ID: "subnet-a", VPCID: "vpc-1", Zone: "us-east-1a", CIDR: netip.MustParsePrefix("10.0.16.0/29")})
			x.ok(tx.Commit(t.Context(), x.store))
			x.group(9, func(v *model.AutoScalingGroup) {
				v.Suspended = map[string]string{"AZRebalance": ""}
				v.Spec.SubnetIDs = v.Spec.SubnetIDs[:2]
			})
			x.is(9, 9, 0) // three addresses are free in the first one
			x.pass(time.Hour)
			x.is(9, 9, 0)
		})
	})
	t.Run("boot", func(t *testing.T) {
		in(t, func(x *fixture) {
			for range 30 {
				x.host.FailNext(fake.Boot, fmt.Errorf("no room"))
			}
			x.group(1, nil)
			x.pass(3 * time.Minute)
			a := x.told("Launching a new EC2 instance: i-", "")
			if a == nil || a.StatusCode != "Failed" && x.told("Status Reason: Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Server.InternalError: Internal error on launch", "") == nil {
				t.Fatalf("%+v", a)
			}
			x.pass(time.Hour)
			x.is(1, 1, 0)
		})
	})
}

func TestHooksAndTargets(t *testing.T) {
	in(t, func(x *fixture) {
		tg := &model.TargetGroup{ID: "0123456789abcdef", ARN: "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/tg/0123456789abcdef", TargetType: "instance", Port: 80, VpcID: "vpc-1"}
		tx := store.NewTxn()
		tables.TargetGroups.Put(tx, account, region, tg.ID, tg)
		x.ok(tx.Commit(t.Context(), x.store))
		x.group(1, func(v *model.AutoScalingGroup) {
			v.Spec.TargetGroups = []string{tg.ARN}
			v.Spec.HealthCheckType = "EC2,ELB"
			v.Spec.LifecycleHooks = []model.ASGHook{
				{Name: "up", Transition: "autoscaling:EC2_INSTANCE_LAUNCHING", DefaultResult: "ABANDON", HeartbeatSeconds: 60},
				{Name: "down", Transition: "autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult: "CONTINUE", HeartbeatSeconds: 60},
			}
		})
		m := x.members()[0]
		if m.LifecycleState != model.ASGPendingWait || len(m.HookActions) != 1 || len(m.HookActions[0].Token) != 36 {
			t.Fatalf("%+v", m)
		}
		if a := x.activities()[0]; a.StatusCode != "MidLifecycleAction" {
			t.Errorf("%+v", a)
		}
		x.member(m.InstanceID, func(m *model.ASGInstance) { m.HookActions[0].Result = "CONTINUE" })
		x.is(1, 1, 0)
		key := model.TargetKey(tg.ID, m.InstanceID, 80)
		target, err := tables.Targets.Get(t.Context(), x.store, account, region, key)
		if err != nil || target.V.RegisteredBy != "" || target.V.ID != m.InstanceID {
			t.Fatalf("%+v, %v", target.V, err)
		}
		// The load balancer finds it unhealthy.
		tx = store.NewTxn()
		tables.TargetsHealth.Put(tx, account, region, key, &model.TargetHealth{State: model.TargetHealthUnhealthy})
		x.ok(tx.Commit(t.Context(), x.store))
		a := x.told("Terminating EC2 instance: "+m.InstanceID+" - Waiting For ELB Connection Draining.", "in response to an ELB system health check failure.")
		if a == nil || a.StatusCode != "WaitingForELBConnectionDraining" {
			t.Fatalf("%+v", x.activities()[0])
		}
		if target, err = tables.Targets.Get(t.Context(), x.store, account, region, key); err != nil || target.V.DeregisteringAt == nil {
			t.Fatalf("%+v, %v", target.V, err)
		}
		tx = store.NewTxn()
		tables.Targets.Erase(tx, account, region, key)
		x.ok(tx.Commit(t.Context(), x.store))
		if n := x.in(model.ASGTerminatingWait); n != 1 {
			t.Fatalf("%d wait", n)
		}
		x.pass(time.Minute) // and the new one's hook times out
		if x.ec2(m.InstanceID).State() != model.InstanceTerminated {
			t.Error("it still runs")
		}
		if x.told("Status Reason: Instance failed to complete user's Lifecycle Action: Lifecycle Action with token ", "") == nil {
			t.Error("nothing is told of the abandoned launch")
		}
	})
}

// TestTargetOfAService holds that a group goes on whose member an ECS service has
// registered with the same target group, at the same port.
func TestTargetOfAService(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(1, nil)
		x.pass(time.Minute)
		x.is(1, 1, 0)
		id := x.members()[0].InstanceID
		tg := &model.TargetGroup{ID: "0123456789abcdef", ARN: "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/tg/0123456789abcdef", TargetType: "instance", Port: 80, VpcID: "vpc-1"}
		key := model.TargetKey(tg.ID, id, 80)
		tx := store.NewTxn()
		tables.TargetGroups.Put(tx, account, region, tg.ID, tg)
		tables.Targets.Put(tx, account, region, key, &model.Target{TargetGroupARN: tg.ARN, ID: id, Port: 80, RegisteredBy: "arn:aws:ecs:us-east-1:000000000000:service/c/s"})
		x.ok(tx.Commit(x.Context(), x.store))
		x.change(func(v *model.AutoScalingGroup) { v.Spec.TargetGroups, v.Desired = []string{tg.ARN}, 2 })
		x.pass(time.Minute)
		x.is(2, 2, 0)
		if row, err := tables.Targets.Get(x.Context(), x.store, account, region, key); err != nil || row.V.RegisteredBy == "" {
			x.Errorf("%+v %v", row.V, err)
		}
		rows, err := tables.Targets.List(x.Context(), x.store, store.Query{})
		if err != nil || len(rows) != 2 {
			x.Errorf("%d targets, %v", len(rows), err)
		}
	})
}

func TestCommands(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(3, nil)
		ask := func(id, command string, by int) string {
			x.Helper()
			a := "11111111-2222-3333-4444-" + fmt.Sprintf("%012d", len(x.activities()))
			row, err := tables.ASGInstances.Get(t.Context(), x.store, account, region, name+"/"+id)
			if err != nil {
				x.Fatal(err)
			}
			tx := store.NewTxn()
			m := row.Copy()
			m.Command, m.Activity = model.ASGCommand{Name: command, Cause: "At X."}, a
			tables.ASGInstances.Replace(tx, row, m)
			tables.ScalingActivities.Put(tx, account, region, name+"/"+a, &model.ScalingActivity{ID: a, Group: name, InstanceID: id, StatusCode: "InProgress", Description: command, StartedAt: time.Now()})
			g, err := tables.AutoScalingGroups.Get(t.Context(), x.store, account, region, name)
			if err != nil {
				x.Fatal(err)
			}
			v := g.Copy()
			v.Desired += by
			tables.AutoScalingGroups.Replace(tx, g, v)
			x.ok(tx.Commit(t.Context(), x.store))
			row2, err := tables.ScalingActivities.Get(t.Context(), x.store, account, region, name+"/"+a)
			if err != nil {
				x.Fatal(err)
			}
			return row2.V.StatusCode
		}
		first := x.members()[0].InstanceID
		if s := ask(first, model.ASGEnterStandby, -1); s != "Successful" {
			t.Errorf("standby: %s", s)
		}
		x.is(2, 3, 0)
		if s := ask(first, model.ASGExitStandby, 1); s != "Successful" {
			t.Errorf("standby: %s", s)
		}
		x.is(3, 3, 0)
		if s := ask(first, model.ASGDetach, -1); s != "Successful" {
			t.Errorf("detach: %s", s)
		}
		x.is(2, 3, 0)
		if i := x.ec2(first); i.Spec.AutoScalingGroup != "" || i.Tags["aws:autoscaling:groupName"] != "" || i.State() != model.InstanceRunning {
			t.Errorf("%+v %v", i.Spec, i.Tags)
		}
		// It comes back.
		tx := store.NewTxn()
		tables.ASGInstances.Put(tx, account, region, name+"/"+first, &model.ASGInstance{Group: name, InstanceID: first, Zone: x.ec2(first).Spec.Zone, LifecycleState: model.ASGPending, LaunchedAt: time.Now(), HealthStatus: "Healthy"})
		g, err := tables.AutoScalingGroups.Get(t.Context(), x.store, account, region, name)
		if err != nil {
			t.Fatal(err)
		}
		v := g.Copy()
		v.Desired = 3
		tables.AutoScalingGroups.Replace(tx, g, v)
		x.ok(tx.Commit(t.Context(), x.store))
		x.is(3, 3, 0)
		if i := x.ec2(first); i.Spec.AutoScalingGroup != name || i.Tags["aws:autoscaling:groupName"] != name {
			t.Errorf("%+v %v", i.Spec, i.Tags)
		}
		if s := ask(first, model.ASGTerminate, 0); s != "Successful" {
			t.Errorf("terminate: %s", s)
		}
		x.is(3, 3, 0)
		if x.ec2(first).State() != model.InstanceTerminated {
			t.Error("it still runs")
		}
	})
}

// A command for an instance that is still launched ends its launch.
func TestCommandWhilePending(t *testing.T) {
	in(t, func(x *fixture) {
		for range 3 {
			x.host.FailNext(fake.Boot, fmt.Errorf("wait"))
		}
		x.group(1, nil)
		m := x.members()[0]
		if m.LifecycleState != model.ASGPending {
			t.Skip("booted at once")
		}
		x.member(m.InstanceID, func(m *model.ASGInstance) {
			m.Command, m.Activity = model.ASGCommand{Name: model.ASGTerminate}, ""
		})
		x.pass(time.Minute)
		x.is(1, 1, 0)
	})
}

func TestRefresh(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(4, nil)
		r := &model.InstanceRefresh{
			ID: id.Newest(time.Now()), Group: name, Status: model.RefreshPending, StartedAt: time.Now(), MinHealthyPercentage: 50, MaxHealthyPercentage: 100, WarmupSeconds: 30,
			Template: model.ASGLaunchTemplate{ID: "lt-1", Name: "web", Version: "2"}, Desired: true, ScaleInProtected: "Wait", Standby: "Wait",
			Previous: &model.ASGLaunchTemplate{ID: "lt-1", Name: "web", Version: "1"},
		}
		tx := store.NewTxn()
		tables.InstanceRefreshes.Put(tx, account, region, name+"/"+r.ID, r)
		x.ok(tx.Commit(t.Context(), x.store))
		get := func() *model.InstanceRefresh {
			row, err := tables.InstanceRefreshes.Get(t.Context(), x.store, account, region, name+"/"+r.ID)
			if err != nil {
				t.Fatal(err)
			}
			return row.V
		}
		if v := get(); v.Status != model.RefreshInProgress || v.Total != 4 || len(v.ToReplace) != 4 {
			t.Fatalf("%+v", v)
		}
		x.pass(31 * time.Second)
		if v := get(); len(v.ToReplace) != 2+2 && len(v.ToReplace) != 2 {
			t.Fatalf("%+v", v)
		}
		x.pass(time.Minute)
		v := get()
		if v.Status != model.RefreshSuccessful || v.EndedAt.IsZero() || len(v.ToReplace) != 0 {
			t.Fatalf("%+v", v)
		}
		x.is(4, 4, 0)
		for _, m := range x.members() {
			if m.InstanceType != "t3.small" || m.Template.Version != "2" {
				t.Errorf("%+v", m)
			}
		}
		g, err := tables.AutoScalingGroups.Get(t.Context(), x.store, account, region, name)
		if err != nil || g.V.Spec.LaunchTemplate.Version != "2" {
			t.Errorf("%+v, %v", g.V.Spec.LaunchTemplate, err)
		}
	})
}

func TestDeletion(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(3, nil)
		other := name + "/b"
		x.group(1, func(v *model.AutoScalingGroup) { v.Name = other })
		x.is(4, 4, 0)
		tx := store.NewTxn()
		tables.InstanceRefreshes.Put(tx, account, region, name+"/r", &model.InstanceRefresh{ID: "r", Group: name, Status: model.RefreshCancelled, EndedAt: time.Now()})
		x.ok(tx.Commit(t.Context(), x.store))
		x.change(func(v *model.AutoScalingGroup) { v.Deleting, v.ForceDelete, v.Spec.Max = true, true, 0 })
		rows, err := tables.AutoScalingGroups.List(t.Context(), x.store, store.Query{})
		if err != nil || len(rows) != 1 || rows[0].V.Name != other {
			t.Fatalf("%v, %v", rows, err)
		}
		refreshes, err := tables.InstanceRefreshes.List(t.Context(), x.store, store.Query{})
		if err != nil || len(refreshes) != 0 || len(x.members()) != 1 || x.running() != 1 {
			t.Errorf("%v %v %d", refreshes, x.members(), x.running())
		}
		// Activities are there for six weeks.
		n := len(x.activities())
		if n != 7 {
			t.Errorf("%d activities", n)
		}
		x.pass(autoscalinggroup.Memory - time.Hour)
		if len(x.activities()) != n {
			t.Error("forgotten too early")
		}
		x.pass(3 * time.Hour)
		if n := len(x.activities()); n != 0 {
			t.Errorf("%d activities are left", n)
		}
	})
}

func TestSpotInterruption(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(2, func(v *model.AutoScalingGroup) {
			v.Spec.LaunchTemplate, v.Spec.CapacityRebalance = nil, true
			v.Spec.MixedInstances = &model.ASGMixedInstances{
				LaunchTemplate: model.ASGLaunchTemplate{ID: "lt-1", Version: "1"},
				Overrides:      []model.ASGOverride{{InstanceType: "t3.medium"}, {InstanceType: "t3.large"}},
				Distribution:   model.ASGInstanceAllocation{OnDemandBase: 1, SpotAllocationStrategy: "price-capacity-optimized"},
			}
		})
		x.is(2, 2, 0)
		var spot string
		for _, m := range x.members() {
			if i := x.ec2(m.InstanceID); m.Spot != (i.Spec.Lifecycle == "spot") {
				t.Errorf("%+v %+v", m, i.Spec)
			} else if m.Spot {
				spot = m.InstanceID
			}
		}
		_, err := tables.Instances.Update(t.Context(), x.store, account, region, spot, func(v *model.Instance) error {
			v.Desired.SpotInterruptionAt = time.Now().Add(2 * time.Minute)
			return nil
		})
		x.ok(nil, err)
		x.pass(time.Second)
		x.is(2, 2, 0)
		if x.ec2(spot).State() != model.InstanceTerminated || x.told("Terminating EC2 instance: "+spot, "rebalance recommendation") == nil {
			t.Error("it was not replaced")
		}
	})
}

// A server that starts again finds groups as they are, and goes on.
func TestRestart(t *testing.T) {
	in(t, func(x *fixture) {
		x.group(3, nil)
		x.stop()
		x.change(func(v *model.AutoScalingGroup) { v.Desired, v.DesiredReason = 5, "At Y." })
		x.ok(instances.Terminate(t.Context(), x.store, here, time.Now(), instances.Why{}, x.members()[0].InstanceID))
		x.start()
		synctest.Wait()
		x.is(5, 5, 0)
	})
}
