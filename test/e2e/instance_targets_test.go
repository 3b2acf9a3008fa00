package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// targets are the targets of a group: "id:port state reason".
func (n *nodes) targets(group string) []string {
	n.t.Helper()
	out, err := n.elb.DescribeTargetHealth(n.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: new(group)})
	if err != nil {
		n.t.Fatal(err)
	}
	var all []string
	for _, d := range out.TargetHealthDescriptions {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s:%d %s %s", *d.Target.Id, *d.Target.Port, d.TargetHealth.State, d.TargetHealth.Reason)))
	}
	slices.Sort(all)
	return all
}

// targetGroup makes a group of instances that checks quickly.
func (n *nodes) targetGroup(name string, port int32, path string) string {
	n.t.Helper()
	tg, err := n.elb.CreateTargetGroup(n.t.Context(), &elb.CreateTargetGroupInput{
		Name: new(n.name + name), Protocol: elbtypes.ProtocolEnumHttp, Port: new(port), VpcId: new(n.vpc),
		HealthCheckPath: new(path), HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	arn := tg.TargetGroups[0].TargetGroupArn
	if _, err := n.elb.ModifyTargetGroupAttributes(n.t.Context(), &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: arn, Attributes: []elbtypes.TargetGroupAttribute{
		{Key: new("deregistration_delay.timeout_seconds"), Value: new("3")},
	}}); err != nil {
		n.t.Fatal(err)
	}
	return *arn
}

// member launches an instance of the cluster that serves a page on port 8080.
func (n *nodes) member(group string, subnet int) string {
	n.t.Helper()
	data := "#!/bin/bash\necho ECS_CLUSTER=" + n.name + " >> /etc/ecs/ecs.config\n" +
		"mkdir -p /srv/www/plain && cd /srv/www && echo hello > plain/index.html\nsetsid /usr/bin/python3 -m http.server 8080 >/dev/null 2>&1 &\n"
	return *n.fleet.launch(data, func(in *ec2.RunInstancesInput) {
		in.ImageId, in.InstanceType, in.SubnetId = new(ecsImage), ec2types.InstanceTypeT3Small, new(n.subnets[subnet])
		in.SecurityGroupIds = []string{group}
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: new(n.profile)}
	}).InstanceId
}

// TestInstanceTargets has a load balancer reach what runs on instances: a
// process of the instance's own, and a service's tasks at the ports that the
// instances gave them. An instance that ends takes its targets along, and its
// tasks are replaced.
func TestInstanceTargets(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/python3", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	n := newNodes(t, ownServer(t, "containerd"))
	ctx := t.Context()
	front, members := n.group("lb", 80, "0.0.0.0/0"), n.group("members", 0, "")
	for _, ports := range [][2]int32{{8080, 8080}, {49153, 65535}} {
		if _, err := n.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(members), IpPermissions: []ec2types.IpPermission{{
			IpProtocol: new("tcp"), FromPort: new(ports[0]), ToPort: new(ports[1]), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(front)}},
		}}}); err != nil {
			t.Fatal(err)
		}
	}
	a, b := n.member(members, 0), n.member(members, 1)
	lb, err := n.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: new(n.name), Subnets: n.subnets, SecurityGroups: []string{front}})
	if err != nil {
		t.Fatal(err)
	}
	plain, tasks := n.targetGroup("p", 8080, "/plain/"), n.targetGroup("t", 80, "/health")
	l, err := n.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(tasks)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.elb.CreateRule(ctx, &elb.CreateRuleInput{
		ListenerArn: l.Listeners[0].ListenerArn, Priority: new(int32(1)), Actions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(plain)}},
		Conditions: []elbtypes.RuleCondition{{Field: new("path-pattern"), Values: []string{"/plain/*"}}},
	}); err != nil {
		t.Fatal(err)
	}
	n.joined(a)
	n.joined(b)
	if _, err := n.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: new(plain), Targets: []elbtypes.TargetDescription{{Id: new(a)}, {Id: new(b)}}}); err != nil {
		t.Fatal(err)
	}
	c := n.container("serve", "-name", "one")
	c.PortMappings[0].HostPort = new(int32(0))
	w := &balanced{stack: n.stack, dns: *lb.LoadBalancers[0].DNSName, targetGroup: tasks, browser: n.newBrowser()}
	if _, err := n.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(n.name), ServiceName: new("web"), TaskDefinition: new(n.register("web", onInstances(ecstypes.NetworkModeBridge), c)), DesiredCount: new(int32(3)), LaunchType: ecstypes.LaunchTypeEc2,
		LoadBalancers: []ecstypes.LoadBalancer{{TargetGroupArn: new(tasks), ContainerName: new("tool"), ContainerPort: new(int32(80))}},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = n.ecs.DeleteService(context.Background(), &ecs.DeleteServiceInput{Cluster: new(n.name), Service: new("web"), Force: new(true)})
	})
	healthy := func(group string, want map[string]int) {
		t.Helper()
		eventually(t, 60*time.Second, fmt.Sprintf("healthy targets %v", want), func() error {
			got := map[string]int{}
			all := n.targets(group)
			for _, line := range all {
				id, rest, _ := strings.Cut(line, ":")
				if !strings.HasSuffix(rest, " healthy") {
					return fmt.Errorf("there are %q\n%s", all, events(w.service()))
				}
				got[id]++
			}
			for id, k := range want {
				if got[id] != k && (k > 0 || got[id] == 0) || len(got) != len(want) {
					return fmt.Errorf("there are %q\n%s", all, events(w.service()))
				}
			}
			return nil
		})
	}
	answers := func(path, want string) {
		t.Helper()
		if status, body, err := w.get(path); err != nil || status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q %v", path, status, body, err)
		}
	}
	healthy(plain, map[string]int{a: 1, b: 1})
	answers("/plain/index.html", "hello")
	w.stable(60 * time.Second)
	healthy(tasks, map[string]int{a: -1, b: -1}) // two on the one, one on the other
	if got := n.targets(tasks); len(got) != 3 {
		t.Errorf("targets %q", got)
	}
	answers("/", "one")

	// A further interface comes into the instance while it runs, and leaves it.
	nic, err := n.ec2.CreateNetworkInterface(ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: new(n.subnets[0])})
	if err != nil {
		t.Fatal(err)
	}
	id, ip := nic.NetworkInterface.NetworkInterfaceId, *nic.NetworkInterface.PrivateIpAddress
	attached, err := n.ec2.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{InstanceId: new(a), NetworkInterfaceId: id, DeviceIndex: new(int32(1))})
	if err != nil {
		t.Fatal(err)
	}
	settles := func(want string, inside bool) {
		t.Helper()
		eventually(t, 20*time.Second, "the interface is "+want, func() error {
			out, err := n.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*id}})
			if err != nil {
				return err
			}
			v := out.NetworkInterfaces[0]
			got := string(v.Status)
			if v.Attachment != nil {
				got = string(v.Attachment.Status)
			}
			if got != want {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
		if out, err := n.inside(a, "ip", "-4", "addr"); err != nil || strings.Contains(out, " "+ip+"/") != inside {
			t.Errorf("%s: the instance has %s %v", want, out, err)
		}
	}
	settles("attached", true)
	if _, err := n.ec2.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: attached.AttachmentId}); err != nil {
		t.Fatal(err)
	}
	settles("available", false)
	if _, err := n.ec2.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: id}); err != nil {
		t.Error(err)
	}

	// The end of an instance.
	var there []string
	list, err := n.ecs.ListTasks(ctx, &ecs.ListTasksInput{Cluster: new(n.name), ContainerInstance: n.joined(b).ContainerInstanceArn})
	if err != nil {
		t.Fatal(err)
	}
	there = list.TaskArns
	if _, err := n.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{b}}); err != nil {
		t.Fatal(err)
	}
	n.fleet.is(b, ec2types.InstanceStateNameTerminated)
	healthy(tasks, map[string]int{a: 3})
	healthy(plain, map[string]int{a: 1})
	w.stable(60 * time.Second)
	for _, arn := range there {
		if got := n.await(arn, "STOPPED"); got.StopCode != ecstypes.TaskStopCodeTerminationNotice || str(got.StoppedReason) != "Host EC2 (instance "+b+") terminated." {
			t.Errorf("%s: %s %s", arn, got.StopCode, str(got.StoppedReason))
		}
	}
	if left, err := n.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(n.name)}); err != nil || len(left.ContainerInstanceArns) != 1 {
		t.Errorf("container instances %+v, %v", left, err)
	}
	answers("/", "one")

	// A stopped instance is no target for as long.
	if _, err := n.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{a}}); err != nil {
		t.Fatal(err)
	}
	n.fleet.is(a, ec2types.InstanceStateNameStopped)
	eventually(t, 20*time.Second, "the target is not used", func() error {
		if got := n.targets(plain); !slices.Equal(got, []string{a + ":8080 unused Target.InvalidState"}) {
			return fmt.Errorf("there are %q", got)
		}
		return nil
	})
}
