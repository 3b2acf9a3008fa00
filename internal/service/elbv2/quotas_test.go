package elbv2

import (
	"fmt"
	"testing"

	"roadstead.dev/internal/api/elbv2"
)

// The quotas of load balancers are for each type of them.
func TestLoadBalancersOfEachType(t *testing.T) {
	w := newWorld(t)
	create := func(name string, kind elbv2.LoadBalancerTypeEnum) error {
		_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new(name), Type: kind, Scheme: "internal", Subnets: []string{"subnet-a", "subnet-b"}})
		return err
	}
	for i := range maxLoadBalancers {
		if err := create(fmt.Sprint("app-", i), elbv2.LoadBalancerTypeEnumApplication); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, create("app-more", elbv2.LoadBalancerTypeEnumApplication), "TooManyLoadBalancers", "maximum number")
	if err := create("net", elbv2.LoadBalancerTypeEnumNetwork); err != nil {
		t.Error(err)
	}
	// One that is deleted makes room at once.
	arn := must(w.s.DescribeLoadBalancers(w.ctx, &elbv2.DescribeLoadBalancersInput{Names: []string{"app-0"}}))(w).LoadBalancers[0].LoadBalancerArn
	must(w.s.DeleteLoadBalancer(w.ctx, &elbv2.DeleteLoadBalancerInput{LoadBalancerArn: arn}))(w)
	if err := create("app-more", elbv2.LoadBalancerTypeEnumApplication); err != nil {
		t.Error(err)
	}
}

// Load balancers can be open to zonal shifts, and targets are told to be in none.
func TestZonalShift(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("lb"), w.group("g")
	set := func(v string) error {
		_, err := w.s.ModifyLoadBalancerAttributes(w.ctx, &elbv2.ModifyLoadBalancerAttributesInput{
			LoadBalancerArn: new(lb), Attributes: []elbv2.LoadBalancerAttribute{{Key: new("zonal_shift.config.enabled"), Value: new(v)}},
		})
		return err
	}
	if err := set("true"); err != nil {
		t.Error(err)
	}
	refused(t, set("on"), "ValidationError", "zonal_shift.config.enabled")
	must(w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: new(g), Targets: []elbv2.TargetDescription{{Id: new("172.31.0.9")}}}))(w)
	out := must(w.s.DescribeTargetHealth(w.ctx, &elbv2.DescribeTargetHealthInput{TargetGroupArn: new(g), Targets: []elbv2.TargetDescription{{Id: new("172.31.0.9")}, {Id: new("172.31.0.10")}}}))(w)
	for i, d := range out.TargetHealthDescriptions {
		o := d.AdministrativeOverride
		if (o == nil) != (i == 1) || o != nil && (o.State != "no_override" || o.Reason != "AdministrativeOverride.NoOverride" || *o.Description != "No override is currently active on target") {
			t.Errorf("%d: %+v", i, o)
		}
	}
}
