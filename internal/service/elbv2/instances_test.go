package elbv2

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// instance writes an instance's record.
func (w *world) instance(id, vpc, desired, state string) {
	w.t.Helper()
	tx := store.NewTxn()
	tables.Instances.Put(tx, account, region, id, &model.Instance{
		ID: id, Spec: model.InstanceSpec{VPCID: vpc}, Desired: model.InstanceDesired{State: desired}, Status: model.InstanceStatus{State: state},
	})
	if _, err := tx.Commit(w.t.Context(), w.st); err != nil {
		w.t.Fatal(err)
	}
}

const (
	runs    = "i-00000000000000001"
	stopped = "i-00000000000000002"
	abroad  = "i-00000000000000003"
	boots   = "i-00000000000000004"
)

func TestInstanceTargets(t *testing.T) {
	w := newWorld(t)
	w.instance(runs, "vpc-1", model.InstanceRunning, model.InstanceRunning)
	w.instance(stopped, "vpc-1", model.InstanceStopped, model.InstanceStopping)
	w.instance(abroad, "vpc-2", model.InstanceRunning, model.InstanceRunning)
	w.instance(boots, "vpc-1", model.InstanceRunning, model.InstancePending)
	group := must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{Name: new("i"), Protocol: "HTTP", Port: new(int32(80)), VpcId: new("vpc-1")}))(w).TargetGroups[0]
	if group.TargetType != elbv2.TargetTypeEnumInstance {
		t.Errorf("type %s", group.TargetType)
	}
	arn := *group.TargetGroupArn
	register := func(ts ...elbv2.TargetDescription) error {
		_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &arn, Targets: ts})
		return err
	}
	at := func(id string, port int32) elbv2.TargetDescription {
		d := elbv2.TargetDescription{Id: &id}
		if port != 0 {
			d.Port = &port
		}
		return d
	}
	for _, tt := range []struct {
		name          string
		target        elbv2.TargetDescription
		code, message string
	}{
		{"an address", at("172.31.0.5", 0), "ValidationError", "Instance ID '172.31.0.5' is not valid"},
		{"no instance", at("i-0000000000000000f", 0), "InvalidTarget", "The following instances do not exist: 'i-0000000000000000f'"},
		{"another VPC", at(abroad, 0), "InvalidTarget", "The following targets are not in the target group VPC 'vpc-1': '" + abroad + "'"},
		{"stopping", at(stopped, 0), "InvalidTarget", "The following targets are not in a running state and cannot be registered: '" + stopped + "'"},
		{"pending", at(boots, 0), "InvalidTarget", "not in a running state"},
		{"a zone", elbv2.TargetDescription{Id: new(runs), AvailabilityZone: new("us-east-1a")}, "ValidationError", "Availability Zone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, register(at(runs, 9), tt.target), tt.code, tt.message)
		})
	}
	if err := register(at(runs, 0), at(runs, 49153), at(runs, 49154), at(runs, 49153)); err != nil {
		t.Fatal(err)
	}
	ports := func() (out []int32) {
		for _, d := range must(w.s.DescribeTargetHealth(w.ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: &arn}))(w).TargetHealthDescriptions {
			if *d.Target.Id != runs || d.Target.AvailabilityZone != nil {
				t.Errorf("target %+v", *d.Target)
			}
			if d.TargetHealth.State != "draining" {
				out = append(out, *d.Target.Port)
			}
		}
		return out
	}
	if d := cmp.Diff([]int32{49153, 49154, 80}, ports()); d != "" {
		t.Error(d)
	}
	must(w.s.DeregisterTargets(w.ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: []elbv2.TargetDescription{at(runs, 49153)}}))(w)
	if d := cmp.Diff([]int32{49154, 80}, ports()); d != "" {
		t.Error(d)
	}
	// Without a port, all of the instance's.
	must(w.s.DeregisterTargets(w.ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: &arn, Targets: []elbv2.TargetDescription{at(runs, 0)}}))(w)
	if left := ports(); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	// An address group takes no instances.
	_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: new(w.group("ip")), Targets: []elbv2.TargetDescription{at(runs, 0)}})
	refused(t, err, "ValidationError", "is not a valid IPv4 address")
}
