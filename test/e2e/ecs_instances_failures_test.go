package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// running are a service's tasks that run, by the EC2 instance that each is on.
func (n *nodes) running(service string) (map[string]string, error) {
	ctx := n.t.Context()
	list, err := n.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: new(n.name), ServiceName: new(service)})
	if err != nil || len(list.TaskArns) == 0 {
		return nil, err
	}
	tasks, err := n.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: new(n.name), Tasks: list.TaskArns})
	if err != nil {
		return nil, err
	}
	on := map[string]string{}
	for _, t := range tasks.Tasks {
		if str(t.LastStatus) != "RUNNING" || str(t.DesiredStatus) != "RUNNING" {
			continue
		}
		out, err := n.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(n.name), ContainerInstances: []string{*t.ContainerInstanceArn}})
		if err != nil || len(out.ContainerInstances) == 0 {
			return nil, err
		}
		on[*out.ContainerInstances[0].Ec2InstanceId] = *t.TaskArn
	}
	return on, nil
}

// TestContainerInstanceFailures cuts one instance of a service off the network
// and kills another: a task that cannot be heard of goes on and is not
// replaced; that of an instance which is gone is.
func TestContainerInstanceFailures(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"nsenter", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	n := newNodes(t, ownServer(t, "containerd"))
	ctx := t.Context()
	var ids []string
	for range 3 {
		ids = append(ids, n.boot("", nil))
	}
	for _, id := range ids {
		n.joined(id)
	}
	c := n.container("sleep")
	c.PortMappings = nil
	definition := n.register("one", onInstances(ecstypes.NetworkModeHost), c)
	_, err := n.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(n.name), ServiceName: new("one"), TaskDefinition: new(definition), DesiredCount: new(int32(2)), LaunchType: ecstypes.LaunchTypeEc2,
		PlacementConstraints: []ecstypes.PlacementConstraint{{Type: ecstypes.PlacementConstraintTypeDistinctInstance}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = n.ecs.DeleteService(context.Background(), &ecs.DeleteServiceInput{Cluster: new(n.name), Service: new("one"), Force: new(true)})
	})
	var before map[string]string
	eventually(t, 60*time.Second, "two tasks run", func() error {
		var err error
		if before, err = n.running("one"); err != nil || len(before) != 2 {
			return fmt.Errorf("%v, %w", before, err)
		}
		return nil
	})
	var used []string
	for _, id := range ids {
		if before[id] != "" {
			used = append(used, id)
		}
	}
	cut, killed := used[0], used[1]

	// Nothing comes to the first, and nothing from it.
	if out, err := n.inside(cut, "nft", "add table inet cut; add chain inet cut in { type filter hook input priority -300; policy drop; }; add chain inet cut out { type filter hook output priority -300; policy drop; }"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The second is gone at once, with what runs in it.
	p, err := os.FindProcess(n.fleet.first(killed))
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	n.fleet.is(killed, ec2types.InstanceStateNameTerminated)
	spare := ids[slices.IndexFunc(ids, func(id string) bool { return !slices.Contains(used, id) })]
	eventually(t, 60*time.Second, "the task of the killed instance is replaced", func() error {
		now, err := n.running("one")
		if err != nil || now[spare] == "" || now[cut] != before[cut] || len(now) != 2 {
			return fmt.Errorf("%v, %w", now, err)
		}
		return nil
	})
	if lost := n.task(before[killed]); str(lost.LastStatus) != "STOPPED" {
		t.Errorf("the task of the killed instance is %s", str(lost.LastStatus))
	}

	connected := func(id string) (bool, error) {
		list, err := n.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(n.name), Filter: new("ec2InstanceId == " + id)})
		if err != nil || len(list.ContainerInstanceArns) != 1 {
			return false, fmt.Errorf("%+v, %w", list, err)
		}
		out, err := n.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(n.name), ContainerInstances: list.ContainerInstanceArns})
		if err != nil {
			return false, err
		}
		return out.ContainerInstances[0].AgentConnected, nil
	}
	// Three heartbeats must go unanswered.
	eventually(t, 3*time.Minute, "the agent that was cut off is seen to be gone", func() error {
		if is, err := connected(cut); err != nil || is {
			return fmt.Errorf("connected: %t, %w", is, err)
		}
		return nil
	})
	if now, err := n.running("one"); err != nil || now[cut] != before[cut] || now[spare] == "" || len(now) != 2 {
		t.Errorf("while an instance is cut off the tasks are %v, %v", now, err)
	}
	if out, err := n.inside(cut, "nft", "delete table inet cut"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, 3*time.Minute, "the agent is back", func() error {
		if is, err := connected(cut); err != nil || !is {
			return fmt.Errorf("connected: %t, %w", is, err)
		}
		return nil
	})
	if now, err := n.running("one"); err != nil || now[cut] != before[cut] || len(now) != 2 {
		t.Errorf("after the cut the tasks are %v, %v", now, err)
	}
	if _, err := n.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		n.fleet.is(id, ec2types.InstanceStateNameTerminated)
		if err := n.fleet.left(id); err != nil {
			t.Error(err)
		}
	}
}
