package resourcegroupstaggingapi

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// resource is a resource that has tags, or had.
type resource struct {
	arn  string
	tags model.Tags
}

// source is the taggable resources of one AWS service.
type source struct {
	// list gives the resources of an account and region that have tags or had.
	list []lister
	// tag and untag ask the service itself, for the caller of ctx. They fail
	// with errType where the service cannot tag resources of that type.
	tag   func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error
	untag func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error
}

type lister func(ctx context.Context, s store.Store, account, region string, yield func(resource)) error

// errType means that resources of a type cannot be tagged.
var errType = errors.New("the type of resource is not supported")

// sources are all of them, by the service in their resources' ARNs.
var sources = map[string]source{
	"acm":                  acmSource,
	"autoscaling":          autoScalingSource,
	"ec2":                  ec2Source,
	"ecr":                  ecrSource,
	"ecs":                  ecsSource,
	"elasticloadbalancing": elbv2Source,
	"iam":                  iamSource,
	"logs":                 logsSource,
	"s3":                   s3Source,
	"secretsmanager":       secretsManagerSource,
	"ssm":                  ssmSource,
}

// globalRegion is where resources without a region are found.
var globalRegion = map[string]string{"aws": "us-east-1", "aws-cn": "cn-northwest-1", "aws-us-gov": "us-gov-west-1"}

// from lists a table's rows. arn gives a row's, "" where the API does not show
// the resource any more.
func from[T any](table *store.Table[T], tags func(*T) model.Tags, arn func(store.Row[T]) string) lister {
	return func(ctx context.Context, s store.Store, account, region string, yield func(resource)) error {
		return each(ctx, s, table, store.Query{Account: account, Region: region}, tags, arn, yield)
	}
}

// fromGlobal lists a table whose records have no region.
func fromGlobal[T any](table *store.Table[T], tags func(*T) model.Tags, arn func(store.Row[T]) string) lister {
	return func(ctx context.Context, s store.Store, account, region string, yield func(resource)) error {
		if region != globalRegion[model.Partition(region)] {
			return nil
		}
		return each(ctx, s, table, store.Query{Account: account}, tags, arn, yield)
	}
}

func each[T any](ctx context.Context, s store.Store, table *store.Table[T], q store.Query, tags func(*T) model.Tags, arn func(store.Row[T]) string, yield func(resource)) error {
	rows, err := table.List(ctx, s, q)
	if err != nil {
		return err
	}
	for _, r := range rows {
		t := tags(r.V)
		if t == nil {
			continue
		}
		if a := arn(r); a != "" {
			yield(resource{a, t})
		}
	}
	return nil
}

// all lists the resources of the caller's account and region, of the services
// that which selects.
func (s *Service) all(ctx context.Context, which func(service string) bool) ([]resource, error) {
	c := api.CallFrom(ctx)
	var out []resource
	for name, src := range sources {
		if !which(name) {
			continue
		}
		for _, list := range src.list {
			if err := list(ctx, s.Store, c.Account, c.Region, func(r resource) { out = append(out, r) }); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func everyService(string) bool { return true }

// does makes an error of an operation's answer, which says no more.
func does(_ any, err error) error { return err }
