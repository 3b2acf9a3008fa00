package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// capacityImports imports what is ECS's: other cases import the rest.
var capacityImports = reimports{
	ids: map[string]func(*stateResource) string{
		"aws_ecs_cluster": attribute("name"), "aws_ecs_task_definition": attribute("arn"), "aws_ecs_capacity_provider": attribute("name"),
		"aws_ecs_service": func(r *stateResource) string {
			cluster := r.str("cluster")
			return cluster[strings.LastIndexByte(cluster, '/')+1:] + "/" + r.str("name")
		},
		"aws_autoscaling_group": notImportable, "aws_launch_template": notImportable, "aws_iam_role": notImportable,
		"aws_iam_role_policy_attachment": notImportable, "aws_iam_instance_profile": notImportable,
	},
	changed: []string{"aws_ecs_service", "aws_ecs_task_definition"},
}

// TestTerraformCapacity applies a cluster without instances. Two services make
// its capacity provider grow the group; the agents in the instances register by
// themselves.
func TestTerraformCapacity(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	tf := configure(t, s, "capacity", nil)
	tf.apply("1", "13 added, 0 changed, 0 destroyed")
	attached := s.awscli(t, "ecs", "describe-clusters", "--clusters", "tf-capacity", "--include", "ATTACHMENTS",
		"--query", "clusters[0].[attachmentsStatus, join(' ', sort(attachments[].type))]", "--output", "text")
	if got := strings.Join(strings.Fields(attached), " "); got != "UPDATE_COMPLETE as_policy managed_draining managed_draining" {
		t.Errorf("attachments: %s", got)
	}
	eventually(t, 4*time.Minute, "the tasks on instances of the group", func() error {
		out, err := s.ecs.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: new("tf-capacity"), Services: []string{"default", "named"}})
		if err != nil {
			return err
		}
		if a, b := out.Services[0].RunningCount, out.Services[1].RunningCount; a != 1 || b != 3 {
			return fmt.Errorf("%d and %d run", a, b)
		}
		return nil
	})
	on := s.awscli(t, "ecs", "describe-container-instances", "--cluster", "tf-capacity", "--query", "containerInstances[].capacityProviderName", "--output", "text", "--container-instances",
		strings.TrimSpace(s.awscli(t, "ecs", "list-container-instances", "--cluster", "tf-capacity", "--query", "containerInstanceArns[0]", "--output", "text")))
	if strings.TrimSpace(on) != "tf-capacity" {
		t.Errorf("the instance is of the provider %q", on)
	}
	tagged := s.awscli(t, "resourcegroupstaggingapi", "get-resources", "--resource-type-filters", "ecs:capacity-provider", "--tag-filters", "Key=revision,Values=1",
		"--query", "ResourceTagMappingList[].ResourceARN", "--output", "text")
	if !strings.HasSuffix(strings.TrimSpace(tagged), ":capacity-provider/tf-capacity") {
		t.Errorf("by its tag: %s", tagged)
	}
	tf.apply("2", "0 added, 2 changed, 0 destroyed")
	tf.reimport("2", capacityImports)
	tf.destroy("2")
	if left := s.awscli(t, "ecs", "describe-capacity-providers", "--query", "capacityProviders[].name", "--output", "text"); strings.Join(strings.Fields(left), " ") != "FARGATE FARGATE_SPOT" {
		t.Errorf("providers are left: %s", left)
	}
}

// TestInterrupt interrupts a task of FARGATE_SPOT: it says so, and its service
// starts another.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	s.awscli(t, "ecs", "create-cluster", "--cluster-name", "c", "--capacity-providers", "FARGATE_SPOT", "FARGATE")
	s.awscli(t, "ecs", "register-task-definition", "--family", "f", "--network-mode", "awsvpc", "--cpu", "256", "--memory", "512",
		"--requires-compatibilities", "FARGATE", "--container-definitions", `[{"name":"app","image":"app"}]`)
	subnet := strings.TrimSpace(s.awscli(t, "ec2", "describe-subnets", "--query", "Subnets[0].SubnetId", "--output", "text"))
	s.awscli(t, "ecs", "create-service", "--cluster", "c", "--service-name", "s", "--task-definition", "f", "--desired-count", "1",
		"--capacity-provider-strategy", "capacityProvider=FARGATE_SPOT,weight=1", "--network-configuration", "awsvpcConfiguration={subnets=["+subnet+"]}")
	running := func() (arn string) {
		eventually(t, 30*time.Second, "a task that runs", func() error {
			out, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new("c")})
			if err != nil || len(out.TaskArns) != 1 {
				return fmt.Errorf("%v %w", out, err)
			}
			tasks, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: out.TaskArns})
			if err != nil || *tasks.Tasks[0].LastStatus != "RUNNING" {
				return fmt.Errorf("%v %w", tasks, err)
			}
			arn = out.TaskArns[0]
			return nil
		})
		return arn
	}
	interrupt := func(what string) (string, error) {
		out, err := exec.Command(built.roadstead, s.args("interrupt", what)...).CombinedOutput()
		return string(out), err
	}
	first := running()
	if out, err := interrupt(first); err != nil || !strings.HasPrefix(out, first+" ends by ") {
		t.Fatalf("%s %v", out, err)
	}
	eventually(t, 30*time.Second, "the end of the task", func() error {
		out, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: []string{first}})
		if err != nil {
			return err
		}
		if x := out.Tasks[0]; *x.LastStatus != "STOPPED" || x.StopCode != ecstypes.TaskStopCodeSpotInterruption || *x.StoppedReason != "Your Spot Task was interrupted." {
			return fmt.Errorf("%+v", x)
		}
		return nil
	})
	if second := running(); second == first {
		t.Error("the task was not replaced")
	}
	for what, want := range map[string]string{first: "The task is stopping, or has stopped.", "i-0123": "does not exist"} {
		if out, err := interrupt(what); err == nil || !strings.Contains(out, want) {
			t.Errorf("interrupt %s: %s", what, out)
		}
	}
}
