package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	classictypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// scaled is an Auto Scaling group behind a load balancer of each kind, which
// reach different processes of its instances.
type scaled struct {
	fleet
	// targetGroups are the application and the network load balancer's.
	targetGroups []string
	balancers    *classic.Client
	names        []string // of the load balancers, in DNS
}

// The ports of an instance that the load balancers reach.
const applicationPort, classicPort, networkPort = 8080, 8081, 8082

// TestAutoScalingGroup has a group of real instances serve behind an
// application, a classic and a network load balancer: what breaks down, or no
// longer answers one of them, is replaced; a server that is killed while the
// group grows goes on when it is back; and what leaves the group leaves nothing.
func TestAutoScalingGroup(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/python3", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	g := &scaled{fleet: fleet{ownServer(t, "containerd"), t}}
	g.make()
	first := g.serves(2)
	g.answer(first)

	// One is killed, and the web server of the other ends.
	if err := syscall.Kill(g.first(first[0]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := g.serves(2, first[0])
	g.silence(first[1], applicationPort)
	third := g.serves(2, first...)
	g.causes(
		"Terminating EC2 instance: "+first[0]+" an EC2 health check indicating it has been terminated or stopped.",
		"Terminating EC2 instance: "+first[1]+" an ELB system health check failure.",
	)
	if !slices.ContainsFunc(third, func(id string) bool { return slices.Contains(second, id) }) {
		t.Errorf("the healthy one was replaced, too: %v, then %v", second, third)
	}

	// Nor do those stay that only the other load balancers miss.
	g.silence(third[0], networkPort)
	g.silence(third[1], classicPort)
	g.serves(2, third...)
	g.causes(
		"Terminating EC2 instance: "+third[0]+" an ELB system health check failure.",
		"Terminating EC2 instance: "+third[1]+" an ELB system health check failure.",
	)

	// The server dies while the group grows.
	g.aws("set-desired-capacity", "--auto-scaling-group-name", "web", "--desired-capacity", "3")
	if err := g.kill(); err != nil {
		t.Fatal(err)
	}
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	all := g.serves(3)
	g.answer(all)

	g.aws("set-desired-capacity", "--auto-scaling-group-name", "web", "--desired-capacity", "1")
	last := g.serves(1)
	for _, id := range slices.Concat(first, all) {
		if slices.Contains(last, id) {
			continue
		}
		g.is(id, ec2types.InstanceStateNameTerminated)
		if err := g.left(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	g.aws("delete-auto-scaling-group", "--auto-scaling-group-name", "web", "--force-delete")
	g.is(last[0], ec2types.InstanceStateNameTerminated)
	eventually(t, 10*time.Second, "the group is gone", func() error {
		if out := g.aws("describe-auto-scaling-groups", "--query", "AutoScalingGroups"); strings.TrimSpace(out) != "[]" {
			return errorf("there is %s", out)
		}
		return nil
	})
}

// stopPython ends the web server of a port, as nothing else does that is in
// every instance.
const stopPython = `
import os, signal, sys
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        if open(f"/proc/{p}/cmdline", "rb").read().split(b"\0")[-2:-1] == [sys.argv[1].encode()] and int(p) != os.getpid(): os.kill(int(p), signal.SIGKILL)
    except OSError: pass
`

// silence ends the web server of a port of an instance.
func (g *scaled) silence(id string, port int) {
	g.t.Helper()
	if out, err := exec.CommandContext(g.t.Context(), "nsenter", "-t", strconv.Itoa(g.first(id)), "-m", "-p", "/usr/bin/python3", "-c", stopPython, strconv.Itoa(port)).CombinedOutput(); err != nil {
		g.t.Fatalf("%s: %v", out, err)
	}
}

func (g *scaled) aws(args ...string) string {
	g.t.Helper()
	return g.awscli(g.t, append([]string{"autoscaling"}, args...)...)
}

// make makes the load balancers, the template and the group.
func (g *scaled) make() {
	g.t.Helper()
	ctx := g.t.Context()
	ok := func(err error) {
		g.t.Helper()
		if err != nil {
			g.t.Fatal(err)
		}
	}
	front, members := g.group("front"), g.group("members")
	_, err := g.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(front), IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(80)), CidrIp: new("0.0.0.0/0")})
	ok(err)
	_, err = g.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(members), IpPermissions: []ec2types.IpPermission{{
		IpProtocol: new("tcp"), FromPort: new(int32(applicationPort)), ToPort: new(int32(networkPort)), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(front)}},
	}}})
	ok(err)
	all, err := g.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	ok(err)
	subnets := []string{*all.Subnets[0].SubnetId, *all.Subnets[1].SubnetId}
	for _, kind := range []struct {
		name    string
		kind    elbtypes.LoadBalancerTypeEnum
		flows   elbtypes.ProtocolEnum
		targets int32
	}{
		{"web", elbtypes.LoadBalancerTypeEnumApplication, elbtypes.ProtocolEnumHttp, applicationPort},
		{"net", elbtypes.LoadBalancerTypeEnumNetwork, elbtypes.ProtocolEnumTcp, networkPort},
	} {
		tg, err := g.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
			Name: &kind.name, Protocol: kind.flows, Port: &kind.targets, VpcId: all.Subnets[0].VpcId,
			HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)), UnhealthyThresholdCount: new(int32(2)),
		})
		ok(err)
		group := *tg.TargetGroups[0].TargetGroupArn
		_, err = g.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &group, Attributes: []elbtypes.TargetGroupAttribute{
			{Key: new("deregistration_delay.timeout_seconds"), Value: new("3")},
		}})
		ok(err)
		lb, err := g.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: &kind.name, Type: kind.kind, Subnets: subnets, SecurityGroups: []string{front}})
		ok(err)
		_, err = g.elb.ModifyLoadBalancerAttributes(ctx, &elb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Attributes: []elbtypes.LoadBalancerAttribute{
			{Key: new("load_balancing.cross_zone.enabled"), Value: new("true")},
		}})
		ok(err)
		_, err = g.elb.CreateListener(ctx, &elb.CreateListenerInput{
			LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Protocol: kind.flows, Port: new(int32(80)),
			DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
		})
		ok(err)
		g.targetGroups, g.names = append(g.targetGroups, group), append(g.names, *lb.LoadBalancers[0].DNSName)
	}
	g.balancers = classic.NewFromConfig(g.cfg)
	old, err := g.balancers.CreateLoadBalancer(ctx, &classic.CreateLoadBalancerInput{LoadBalancerName: new("old"), Subnets: subnets, SecurityGroups: []string{front}, Listeners: []classictypes.Listener{
		{Protocol: new("HTTP"), LoadBalancerPort: 80, InstanceProtocol: new("HTTP"), InstancePort: new(int32(classicPort))},
	}})
	ok(err)
	g.names = append(g.names, *old.DNSName)
	_, err = g.balancers.ConfigureHealthCheck(ctx, &classic.ConfigureHealthCheckInput{LoadBalancerName: new("old"), HealthCheck: &classictypes.HealthCheck{
		Target: new(fmt.Sprintf("HTTP:%d/", classicPort)), Interval: new(int32(5)), Timeout: new(int32(2)), HealthyThreshold: new(int32(2)), UnhealthyThreshold: new(int32(2)),
	}})
	ok(err)
	_, err = g.balancers.ModifyLoadBalancerAttributes(ctx, &classic.ModifyLoadBalancerAttributesInput{LoadBalancerName: new("old"), LoadBalancerAttributes: &classictypes.LoadBalancerAttributes{
		CrossZoneLoadBalancing: &classictypes.CrossZoneLoadBalancing{Enabled: true}, ConnectionDraining: &classictypes.ConnectionDraining{Enabled: true, Timeout: new(int32(3))},
	}})
	ok(err)
	userData := "#!/bin/bash\nmkdir -p /srv/www && cd /srv/www && hostname > index.html\n" +
		"for port in 8080 8081 8082; do setsid /usr/bin/python3 -m http.server $port >/dev/null 2>&1 & done\n"
	_, err = g.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: new("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
		ImageId: new("resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"), InstanceType: ec2types.InstanceTypeT3Micro,
		UserData: new(base64.StdEncoding.EncodeToString([]byte(userData))), SecurityGroupIds: []string{members},
	}})
	ok(err)
	g.aws("create-auto-scaling-group", "--auto-scaling-group-name", "web", "--min-size", "1", "--max-size", "4", "--desired-capacity", "2",
		"--launch-template", "LaunchTemplateName=web", "--vpc-zone-identifier", strings.Join(subnets, ","), "--load-balancer-names", "old",
		"--target-group-arns", g.targetGroups[0], g.targetGroups[1], "--health-check-type", "ELB", "--health-check-grace-period", "15")
}

// member is what DescribeAutoScalingGroups says of an instance.
type member struct {
	InstanceID, LifecycleState, HealthStatus string
}

// serves waits until so many instances, without some, are all that the group
// has, in service and healthy at all load balancers. It gives their ids.
func (g *scaled) serves(n int, without ...string) []string {
	g.t.Helper()
	var ids []string
	eventually(g.t, 2*time.Minute, fmt.Sprintf("%d instances serve", n), func() error {
		all, err := g.healthy()
		if err != nil {
			return err
		}
		for i, healthy := range all {
			if len(healthy) != n || slices.ContainsFunc(without, func(id string) bool { return healthy[id] }) {
				return errorf("load balancer %d has the healthy instances %v", i, healthy)
			}
		}
		// The CLI takes long: it is asked only once.
		var members []member
		if err := json.Unmarshal([]byte(g.aws("describe-auto-scaling-groups", "--query", "AutoScalingGroups[0].Instances")), &members); err != nil {
			return err
		}
		ids = nil
		for _, m := range members {
			if m.LifecycleState == "InService" && m.HealthStatus == "Healthy" && all[0][m.InstanceID] && all[1][m.InstanceID] && all[2][m.InstanceID] {
				ids = append(ids, m.InstanceID)
			}
		}
		if len(ids) != n || len(members) != n {
			return errorf("members %+v, targets %v", members, all)
		}
		return nil
	})
	return ids
}

// healthy are the instances that each load balancer has, all of them healthy.
func (g *scaled) healthy() (all []map[string]bool, err error) {
	for _, group := range g.targetGroups {
		out, err := g.elb.DescribeTargetHealth(g.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
		if err != nil {
			return nil, err
		}
		healthy := map[string]bool{}
		for _, d := range out.TargetHealthDescriptions {
			if d.TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
				return nil, errorf("%s is %s: %s", *d.Target.Id, d.TargetHealth.State, d.TargetHealth.Reason)
			}
			healthy[*d.Target.Id] = true
		}
		all = append(all, healthy)
	}
	out, err := g.balancers.DescribeInstanceHealth(g.t.Context(), &classic.DescribeInstanceHealthInput{LoadBalancerName: new("old")})
	if err != nil {
		return nil, err
	}
	healthy := map[string]bool{}
	for _, s := range out.InstanceStates {
		if *s.State != "InService" {
			return nil, errorf("%s is %s: %s", *s.InstanceId, *s.State, *s.Description)
		}
		healthy[*s.InstanceId] = true
	}
	return append(all, healthy), nil
}

// answer waits until each of the instances has answered through each of the
// load balancers.
func (g *scaled) answer(ids []string) {
	g.t.Helper()
	out, err := g.ec2.DescribeInstances(g.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		g.t.Fatal(err)
	}
	browser := g.newBrowser()
	for _, name := range g.names {
		want := map[string]bool{}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				want[*i.PrivateDnsName] = true
			}
		}
		eventually(g.t, 20*time.Second, "all instances answer by "+name, func() error {
			code, body, err := get(browser, "http://"+name+"/")
			if err != nil {
				return err
			}
			delete(want, strings.TrimSpace(body))
			if len(want) > 0 {
				return errorf("%d %q; still to answer: %v", code, body, want)
			}
			return nil
		})
	}
}

// causes looks for activities by their description and the end of their cause.
func (g *scaled) causes(want ...string) {
	g.t.Helper()
	var activities [][]string
	if err := json.Unmarshal([]byte(g.aws("describe-scaling-activities", "--auto-scaling-group-name", "web", "--query", "Activities[].[Description, Cause, StatusCode]")), &activities); err != nil {
		g.t.Fatal(err)
	}
	for _, w := range want {
		if !slices.ContainsFunc(activities, func(a []string) bool {
			_, why, _ := strings.Cut(a[1], "in response to ")
			return strings.TrimSpace(a[0]+" "+why) == w && a[2] == "Successful"
		}) {
			g.t.Errorf("no activity %q in %q", w, activities)
		}
	}
}
