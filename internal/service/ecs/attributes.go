package ecs

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxCustom is how many attributes a user can put on a resource.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html
const maxCustom = 10

var (
	attributeName  = regexp.MustCompile(`^[A-Za-z0-9_.\\/-]{1,128}$`)
	attributeValue = regexp.MustCompile(`^[A-Za-z0-9_.@:\\/ -]{0,128}$`)
)

// builtIn tells whether an attribute is one of ECS's own or of its agent's.
func builtIn(name string) bool {
	return strings.HasPrefix(name, "ecs.") || strings.HasPrefix(name, "com.amazonaws.ecs.")
}

// checkAttribute checks the name and the value.
func checkAttribute(a ecs.Attribute) error {
	switch v := val(a.Value); {
	case !attributeName.MatchString(val(a.Name)):
		return ecs.NewInvalidParameterException("Invalid attribute name: %s", val(a.Name))
	case !attributeValue.MatchString(v) || v != strings.TrimSpace(v):
		return ecs.NewInvalidParameterException("Invalid attribute value: %s", v)
	}
	return nil
}

func checkCustomCount(i *model.ContainerInstance) error {
	if len(i.Custom) > maxCustom {
		return ecs.NewInvalidParameterException("A container instance can have at most %d custom attributes.", maxCustom)
	}
	return nil
}

// attributeTarget is the reference to the container instance that an attribute
// is for.
func attributeTarget(a ecs.Attribute) (string, error) {
	ref := val(a.TargetId)
	switch {
	case ref == "":
		return "", ecs.NewInvalidParameterException("Attribute target ID cannot be empty.")
	case a.TargetType == "" && !strings.HasPrefix(ref, "arn:"):
		return "", ecs.NewInvalidParameterException("Attribute target type cannot be empty when the target ID is not a full ARN.")
	}
	return ref, nil
}

// changeAttributes applies change to the target of each attribute, all in one
// transaction.
func (s *Service) changeAttributes(ctx context.Context, cluster *string, attributes []ecs.Attribute, change func(i *model.ContainerInstance, a ecs.Attribute) (ecs.Attribute, error)) ([]ecs.Attribute, error) {
	sc := scopeOf(ctx)
	row, err := s.activeCluster(ctx, sc, cluster)
	if err != nil {
		return nil, err
	}
	switch {
	case len(attributes) == 0:
		return nil, ecs.NewInvalidParameterException("Attributes cannot be empty.")
	case len(attributes) > maxCustom:
		return nil, ecs.NewInvalidParameterException("Attributes can have at most %d items.", maxCustom)
	}
	return retry(ctx, func() ([]ecs.Attribute, error) {
		out := []ecs.Attribute{}
		type changed struct {
			row store.Row[model.ContainerInstance]
			v   *model.ContainerInstance
		}
		targets := map[string]changed{}
		for _, a := range attributes {
			ref, err := attributeTarget(a)
			if err != nil {
				return nil, err
			}
			target, _, err := s.containerInstance(ctx, sc, row.V.ClusterName, ref)
			if errors.Is(err, store.ErrNotFound) || err == nil && target.V.Status == model.ContainerInstanceInactive {
				return nil, ecs.NewTargetNotFoundException("The specified target was not found. Target: %s", ref)
			}
			if err != nil {
				return nil, err
			}
			if _, ok := targets[target.Key.ID]; !ok {
				targets[target.Key.ID] = changed{target, target.Copy()}
			}
			done, err := change(targets[target.Key.ID].v, a)
			if err != nil {
				return nil, err
			}
			done.TargetId = new(target.V.ARN)
			out = append(out, done)
		}
		tx := store.NewTxn()
		for _, t := range targets {
			t.v.Version++
			tables.ECSContainerInstances.Replace(tx, t.row, t.v)
		}
		_, err := tx.Commit(ctx, s.store)
		return out, err
	})
}

// PutAttributes puts attributes on container instances.
func (s *Service) PutAttributes(ctx context.Context, in *ecs.PutAttributesInput) (*ecs.PutAttributesOutput, error) {
	out, err := s.changeAttributes(ctx, in.Cluster, in.Attributes, func(i *model.ContainerInstance, a ecs.Attribute) (ecs.Attribute, error) {
		if err := checkAttribute(a); err != nil {
			return a, err
		}
		name := val(a.Name)
		if builtIn(name) {
			return a, ecs.NewInvalidParameterException("Attribute %s is reserved and cannot be changed.", name)
		}
		if !slices.Contains(i.Custom, name) {
			i.Custom = append(i.Custom, name)
		}
		if len(i.Custom) > maxCustom {
			return a, ecs.NewAttributeLimitExceededException("You can apply up to %d custom attributes for each resource.", maxCustom)
		}
		if i.Attributes == nil {
			i.Attributes = map[string]string{}
		}
		i.Attributes[name] = val(a.Value)
		return ecs.Attribute{Name: a.Name, Value: a.Value, TargetType: ecs.TargetTypeContainerInstance}, nil
	})
	return &ecs.PutAttributesOutput{Attributes: out}, err
}

// DeleteAttributes takes attributes off. One with another value than is named
// stays, and one that is not there is no error.
func (s *Service) DeleteAttributes(ctx context.Context, in *ecs.DeleteAttributesInput) (*ecs.DeleteAttributesOutput, error) {
	out, err := s.changeAttributes(ctx, in.Cluster, in.Attributes, func(i *model.ContainerInstance, a ecs.Attribute) (ecs.Attribute, error) {
		name := val(a.Name)
		if builtIn(name) {
			return a, ecs.NewInvalidParameterException("Attribute %s is reserved and cannot be changed.", name)
		}
		if v, there := i.Attributes[name]; there && (a.Value == nil || *a.Value == v) {
			delete(i.Attributes, name)
			i.Custom = slices.DeleteFunc(i.Custom, func(n string) bool { return n == name })
		}
		return ecs.Attribute{Name: a.Name, Value: a.Value, TargetType: ecs.TargetTypeContainerInstance}, nil
	})
	return &ecs.DeleteAttributesOutput{Attributes: out}, err
}

// ListAttributes lists the attributes of a cluster's instances.
func (s *Service) ListAttributes(ctx context.Context, in *ecs.ListAttributesInput) (*ecs.ListAttributesOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.cluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	if in.AttributeValue != nil && in.AttributeName == nil {
		return nil, ecs.NewInvalidParameterException("Attribute value cannot be specified without an attribute name.")
	}
	filters := []string{"ListAttributes", cluster.V.ClusterName, val(in.AttributeName), val(in.AttributeValue)}
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 100, filters...)
	if err != nil {
		return nil, err
	}
	// A page begins within an instance: behind "<instance>\n<attribute>".
	instance, attribute, _ := strings.Cut(after, "\n")
	prefix := cluster.V.ClusterName + "/"
	rows, err := tables.ECSContainerInstances.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	out := &ecs.ListAttributesOutput{Attributes: []ecs.Attribute{}}
	last := ""
	for _, r := range rows {
		if r.V.Status == model.ContainerInstanceInactive || r.Key.ID < instance {
			continue
		}
		for _, a := range attributesOf(r.V) {
			if r.Key.ID == instance && *a.Name <= attribute ||
				in.AttributeName != nil && *a.Name != *in.AttributeName || in.AttributeValue != nil && val(a.Value) != *in.AttributeValue {
				continue
			}
			if len(out.Attributes) == limit {
				out.NextToken = sc.token(true, last, filters...)
				return out, nil
			}
			last = r.Key.ID + "\n" + *a.Name
			a.TargetId, a.TargetType = new(r.V.ARN), ecs.TargetTypeContainerInstance
			out.Attributes = append(out.Attributes, a)
		}
	}
	return out, nil
}

// targetsOf are the instances that attributes are for.
func targetsOf(attributes []ecs.Attribute) []string {
	var out []string
	for _, a := range attributes {
		if t := val(a.TargetId); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}
