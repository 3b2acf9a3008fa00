package resourcegroupstaggingapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// tagList is tags as most services' operations take them.
func tagList[T ~struct{ Key, Value *string }](tags map[string]string) []T {
	out := make([]T, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, T{Key: new(k), Value: new(tags[k])})
	}
	return out
}

var acmSource = source{
	list: []lister{
		from(tables.Certificates, func(v *model.Certificate) model.Tags { return v.Tags }, func(r store.Row[model.Certificate]) string { return r.V.ARN }),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return does(ops.Invoke(ctx, "acm", "AddTagsToCertificate", &acm.AddTagsToCertificateInput{CertificateArn: new(arn.String()), Tags: tagList[acm.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		in := &acm.RemoveTagsFromCertificateInput{CertificateArn: new(arn.String())}
		for _, k := range keys {
			in.Tags = append(in.Tags, acm.Tag{Key: new(k)})
		}
		return does(ops.Invoke(ctx, "acm", "RemoveTagsFromCertificate", in))
	},
}

var ecrSource = source{
	list: []lister{
		from(tables.ECRRepositories, func(v *model.ECRRepository) model.Tags { return v.Tags }, func(r store.Row[model.ECRRepository]) string {
			return model.MakeARN("ecr", r.Key.Region, r.Key.Account, "repository/"+r.V.Name)
		}),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return does(ops.Invoke(ctx, "ecr", "TagResource", &ecr.TagResourceInput{ResourceArn: new(arn.String()), Tags: tagList[ecr.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		return does(ops.Invoke(ctx, "ecr", "UntagResource", &ecr.UntagResourceInput{ResourceArn: new(arn.String()), TagKeys: keys}))
	},
}

var ecsSource = source{
	list: []lister{
		from(tables.ECSClusters, func(v *model.Cluster) model.Tags { return v.Tags }, func(r store.Row[model.Cluster]) string {
			return unless(r.V.Status == model.ECSInactive, r.V.ClusterARN)
		}),
		from(tables.ECSCapacityProviders, func(v *model.CapacityProvider) model.Tags { return v.Tags }, func(r store.Row[model.CapacityProvider]) string {
			return unless(r.V.Status == model.ECSInactive, r.V.ARN)
		}),
		from(tables.ECSContainerInstances, func(v *model.ContainerInstance) model.Tags { return v.Tags }, func(r store.Row[model.ContainerInstance]) string {
			return r.V.ARN
		}),
		from(tables.ECSServices, func(v *model.Service) model.Tags { return v.Tags }, func(r store.Row[model.Service]) string {
			return unless(r.V.Status == model.ECSInactive, r.V.ServiceARN)
		}),
		from(tables.ECSTasks, func(v *model.Task) model.Tags { return v.Tags }, func(r store.Row[model.Task]) string { return r.V.TaskARN }),
		from(tables.ECSTaskDefinitions, func(v *model.TaskDefinition) model.Tags { return v.Tags }, func(r store.Row[model.TaskDefinition]) string {
			return r.V.TaskDefinitionARN
		}),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return does(ops.Invoke(ctx, "ecs", "TagResource", &ecs.TagResourceInput{ResourceArn: new(arn.String()), Tags: tagList[ecs.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		return does(ops.Invoke(ctx, "ecs", "UntagResource", &ecs.UntagResourceInput{ResourceArn: new(arn.String()), TagKeys: keys}))
	},
}

func unless(gone bool, arn string) string {
	if gone {
		return ""
	}
	return arn
}

var elbv2Source = source{
	list: []lister{
		from(tables.LoadBalancers, func(v *model.LoadBalancer) model.Tags { return v.Tags }, func(r store.Row[model.LoadBalancer]) string {
			return unless(r.V.DeletedAt != nil, r.V.ARN)
		}),
		from(tables.TargetGroups, func(v *model.TargetGroup) model.Tags { return v.Tags }, func(r store.Row[model.TargetGroup]) string { return r.V.ARN }),
		from(tables.Listeners, func(v *model.Listener) model.Tags { return v.Tags }, func(r store.Row[model.Listener]) string { return r.V.ARN }),
		from(tables.TrustStores, func(v *model.TrustStore) model.Tags { return v.Tags }, func(r store.Row[model.TrustStore]) string { return r.V.ARN }),
		from(tables.Rules, func(v *model.Rule) model.Tags { return v.Tags }, func(r store.Row[model.Rule]) string { return r.V.ARN }),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		if name := model.ClassicName(arn.String()); name != "" {
			return does(ops.Invoke(ctx, "elb", "AddTags", &elb.AddTagsInput{LoadBalancerNames: []string{name}, Tags: tagList[elb.Tag](tags)}))
		}
		return does(ops.Invoke(ctx, "elbv2", "AddTags", &elbv2.AddTagsInput{ResourceArns: []string{arn.String()}, Tags: tagList[elbv2.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		if name := model.ClassicName(arn.String()); name != "" {
			var without []elb.TagKeyOnly
			for _, k := range keys {
				without = append(without, elb.TagKeyOnly{Key: &k})
			}
			return does(ops.Invoke(ctx, "elb", "RemoveTags", &elb.RemoveTagsInput{LoadBalancerNames: []string{name}, Tags: without}))
		}
		return does(ops.Invoke(ctx, "elbv2", "RemoveTags", &elbv2.RemoveTagsInput{ResourceArns: []string{arn.String()}, TagKeys: keys}))
	},
}

var logsSource = source{
	list: []lister{
		from(tables.LogGroups, func(v *model.LogGroup) model.Tags { return v.Tags }, func(r store.Row[model.LogGroup]) string {
			return model.LogGroupARN(r.Key.Region, r.Key.Account, r.V.Name)
		}),
		from(tables.LogDeliverySources, func(v *model.LogDeliverySource) model.Tags { return v.Tags }, func(r store.Row[model.LogDeliverySource]) string {
			return model.LogDeliveryARN(model.DeliverySourceKind, r.Key.Region, r.Key.Account, r.V.Name)
		}),
		from(tables.LogDeliveryDestinations, func(v *model.LogDeliveryDestination) model.Tags { return v.Tags }, func(r store.Row[model.LogDeliveryDestination]) string {
			return model.LogDeliveryARN(model.DeliveryDestinationKind, r.Key.Region, r.Key.Account, r.V.Name)
		}),
		from(tables.LogDeliveries, func(v *model.LogDelivery) model.Tags { return v.Tags }, func(r store.Row[model.LogDelivery]) string {
			return model.LogDeliveryARN(model.DeliveryKind, r.Key.Region, r.Key.Account, r.V.ID)
		}),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return does(ops.Invoke(ctx, "logs", "TagResource", &logs.TagResourceInput{ResourceArn: new(arn.String()), Tags: tags}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		return does(ops.Invoke(ctx, "logs", "UntagResource", &logs.UntagResourceInput{ResourceArn: new(arn.String()), TagKeys: keys}))
	},
}

var secretsManagerSource = source{
	list: []lister{
		from(tables.Secrets, func(v *model.Secret) model.Tags { return v.Tags }, func(r store.Row[model.Secret]) string { return r.V.ARN }),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return does(ops.Invoke(ctx, "secretsmanager", "TagResource", &secretsmanager.TagResourceInput{SecretId: new(arn.String()), Tags: tagList[secretsmanager.Tag](tags)}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		return does(ops.Invoke(ctx, "secretsmanager", "UntagResource", &secretsmanager.UntagResourceInput{SecretId: new(arn.String()), TagKeys: keys}))
	},
}

var ssmSource = source{
	list: []lister{
		from(tables.Parameters, func(v *model.Parameter) model.Tags { return v.Tags }, func(r store.Row[model.Parameter]) string {
			return model.ParameterARN(r.Key.Region, r.Key.Account, r.V.Name)
		}),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		name, err := parameterName(arn)
		if err != nil {
			return err
		}
		return does(ops.Invoke(ctx, "ssm", "AddTagsToResource", &ssm.AddTagsToResourceInput{
			ResourceType: ssm.ResourceTypeForTaggingParameter, ResourceId: &name, Tags: tagList[ssm.Tag](tags),
		}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		name, err := parameterName(arn)
		if err != nil {
			return err
		}
		return does(ops.Invoke(ctx, "ssm", "RemoveTagsFromResource", &ssm.RemoveTagsFromResourceInput{
			ResourceType: ssm.ResourceTypeForTaggingParameter, ResourceId: &name, TagKeys: keys,
		}))
	},
}

// parameterName is the parameter's name in an ARN. Names of hierarchies begin
// with the slash that the ARN has once.
func parameterName(arn model.ARN) (string, error) {
	name, ok := strings.CutPrefix(arn.Resource, "parameter/")
	if !ok {
		return "", errType
	}
	if strings.Contains(name, "/") {
		name = "/" + name
	}
	return name, nil
}
