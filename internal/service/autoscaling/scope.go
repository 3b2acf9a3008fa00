package autoscaling

import (
	"context"
	"reflect"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// nameOf is the group's name in what may be its ARN.
func nameOf(c *api.Call, ref string) string {
	if a, err := model.ParseARN(ref); err == nil && a.Service == "autoscaling" && a.Account == c.Account && a.Region == c.Region {
		if _, name, ok := strings.Cut(a.Resource, ":autoScalingGroupName/"); ok {
			return name
		}
	}
	return ref
}

// ScopeOf names the groups that an operation changes, and what it makes of
// them as condition keys. Operations that describe act on all.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html
func (s *Service) ScopeOf(ctx context.Context, op *api.Operation, in any) ([]string, map[string]string) {
	if strings.HasPrefix(op.Name, "Describe") {
		return nil, nil
	}
	switch in := in.(type) {
	case *autoscaling.CreateAutoScalingGroupInput:
		arns := []string{groupARN(api.CallFrom(ctx), "*", value(in.AutoScalingGroupName))}
		keys := sizes(in.MinSize, in.MaxSize)
		addPlaces(keys, in.VPCZoneIdentifier, in.TargetGroupARNs)
		addBalancers(keys, in.LoadBalancerNames)
		addTemplate(keys, in.LaunchTemplate)
		addMixed(keys, in.MixedInstancesPolicy)
		return arns, keys
	case *autoscaling.UpdateAutoScalingGroupInput:
		keys := sizes(in.MinSize, in.MaxSize)
		addPlaces(keys, in.VPCZoneIdentifier, nil)
		addTemplate(keys, in.LaunchTemplate)
		addMixed(keys, in.MixedInstancesPolicy)
		return s.groupARNs(ctx, value(in.AutoScalingGroupName)), keys
	case *autoscaling.AttachLoadBalancersInput:
		keys := map[string]string{}
		addBalancers(keys, in.LoadBalancerNames)
		return s.groupARNs(ctx, value(in.AutoScalingGroupName)), keys
	case *autoscaling.DetachLoadBalancersInput:
		keys := map[string]string{}
		addBalancers(keys, in.LoadBalancerNames)
		return s.groupARNs(ctx, value(in.AutoScalingGroupName)), keys
	case *autoscaling.AttachLoadBalancerTargetGroupsInput:
		keys := map[string]string{}
		addPlaces(keys, nil, in.TargetGroupARNs)
		return s.groupARNs(ctx, value(in.AutoScalingGroupName)), keys
	case *autoscaling.DetachLoadBalancerTargetGroupsInput:
		keys := map[string]string{}
		addPlaces(keys, nil, in.TargetGroupARNs)
		return s.groupARNs(ctx, value(in.AutoScalingGroupName)), keys
	case *autoscaling.CreateOrUpdateTagsInput:
		return s.groupARNs(ctx, tagged(in.Tags)...), nil
	case *autoscaling.DeleteTagsInput:
		return s.groupARNs(ctx, tagged(in.Tags)...), nil
	case *autoscaling.TerminateInstanceInAutoScalingGroupInput:
		return s.groupARNs(ctx, s.groupsOf(ctx, value(in.InstanceId))...), nil
	case *autoscaling.SetInstanceHealthInput:
		return s.groupARNs(ctx, s.groupsOf(ctx, value(in.InstanceId))...), nil
	}
	if name := groupNamed(in); name != "" {
		return s.groupARNs(ctx, name), nil
	}
	return nil, nil
}

// groupARNs are the ARNs of groups; one that is not there has any id.
func (s *Service) groupARNs(ctx context.Context, names ...string) []string {
	c := api.CallFrom(ctx)
	var out []string
	for _, name := range names {
		name = nameOf(c, name)
		arn := groupARN(c, "*", name)
		if row, err := tables.AutoScalingGroups.Get(ctx, s.Store, c.Account, c.Region, name); err == nil {
			arn = row.V.ARN
		}
		out = append(out, arn)
	}
	return out
}

// groupsOf are the names of the groups that an instance is in: one at most.
func (s *Service) groupsOf(ctx context.Context, instanceID string) []string {
	q := everything(api.CallFrom(ctx))
	q.Index = store.Index{Name: tables.ByEC2Instance, Value: instanceID}
	rows, err := tables.ASGInstances.List(ctx, s.Store, q)
	if err != nil || len(rows) == 0 {
		return nil
	}
	return []string{rows[0].V.Group}
}

func tagged(tags []autoscaling.Tag) []string {
	var out []string
	for _, t := range tags {
		if t.ResourceId != nil {
			out = append(out, *t.ResourceId)
		}
	}
	return out
}

func sizes(least, most *int32) map[string]string {
	keys := map[string]string{}
	for name, v := range map[string]*int32{"autoscaling:MinSize": least, "autoscaling:MaxSize": most} {
		if v != nil {
			keys[name] = strconv.Itoa(int(*v))
		}
	}
	return keys
}

func addPlaces(keys map[string]string, subnets *string, targetGroups []string) {
	if subnets != nil {
		keys["autoscaling:VPCZoneIdentifiers"] = *subnets
	}
	if len(targetGroups) > 0 {
		keys["autoscaling:TargetGroupARNs"] = strings.Join(targetGroups, ",")
	}
}

// addTemplate tells whether a version of the launch template is named.
func addTemplate(keys map[string]string, t *autoscaling.LaunchTemplateSpecification) {
	if t != nil {
		keys["autoscaling:LaunchTemplateVersionSpecified"] = strconv.FormatBool(t.Version != nil)
	}
}

func addMixed(keys map[string]string, m *autoscaling.MixedInstancesPolicy) {
	if m == nil || m.LaunchTemplate == nil {
		return
	}
	addTemplate(keys, m.LaunchTemplate.LaunchTemplateSpecification)
	var types []string
	for _, o := range m.LaunchTemplate.Overrides {
		if o.InstanceType != nil {
			types = append(types, *o.InstanceType)
		}
	}
	if len(types) > 0 {
		keys["autoscaling:InstanceTypes"] = strings.Join(types, ",")
	}
}

// groupNamed is the name of the group in an operation's input, or empty.
func groupNamed(in any) string {
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return ""
	}
	f := v.Elem().FieldByName("AutoScalingGroupName")
	if !f.IsValid() {
		return ""
	}
	p, _ := reflect.TypeAssert[*string](f)
	return value(p)
}
