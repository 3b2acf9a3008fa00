package autoscaling_test

import (
	"maps"
	"slices"
	"testing"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
)

func TestScope(t *testing.T) {
	w := newWorld(t)
	w.group("web", nil)
	w.joins("web", "i-1", model.ASGInService, nil)
	arn := w.record("web").ARN
	unknown := "arn:aws:autoscaling:eu-west-1:000000000000:autoScalingGroup:*:autoScalingGroupName/new"
	create := input("new")
	create.TargetGroupARNs = []string{"tg-1", "tg-2"}
	for _, tt := range []struct {
		operation string
		in        any
		want      string
		keys      map[string]string
	}{
		{"CreateAutoScalingGroup", create, unknown, map[string]string{
			"autoscaling:MinSize": "1", "autoscaling:MaxSize": "3", "autoscaling:VPCZoneIdentifiers": "subnet-a,subnet-b",
			"autoscaling:LaunchTemplateVersionSpecified": "false", "autoscaling:TargetGroupARNs": "tg-1,tg-2",
		}},
		{"UpdateAutoScalingGroup", &api2.UpdateAutoScalingGroupInput{AutoScalingGroupName: new("web"), MixedInstancesPolicy: &api2.MixedInstancesPolicy{LaunchTemplate: &api2.LaunchTemplate{
			LaunchTemplateSpecification: &api2.LaunchTemplateSpecification{Version: new("1")}, Overrides: []api2.LaunchTemplateOverrides{{InstanceType: new("t3.micro")}},
		}}}, arn, map[string]string{"autoscaling:LaunchTemplateVersionSpecified": "true", "autoscaling:InstanceTypes": "t3.micro"}},
		{"SetDesiredCapacity", &api2.SetDesiredCapacityInput{AutoScalingGroupName: new("web")}, arn, nil},
		{"DeleteAutoScalingGroup", &api2.DeleteAutoScalingGroupInput{AutoScalingGroupName: new("new")}, unknown, nil},
		{"AttachLoadBalancerTargetGroups", &api2.AttachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web"), TargetGroupARNs: []string{"x"}}, arn, map[string]string{"autoscaling:TargetGroupARNs": "x"}},
		{"DetachLoadBalancerTargetGroups", &api2.DetachLoadBalancerTargetGroupsInput{AutoScalingGroupName: new("web"), TargetGroupARNs: []string{"x"}}, arn, map[string]string{"autoscaling:TargetGroupARNs": "x"}},
		{"CreateOrUpdateTags", &api2.CreateOrUpdateTagsInput{Tags: []api2.Tag{{ResourceId: &arn}}}, arn, nil},
		{"DeleteTags", &api2.DeleteTagsInput{Tags: []api2.Tag{{ResourceId: new("web")}}}, arn, nil},
		{"TerminateInstanceInAutoScalingGroup", &api2.TerminateInstanceInAutoScalingGroupInput{InstanceId: new("i-1")}, arn, nil},
		{"SetInstanceHealth", &api2.SetInstanceHealthInput{InstanceId: new("i-9")}, "", nil},
		{"DescribeAutoScalingGroups", &api2.DescribeAutoScalingGroupsInput{}, "", nil},
		{"DescribeLifecycleHooks", &api2.DescribeLifecycleHooksInput{AutoScalingGroupName: new("web")}, "", nil},
	} {
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		arns, keys := w.ScopeOf(w.ctx, &api.Operation{Name: tt.operation}, tt.in)
		if !slices.Equal(arns, want) || !maps.Equal(keys, tt.keys) {
			t.Errorf("%s: %v %v", tt.operation, arns, keys)
		}
	}
}
