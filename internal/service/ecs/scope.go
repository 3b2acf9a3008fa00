package ecs

import (
	"context"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

var _ api.ResourceScoper = (*Service)(nil)

// ScopeOf tells the ARNs that an operation is about, and the cluster as the
// condition key ecs:cluster, by AWS's table of ECS's actions.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) (arns []string, conditions map[string]string) {
	sc := scopeOf(ctx)
	clusterARN := func(ref *string) string {
		name, err := clusterName(ref)
		if err != nil || !sc.inScope(val(ref)) {
			return val(ref)
		}
		return model.ECSClusterARN(sc.region, sc.account, name)
	}
	within := func(kind string, cluster *string, refs ...string) ([]string, map[string]string) {
		arn := clusterARN(cluster)
		name := arn[strings.LastIndexByte(arn, '/')+1:]
		var out []string
		for _, r := range refs {
			// As the handler understands it: one resource has several names,
			// and a policy speaks of its ARN.
			if id, err := child(kind, name, r); err == nil && sc.inScope(r) {
				r = model.MakeARN("ecs", sc.region, sc.account, kind+"/"+id)
			}
			out = append(out, r)
		}
		return out, map[string]string{"ecs:cluster": arn}
	}
	provider := func(ref string) string {
		if name, ok := sc.providerName(ref); ok {
			return sc.providerARN(name)
		}
		return ref
	}
	taskDefinition := func(ref *string) []string {
		row, err := s.taskDefinition(ctx, sc, val(ref))
		if err == nil {
			return []string{row.V.TaskDefinitionARN}
		}
		if strings.HasPrefix(val(ref), "arn:") {
			return []string{*ref}
		}
		return []string{model.MakeARN("ecs", sc.region, sc.account, "task-definition/"+val(ref))}
	}
	switch in := in.(type) {
	case *ecs.DescribeClustersInput:
		for _, c := range in.Clusters {
			arns = append(arns, clusterARN(&c))
		}
		if arns == nil {
			arns = []string{clusterARN(nil)}
		}
		return arns, nil
	case *ecs.UpdateClusterInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.UpdateClusterSettingsInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.DeleteClusterInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.PutClusterCapacityProvidersInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.CreateCapacityProviderInput:
		return []string{provider(val(in.Name))}, nil
	case *ecs.UpdateCapacityProviderInput:
		return []string{provider(val(in.Name))}, nil
	case *ecs.DeleteCapacityProviderInput:
		return []string{provider(val(in.CapacityProvider))}, nil
	case *ecs.DescribeCapacityProvidersInput:
		for _, p := range in.CapacityProviders {
			arns = append(arns, provider(p))
		}
		return arns, nil
	case *ecs.ListContainerInstancesInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.ListAttributesInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.RegisterContainerInstanceInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.DeregisterContainerInstanceInput:
		return []string{clusterARN(in.Cluster)}, nil
	case *ecs.DescribeContainerInstancesInput:
		return within("container-instance", in.Cluster, in.ContainerInstances...)
	case *ecs.UpdateContainerInstancesStateInput:
		return within("container-instance", in.Cluster, in.ContainerInstances...)
	case *ecs.UpdateContainerAgentInput:
		return within("container-instance", in.Cluster, val(in.ContainerInstance))
	case *ecs.PutAttributesInput:
		return within("container-instance", in.Cluster, targetsOf(in.Attributes)...)
	case *ecs.DeleteAttributesInput:
		return within("container-instance", in.Cluster, targetsOf(in.Attributes)...)
	case *ecs.RegisterTaskDefinitionInput:
		return []string{model.MakeARN("ecs", sc.region, sc.account, "task-definition/"+val(in.Family)+":*")}, nil
	case *ecs.DeleteTaskDefinitionsInput:
		for _, t := range in.TaskDefinitions {
			arns = append(arns, taskDefinition(&t)...)
		}
		return arns, nil
	case *ecs.RunTaskInput:
		return taskDefinition(in.TaskDefinition), map[string]string{"ecs:cluster": clusterARN(in.Cluster)}
	case *ecs.StartTaskInput:
		return taskDefinition(in.TaskDefinition), map[string]string{"ecs:cluster": clusterARN(in.Cluster)}
	case *ecs.StopTaskInput:
		return within("task", in.Cluster, val(in.Task))
	case *ecs.DescribeTasksInput:
		return within("task", in.Cluster, in.Tasks...)
	case *ecs.GetTaskProtectionInput:
		return within("task", in.Cluster, in.Tasks...)
	case *ecs.UpdateTaskProtectionInput:
		return within("task", in.Cluster, in.Tasks...)
	case *ecs.ListTasksInput:
		_, conditions = within("task", in.Cluster)
		return nil, conditions
	case *ecs.CreateServiceInput:
		return within("service", in.Cluster, val(in.ServiceName))
	case *ecs.UpdateServiceInput:
		return within("service", in.Cluster, val(in.Service))
	case *ecs.DeleteServiceInput:
		return within("service", in.Cluster, val(in.Service))
	case *ecs.DescribeServicesInput:
		return within("service", in.Cluster, in.Services...)
	case *ecs.ListServicesInput:
		_, conditions = within("service", in.Cluster)
		return nil, conditions
	case *ecs.ListServiceDeploymentsInput:
		return within("service", in.Cluster, val(in.Service))
	case *ecs.DescribeServiceDeploymentsInput:
		return in.ServiceDeploymentArns, nil
	case *ecs.DescribeServiceRevisionsInput:
		return in.ServiceRevisionArns, nil
	case *ecs.TagResourceInput:
		return []string{val(in.ResourceArn)}, nil
	case *ecs.UntagResourceInput:
		return []string{val(in.ResourceArn)}, nil
	case *ecs.ListTagsForResourceInput:
		return []string{val(in.ResourceArn)}, nil
	}
	return nil, nil
}
