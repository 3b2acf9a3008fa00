package e2e

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// habitsImports imports what is ECS's: other cases import the rest.
var habitsImports = &reimports{
	ids: map[string]func(*stateResource) string{
		"aws_ecs_cluster":                 attribute("name"),
		"aws_ecs_task_definition":         attribute("arn"),
		"aws_ecs_account_setting_default": attribute("name"),
		"aws_ecs_service": func(r *stateResource) string {
			cluster := r.str("cluster")
			return cluster[strings.LastIndexByte(cluster, '/')+1:] + "/" + r.str("name")
		},
		"aws_default_vpc": notImportable, "aws_default_subnet": notImportable, "aws_default_vpc_dhcp_options": notImportable,
		"aws_vpc": notImportable, "aws_route_table": notImportable, "aws_main_route_table_association": notImportable,
		"aws_subnet": notImportable, "aws_network_acl": notImportable, "aws_network_acl_association": notImportable,
		"aws_security_group": notImportable, "aws_vpc_security_group_ingress_rule": notImportable, "aws_vpc_security_group_egress_rule": notImportable,
		"aws_lb": notImportable, "aws_lb_target_group": notImportable, "aws_lb_listener": notImportable, "aws_iam_role": notImportable,
	},
	// What a service waits for, and whether a revision outlives its resource,
	// are only Terraform's to know.
	changed: []string{"aws_ecs_service", "aws_ecs_task_definition"},
}

func habitsApplied(t *testing.T, s *server, tf *configuration) {
	for output, want := range map[string]string{"container": "nginx 256 512", "clusters": "2"} {
		if got := tf.output(output); got != want {
			t.Errorf("output %s is %s, want %s", output, got, want)
		}
	}
	out, err := s.ecs.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: new("tf-habits"), Services: []string{"all"}})
	if err != nil || len(out.Services) != 1 || out.Services[0].RunningCount != 1 || out.Services[0].Deployments[0].RolloutState != "COMPLETED" {
		t.Errorf("Terraform waited for a steady state: %+v %v", out, err)
	}
}

func habitsChanged(t *testing.T, s *server) {
	out, err := s.ecs.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: new("tf-habits"), Services: []string{"app", "all"}})
	if err != nil || len(out.Services) != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	if service := out.Services[0]; !strings.HasSuffix(*service.TaskDefinition, "/tf-habits:2") || !service.EnableECSManagedTags || *service.HealthCheckGracePeriodSeconds != 60 {
		t.Errorf("the service: %+v", service)
	}
	if service := out.Services[1]; service.RunningCount != 2 || service.AvailabilityZoneRebalancing != "ENABLED" || service.PropagateTags != "TASK_DEFINITION" {
		t.Errorf("the service: %+v", service)
	}
}

func habitsDestroyed(t *testing.T, s *server) {
	// Terraform lets go of the defaults but does not delete them.
	vpcs, err := s.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("is-default"), Values: []string{"true"}}}})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Errorf("default VPCs: %+v %v", vpcs, err)
	}
	out, err := s.ecs.DescribeClusters(t.Context(), &ecs.DescribeClustersInput{Clusters: []string{"tf-habits", "tf-bare"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range out.Clusters {
		if *c.Status != "INACTIVE" || c.RunningTasksCount+c.PendingTasksCount+c.ActiveServicesCount != 0 {
			t.Errorf("the cluster: %+v", c)
		}
	}
	// skip_destroy leaves a revision in place, the others are deregistered.
	for family, status := range map[string]string{"tf-all": "ACTIVE", "tf-habits:2": "INACTIVE"} {
		def, err := s.ecs.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{TaskDefinition: new(family)})
		if err != nil || string(def.TaskDefinition.Status) != status {
			t.Errorf("%s: %+v %v, want %s", family, def, err, status)
		}
	}
}
