package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

func (d *demo) createLoadBalancer(ctx context.Context) error {
	d.out.begin("Create an Application Load Balancer",
		"aws elbv2 create-load-balancer --name "+name+" --security-groups "+d.balancerSG+"\n--subnets "+strings.Join(d.subnets, " "))
	// Creating one that exists with the same settings returns it.
	out, err := d.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{
		Name: new(name), Subnets: d.subnets, SecurityGroups: []string{d.balancerSG},
	})
	if err != nil {
		return err
	}
	d.balancer, d.dnsName = *out.LoadBalancers[0].LoadBalancerArn, *out.LoadBalancers[0].DNSName
	d.out.say("%s", d.dnsName)
	return nil
}

func (d *demo) createTargetGroup(ctx context.Context) error {
	d.out.begin("Create a target group that checks /health",
		"aws elbv2 create-target-group --name "+name+" --protocol HTTP --port 80 --target-type ip\n--vpc-id "+d.vpc+" --health-check-path /health --health-check-interval-seconds 5")
	out, err := d.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: new(name), Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)),
		TargetType: elbtypes.TargetTypeEnumIp, VpcId: new(d.vpc),
		HealthCheckPath: new("/health"), HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)),
		HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		return err
	}
	d.targetGroup = *out.TargetGroups[0].TargetGroupArn
	_, err = d.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: new(d.targetGroup),
		Attributes:     []elbtypes.TargetGroupAttribute{{Key: new("deregistration_delay.timeout_seconds"), Value: new("5")}},
	})
	return err
}

func (d *demo) createListener(ctx context.Context) error {
	d.out.begin("Create the listener on port 80",
		"aws elbv2 create-listener --load-balancer-arn <balancer> --protocol HTTP --port 80\n--default-actions Type=forward,TargetGroupArn=<target group>")
	found, err := d.elb.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: new(d.balancer)})
	if err != nil || len(found.Listeners) > 0 {
		return err
	}
	_, err = d.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: new(d.balancer), Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(d.targetGroup)}},
	})
	return err
}

func (d *demo) createCluster(ctx context.Context) error {
	d.out.begin("Create a cluster", "aws ecs create-cluster --cluster-name "+name)
	_, err := d.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new(name)})
	return err
}

func (d *demo) registerTaskDefinition(ctx context.Context) error {
	d.out.begin("Register the task definition: 0.25 vCPU, 512 MiB, one container",
		"aws ecs register-task-definition --cli-input-json file://task.json")
	out, err := d.ecs.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: new(name), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		Cpu:                     new("256"), Memory: new("512"),
		ExecutionRoleArn: new(d.executionRole), TaskRoleArn: new(d.taskRole),
		ContainerDefinitions: []ecstypes.ContainerDefinition{{
			Name: new("web"), Image: new(d.image), Essential: new(true),
			PortMappings: []ecstypes.PortMapping{{ContainerPort: new(int32(80))}},
			LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": logGroup, "awslogs-region": d.region, "awslogs-stream-prefix": "web",
			}},
		}},
	})
	if err != nil {
		return err
	}
	d.definition = *out.TaskDefinition.TaskDefinitionArn
	d.out.say("%s:%d", *out.TaskDefinition.Family, out.TaskDefinition.Revision)
	return nil
}

func (d *demo) createService(ctx context.Context) error {
	d.out.begin("Create the Fargate service: two tasks, registered with the load balancer",
		"aws ecs create-service --cluster "+name+" --service-name web --task-definition "+name+"\n--desired-count 2 --launch-type FARGATE\n--network-configuration 'awsvpcConfiguration={subnets=[…],securityGroups=["+d.taskSG+"],assignPublicIp=ENABLED}'\n--load-balancers targetGroupArn=<target group>,containerName=web,containerPort=80")
	found, err := d.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: new(name), Services: []string{"web"}})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found.Services, func(s ecstypes.Service) bool { return *s.Status == "ACTIVE" }) {
		_, err = d.ecs.UpdateService(ctx, &ecs.UpdateServiceInput{
			Cluster: new(name), Service: new("web"), TaskDefinition: new(d.definition), DesiredCount: new(int32(2)),
		})
		d.out.say("the service exists: rolling it over to the new revision")
		return err
	}
	_, err = d.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(name), ServiceName: new("web"), TaskDefinition: new(d.definition),
		DesiredCount: new(int32(2)), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{
			Subnets: d.subnets, SecurityGroups: []string{d.taskSG}, AssignPublicIp: ecstypes.AssignPublicIpEnabled,
		}},
		LoadBalancers: []ecstypes.LoadBalancer{{
			TargetGroupArn: new(d.targetGroup), ContainerName: new("web"), ContainerPort: new(int32(80)),
		}},
	})
	return err
}

// waitUntilStable is the CLI's services-stable waiter, with the service's
// events shown as they come.
func (d *demo) waitUntilStable(ctx context.Context) error {
	d.out.begin("Wait until the service is stable", "aws ecs wait services-stable --cluster "+name+" --services web")
	begun := time.Now()
	seen := map[string]bool{}
	first := true
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: new(name), Services: []string{"web"}})
		if err != nil {
			return err
		}
		if len(out.Services) == 0 {
			return errors.New("the service is gone")
		}
		s := out.Services[0]
		for _, e := range slices.Backward(s.Events) {
			if !seen[*e.Id] && (!first || e.CreatedAt.After(begun.Add(-5*time.Second))) {
				d.out.say("%4.1f s  %s", time.Since(begun).Seconds(), *e.Message)
			}
			seen[*e.Id] = true
		}
		first = false
		if len(s.Deployments) == 1 && s.RunningCount == s.DesiredCount {
			d.out.say("stable after %.1f s", time.Since(begun).Seconds())
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the service did not become stable: %w; see aws ecs describe-services --cluster %s --services web", ctx.Err(), name)
		case <-tick.C:
		}
	}
}

// waitUntilHealthy waits until the load balancer sends requests to both tasks.
func (d *demo) waitUntilHealthy(ctx context.Context) error {
	d.out.begin("Wait until the load balancer finds both tasks healthy", "aws elbv2 wait target-in-service --target-group-arn "+d.targetGroup)
	begun := time.Now()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		out, err := d.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: new(d.targetGroup)})
		if err != nil {
			return err
		}
		var states []string
		healthy := 0
		for _, t := range out.TargetHealthDescriptions {
			states = append(states, *t.Target.Id+" "+string(t.TargetHealth.State))
			if t.TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy {
				healthy++
			}
		}
		slices.Sort(states)
		if now := strings.Join(states, ", "); now != last {
			d.out.say("%4.1f s  %s", time.Since(begun).Seconds(), now)
			last = now
		}
		if healthy == 2 && healthy == len(states) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the targets did not become healthy: %w; see aws elbv2 describe-target-health --target-group-arn %s", ctx.Err(), d.targetGroup)
		case <-tick.C:
		}
	}
}
