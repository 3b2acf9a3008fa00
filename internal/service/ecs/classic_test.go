package ecs

import (
	"testing"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A service behind a classic load balancer names it, and its tasks' instances
// become its targets.
func TestClassicLoadBalancer(t *testing.T) {
	h := start(t)
	must(h.CreateCluster(h.ctx, &ecs.CreateClusterInput{ClusterName: new("c")}))(t)
	const id = "0123456789abcdef"
	tx := store.NewTxn()
	tables.ELBNames.Put(tx, account, region, "classic/old", &model.ELBName{ID: id})
	tables.TargetGroups.Put(tx, account, region, id, &model.TargetGroup{ID: id, ARN: model.ClassicGroupARN(region, account, "old", id), TargetType: "instance", Classic: true})
	tables.Listeners.Put(tx, account, region, model.ClassicListenerID(id, 80), &model.Listener{Port: 80, Classic: &model.ClassicListener{InstancePort: 8080}})
	if _, err := tx.Commit(t.Context(), h.store); err != nil {
		t.Fatal(err)
	}
	define := func(family string, mode ecs.NetworkMode, host *int32) *string {
		t.Helper()
		in := &ecs.RegisterTaskDefinitionInput{
			Family: &family, NetworkMode: mode, ContainerDefinitions: []ecs.ContainerDefinition{{
				Name: new("app"), Image: new("app"), Memory: new(int32(64)), PortMappings: []ecs.PortMapping{{ContainerPort: new(int32(80)), HostPort: host}},
			}},
		}
		must(h.RegisterTaskDefinition(h.ctx, in))(t)
		return &family
	}
	static, dynamic := define("static", "bridge", new(int32(8080))), define("dynamic", "bridge", nil)
	elsewhere, own := define("elsewhere", "bridge", new(int32(8081))), define("own", "awsvpc", nil)
	create := func(name string, definition *string, balancer string) (*ecs.CreateServiceOutput, error) {
		return h.CreateService(h.ctx, &ecs.CreateServiceInput{
			Cluster: new("c"), ServiceName: &name, TaskDefinition: definition, DesiredCount: new(int32(1)), LaunchType: "EC2",
			NetworkConfiguration: vpcOf(definition == own),
			LoadBalancers:        []ecs.LoadBalancer{{LoadBalancerName: &balancer, ContainerName: new("app"), ContainerPort: new(int32(80))}},
		})
	}
	_, err := create("a", static, "nope")
	refused(t, err, "InvalidParameterException", "The load balancer nope does not exist.")
	_, err = create("a", dynamic, "old")
	refused(t, err, "InvalidParameterException", "static host port")
	_, err = create("a", elsewhere, "old")
	refused(t, err, "InvalidParameterException", "no listener with the instance port 8081")
	_, err = create("a", own, "old")
	refused(t, err, "InvalidParameterException", "awsvpc")
	made := must(create("web", static, "old"))(t).Service
	if lb := made.LoadBalancers[0]; *lb.LoadBalancerName != "old" || lb.TargetGroupArn != nil {
		t.Errorf("shown as %+v", lb)
	}
	row, err := tables.ECSServices.Get(t.Context(), h.store, account, region, "c/web")
	if err != nil || row.V.Spec.LoadBalancers[0].Group() != model.ClassicGroupARN(region, account, "old", id) {
		t.Errorf("%+v, %v", row.V, err)
	}
	// The target group itself cannot be named.
	_, err = h.CreateService(h.ctx, &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("b"), TaskDefinition: static, DesiredCount: new(int32(1)), LaunchType: "EC2",
		LoadBalancers: []ecs.LoadBalancer{{TargetGroupArn: new(model.ClassicGroupARN(region, account, "old", id)), ContainerName: new("app"), ContainerPort: new(int32(80))}},
	})
	refused(t, err, "InvalidParameterException", "does not exist")
}

func vpcOf(yes bool) *ecs.NetworkConfiguration {
	if !yes {
		return nil
	}
	return &ecs.NetworkConfiguration{AwsvpcConfiguration: &ecs.AwsVpcConfiguration{Subnets: []string{"subnet-a"}}}
}
