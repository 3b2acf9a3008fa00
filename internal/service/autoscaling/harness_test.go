package autoscaling_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/service/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ami   = machineimage.All(region)[0].ID
)

// world is a service over a store with a default VPC, and with the launch
// template lt-1, named web.
type world struct {
	*testing.T
	*autoscaling.Service
	ctx   context.Context
	store store.Store
	// denied is the action that the caller may not do.
	denied string
	asked  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	w := &world{T: t, Service: autoscaling.New(autoscaling.Config{Store: s}), store: s}
	w.ctx = w.at(0)
	tx := store.NewTxn()
	tables.VPCs.Create(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", DefaultGroupID: "sg-1", IsDefault: true})
	tables.VPCs.Create(tx, account, region, "vpc-2", &model.VPC{ID: "vpc-2", DefaultGroupID: "sg-2"})
	for i, id := range []string{"sg-1", "sg-2"} {
		tables.SecurityGroups.Create(tx, account, region, id, &model.SecurityGroup{ID: id, VPCID: []string{"vpc-1", "vpc-2"}[i]})
	}
	for _, n := range []struct{ id, vpc, zone, cidr string }{
		{"subnet-a", "vpc-1", "a", "10.0.0.0/24"}, {"subnet-b", "vpc-1", "b", "10.0.1.0/24"}, {"subnet-z", "vpc-2", "a", "10.0.2.0/24"},
	} {
		tables.Subnets.Create(tx, account, region, n.id, &model.Subnet{
			ID: n.id, VPCID: n.vpc, Zone: region + n.zone, CIDR: netip.MustParsePrefix(n.cidr), DefaultForAZ: n.vpc == "vpc-1",
		})
	}
	w.commit(tx)
	w.template("lt-1", "web", model.LaunchData{ImageID: ami, InstanceType: "t3.micro"})
	return w
}

// at is a call so much after the start.
func (w *world) at(after time.Duration) context.Context {
	return api.WithCall(w.Context(), &api.Call{
		Account: account, Region: region, Partition: "aws", Time: start.Add(after), Identity: api.Identity{Root: true, UserID: account},
		Authorize: func(_ context.Context, action, resource string, _ map[string]string) error {
			w.asked = append(w.asked, action+" "+resource)
			if action == w.denied {
				return &api.Fault{Code: "AccessDenied", Message: "not authorized to perform: " + action, Status: 403}
			}
			return nil
		},
	})
}

func (w *world) commit(tx *store.Txn) {
	w.Helper()
	if _, err := tx.Commit(w.Context(), w.store); err != nil {
		w.Fatal(err)
	}
}

// template stores a launch template with a first version.
func (w *world) template(id, name string, data model.LaunchData) {
	w.Helper()
	tx := store.NewTxn()
	tables.LaunchTemplates.Create(tx, account, region, id, &model.LaunchTemplate{ID: id, Name: name, DefaultVersion: 1, LatestVersion: 1, LastVersion: 1})
	tables.LaunchTemplateNames.Create(tx, account, region, name, &id)
	b, err := instances.Encode(data)
	if err != nil {
		w.Fatal(err)
	}
	tables.LaunchTemplateVersions.Create(tx, account, region, model.LaunchTemplateVersionID(id, 1), &model.LaunchTemplateVersion{TemplateID: id, Version: 1, Data: b})
	w.commit(tx)
}

// profile stores an instance profile with a role.
func (w *world) profile(name string) {
	w.Helper()
	tx := store.NewTxn()
	role := &model.Role{}
	role.Name, role.ARN = "role-"+name, "arn:aws:iam::"+account+":role/role-"+name
	tables.Roles.Create(tx, account, "", "role-"+name, role)
	tables.InstanceProfiles.Create(tx, account, "", name, &model.InstanceProfile{Name: name, ARN: "arn:aws:iam::" + account + ":instance-profile/" + name, Role: "role-" + name})
	w.commit(tx)
}

// must returns what a call that has to succeed answers.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// fails checks the code and a part of the message of an error.
func fails(t testing.TB, err error, code, part string) {
	t.Helper()
	if api.Code(err) != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e, ok := errors.AsType[api.Error](err); !ok || !strings.Contains(e.ErrorMessage(), part) {
		t.Errorf("message %q, want %q", e.ErrorMessage(), part)
	}
}

// input asks for a group of one to three in the default VPC.
func input(name string) *api2.CreateAutoScalingGroupInput {
	return &api2.CreateAutoScalingGroupInput{
		AutoScalingGroupName: &name, MinSize: new(int32(1)), MaxSize: new(int32(3)), VPCZoneIdentifier: new("subnet-a,subnet-b"),
		LaunchTemplate: &api2.LaunchTemplateSpecification{LaunchTemplateName: new("web")},
	}
}

// group makes a group.
func (w *world) group(name string, change func(in *api2.CreateAutoScalingGroupInput)) {
	w.Helper()
	in := input(name)
	if change != nil {
		change(in)
	}
	must[*api2.CreateAutoScalingGroupOutput](w)(w.CreateAutoScalingGroup(w.ctx, in))
}

func (w *world) describe(name string) *api2.AutoScalingGroup {
	w.Helper()
	out := must[*api2.DescribeAutoScalingGroupsOutput](w)(w.DescribeAutoScalingGroups(w.ctx, &api2.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{name}}))
	if len(out.AutoScalingGroups) != 1 {
		w.Fatalf("%d groups named %s", len(out.AutoScalingGroups), name)
	}
	return &out.AutoScalingGroups[0]
}

func (w *world) record(name string) *model.AutoScalingGroup {
	w.Helper()
	return must[store.Row[model.AutoScalingGroup]](w)(tables.AutoScalingGroups.Get(w.ctx, w.store, account, region, name)).V
}

func (w *world) member(group, id string) *model.ASGInstance {
	w.Helper()
	return must[store.Row[model.ASGInstance]](w)(tables.ASGInstances.Get(w.ctx, w.store, account, region, group+"/"+id)).V
}

// joins does what the controller does: it puts an instance into a group.
func (w *world) joins(group, id, state string, change func(m *model.ASGInstance)) {
	w.Helper()
	m := &model.ASGInstance{
		Group: group, InstanceID: id, InstanceType: "t3.micro", Zone: region + "a", LifecycleState: state, LaunchedAt: start, StateSince: start,
		HealthStatus: "Healthy", Template: model.ASGLaunchTemplate{ID: "lt-1", Name: "web", Version: "1"},
	}
	if change != nil {
		change(m)
	}
	tx := store.NewTxn()
	tables.ASGInstances.Put(tx, account, region, group+"/"+id, m)
	w.commit(tx)
}
