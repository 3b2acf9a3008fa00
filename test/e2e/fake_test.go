package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// nobody is a user without any privilege.
const nobody = 65534

// TestPretence serves all APIs without root: a service becomes stable though
// nothing runs, and the server says so.
func TestPretence(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "rs-fake-") //nolint:usetesting // the parents of t.TempDir are closed to others
	if err != nil {
		t.Fatal(err)
	}
	s, err := prepareServer(dir, "fake")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		s.uid = nobody
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	subnets, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new("c")}); err != nil {
		t.Fatal(err)
	}
	def, err := s.ecs.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: new("f"), NetworkMode: ecstypes.NetworkModeAwsvpc, Cpu: new("256"), Memory: new("512"),
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		ContainerDefinitions:    []ecstypes.ContainerDefinition{{Name: new("app"), Image: new("nginx")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("s"), TaskDefinition: def.TaskDefinition.TaskDefinitionArn, DesiredCount: new(int32(3)), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}}},
	}); err != nil {
		t.Fatal(err)
	}
	waiter := ecs.NewServicesStableWaiter(s.ecs, func(o *ecs.ServicesStableWaiterOptions) { o.MinDelay, o.MaxDelay = 100*time.Millisecond, time.Second })
	if err := waiter.Wait(ctx, &ecs.DescribeServicesInput{Cluster: new("c"), Services: []string{"s"}}, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if log := s.logTail(); !strings.Contains(log, "tasks only pretend to run") {
		t.Errorf("the server does not say that it pretends:\n%s", log)
	}
}

// TestDetachedStartFailsWhereAnotherServerAnswers: what answers at the address
// is not the server that was started.
func TestDetachedStartFailsWhereAnotherServerAnswers(t *testing.T) {
	t.Parallel()
	first := ownServer(t, "fake")
	second, err := prepareServer(t.TempDir(), "fake")
	if err != nil {
		t.Fatal(err)
	}
	second.listen = first.listen
	out, err := exec.Command(built.roadstead, second.args("up", "--detach")...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("%v\n%s", err, out)
	}
}
