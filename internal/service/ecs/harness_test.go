package ecs

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

// harness is the service on a memory store, with a network, roles and a target
// group to refer to.
type harness struct {
	*Service
	t     *testing.T
	ctx   context.Context
	store store.Store
	call  *api.Call
	// asked are the permissions that were asked for beyond the operation's own.
	mu    sync.Mutex
	asked []string
	deny  bool
}

func start(t *testing.T) *harness {
	t.Helper()
	h := &harness{t: t, store: memory.New()}
	t.Cleanup(func() { _ = h.store.Close() })
	h.Service = New(Config{Store: h.store})
	h.call = &api.Call{
		Account: account, Region: region, Partition: "aws",
		Time:     time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		Identity: api.Identity{ARN: "arn:aws:iam::000000000000:root", Root: true},
		Authorize: func(_ context.Context, action, resource string, _ map[string]string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.asked = append(h.asked, action+" "+resource)
			if h.deny {
				return ecs.NewAccessDeniedException("denied: %s", action)
			}
			return nil
		},
	}
	h.ctx = api.WithCall(t.Context(), h.call)
	tx := store.NewTxn()
	for _, v := range []string{"a", "b"} {
		tables.Subnets.Put(tx, account, region, "subnet-"+v, &model.Subnet{ID: "subnet-" + v, VPCID: "vpc-1", Zone: region + v})
	}
	tables.Subnets.Put(tx, account, region, "subnet-other", &model.Subnet{ID: "subnet-other", VPCID: "vpc-2"})
	tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", VPCID: "vpc-1"})
	tables.SecurityGroups.Put(tx, account, region, "sg-2", &model.SecurityGroup{ID: "sg-2", VPCID: "vpc-2"})
	for _, r := range []string{"task", "execution"} {
		tables.Roles.Put(tx, account, "", r, &model.Role{IAMPrincipal: model.IAMPrincipal{Name: r, Path: "/", ARN: role(r)}})
	}
	for id, kind := range map[string]string{"1111111111111111": "ip", "2222222222222222": "instance", "3333333333333333": "ip"} {
		arn := groupARN(id)
		tables.TargetGroups.Put(tx, account, region, id, &model.TargetGroup{ID: id, ARN: arn, TargetType: kind, VpcID: "vpc-1"})
		if id != "3333333333333333" {
			tables.Rules.Put(tx, account, region, "lb/l/"+id, &model.Rule{Actions: []model.RuleAction{{
				Type: "forward", Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: arn}}},
			}}})
		}
	}
	if _, err := tx.Commit(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	return h
}

func role(name string) string { return "arn:aws:iam::" + account + ":role/" + name }

func groupARN(id string) string {
	return "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/g" + id[:1] + "/" + id
}

// must fails the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refused checks an error's code and a part of its message.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted; want %s: %s", code, message)
		return
	}
	if api.Code(err) != code || !strings.Contains(err.Error(), message) {
		t.Errorf("got %v; want %s: %s", err, code, message)
	}
}

// webDefinition is a valid Fargate task definition.
func webDefinition() *ecs.RegisterTaskDefinitionInput {
	return &ecs.RegisterTaskDefinitionInput{
		Family: new("web"), NetworkMode: ecs.NetworkModeAwsvpc,
		Cpu: new("256"), Memory: new("512"),
		RequiresCompatibilities: []ecs.Compatibility{ecs.CompatibilityFargate},
		ExecutionRoleArn:        new(role("execution")), TaskRoleArn: new(role("task")),
		ContainerDefinitions: []ecs.ContainerDefinition{{
			Name: new("app"), Image: new("000000000000.dkr.ecr.us-east-1.localhost:4566/web:1"),
			PortMappings: []ecs.PortMapping{{ContainerPort: new(int32(80))}},
			Environment:  []ecs.KeyValuePair{{Name: new("A"), Value: new("1")}},
			LogConfiguration: &ecs.LogConfiguration{LogDriver: ecs.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": "g", "awslogs-region": region, "awslogs-stream-prefix": "p",
			}},
		}},
		Tags: []ecs.Tag{{Key: new("team"), Value: new("a")}},
	}
}

func (h *harness) web() *ecs.TaskDefinition {
	h.t.Helper()
	return must(h.RegisterTaskDefinition(h.ctx, webDefinition()))(h.t).TaskDefinition
}

func (h *harness) cluster() {
	h.t.Helper()
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("c")}))(h.t)
}

func network() *ecs.NetworkConfiguration {
	return &ecs.NetworkConfiguration{AwsvpcConfiguration: &ecs.AwsVpcConfiguration{
		Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"sg-1"},
	}}
}

func runWeb() *ecs.RunTaskInput {
	return &ecs.RunTaskInput{Cluster: new("c"), TaskDefinition: new("web"), LaunchType: ecs.LaunchTypeFargate, NetworkConfiguration: network()}
}

func serveWeb() *ecs.CreateServiceInput {
	return &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("s"), TaskDefinition: new("web"), DesiredCount: new(int32(2)),
		LaunchType: ecs.LaunchTypeFargate, NetworkConfiguration: network(),
		LoadBalancers: []ecs.LoadBalancer{{TargetGroupArn: new(groupARN("1111111111111111")), ContainerName: new("app"), ContainerPort: new(int32(80))}},
	}
}
