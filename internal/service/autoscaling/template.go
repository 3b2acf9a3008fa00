package autoscaling

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/instances"
)

const (
	eitherSource   = "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter."
	eitherTemplate = "Valid requests must contain either launchTemplateId or LaunchTemplateName"
)

// malformed says what is wrong with a launch template, in the words of EC2.
func malformed(err error) error {
	e, ok := errors.AsType[*instances.Error](err)
	if !ok {
		return err
	}
	if strings.Contains(e.Message, "an instance-level security groups may not be specified") {
		return api.NewFault("InvalidQueryParameter", "Invalid launch template: When a network interface is provided, the security groups must be a part of it.")
	}
	return invalid("You must use a valid fully-formed launch template. %s", e.Message)
}

// templateOf finds the template that a request names.
func (s *Service) templateOf(ctx context.Context, in *autoscaling.LaunchTemplateSpecification) (model.ASGLaunchTemplate, error) {
	c := api.CallFrom(ctx)
	id, name := value(in.LaunchTemplateId), value(in.LaunchTemplateName)
	if (id == "") == (name == "") {
		return model.ASGLaunchTemplate{}, invalid(eitherTemplate)
	}
	version := value(in.Version)
	if version == "" {
		version = instances.Default
	}
	t, err := instances.Template(ctx, s.Store, placeOf(c), id, name)
	if err != nil {
		return model.ASGLaunchTemplate{}, malformed(err)
	}
	return model.ASGLaunchTemplate{ID: t.V.ID, Name: t.V.Name, Version: version}, nil
}

// source is one thing that a group launches from.
type source struct {
	template     model.ASGLaunchTemplate
	instanceType string // over the template's, when not empty
}

// sources are all that a group launches from.
func sources(t *model.ASGLaunchTemplate, mixed *model.ASGMixedInstances) []source {
	switch {
	case t != nil:
		return []source{{template: *t}}
	case mixed == nil:
		return nil
	case len(mixed.Overrides) == 0:
		return []source{{template: mixed.LaunchTemplate}}
	}
	var out []source
	for _, o := range mixed.Overrides {
		src := source{template: mixed.LaunchTemplate, instanceType: o.InstanceType}
		if o.LaunchTemplate != nil {
			src.template = *o.LaunchTemplate
		}
		out = append(out, src)
	}
	return out
}

// launchable checks that instances can be launched as spec says, and that the
// caller may launch them.
func (s *Service) launchable(ctx context.Context, spec *model.ASGSpec) error {
	c := api.CallFrom(ctx)
	all := sources(spec.LaunchTemplate, spec.MixedInstances)
	if len(all) == 0 {
		return invalid(eitherSource)
	}
	subnets, err := s.launchesInto(ctx, c, spec)
	if err != nil {
		return err
	}
	allowed := map[string]bool{}
	for _, src := range all {
		_, _, data, err := instances.TemplateVersion(ctx, s.Store, placeOf(c), src.template.ID, "", src.template.Version)
		if err != nil {
			return malformed(err)
		}
		if spec.MixedInstances != nil && data.InstanceMarketOptions != nil {
			return invalid("Incompatible launch template: You cannot use a launch template that is set to request Spot Instances (InstanceMarketOptions) " +
				"when you configure an Auto Scaling group with a mixed instances policy. Add a different launch template to the group and try again.")
		}
		if src.instanceType != "" {
			data.InstanceType = src.instanceType
		}
		for _, subnet := range subnets {
			resolved, err := instances.Resolve(ctx, s.Store, placeOf(c), instances.Placed(data, subnet))
			if wrongArchitecture(err) {
				continue // the launch fails, which an activity tells
			}
			if err != nil {
				return malformed(err)
			}
			if err := mayLaunch(ctx, c, src.template.ID, resolved.RoleARN, allowed); err != nil {
				return err
			}
		}
	}
	return nil
}

// wrongArchitecture tells of a type that does not run the image, which only a
// launch finds out.
func wrongArchitecture(err error) bool {
	e, ok := errors.AsType[*instances.Error](err)
	return ok && strings.Contains(e.Message, "does not match the architecture")
}

// mayLaunch asks, once for each, whether the caller may run instances from the
// template and give them the role.
func mayLaunch(ctx context.Context, c *api.Call, template, roleARN string, allowed map[string]bool) error {
	if !allowed[template] {
		for _, resource := range []string{"launch-template/" + template, "instance/*"} {
			if err := c.Authorize(ctx, "ec2:RunInstances", model.MakeARN("ec2", c.Region, c.Account, resource), nil); err != nil {
				if _, ok := errors.AsType[api.Error](err); !ok {
					return err
				}
				return &api.Fault{Code: "AccessDenied", Message: "You are not authorized to use launch template: " + template, Status: 403}
			}
		}
		allowed[template] = true
	}
	if roleARN == "" || allowed[roleARN] {
		return nil
	}
	allowed[roleARN] = true
	return c.Authorize(ctx, "iam:PassRole", roleARN, map[string]string{"iam:PassedToService": ec2Principal})
}
