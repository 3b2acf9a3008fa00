package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// scaled is an Auto Scaling group behind a load balancer.
type scaled struct {
	fleet
	targetGroup, dns string
}

// TestAutoScalingGroup has a group of real instances serve behind a load
// balancer: what breaks down, or no longer answers, is replaced; a server that
// is killed while the group grows goes on when it is back; and what leaves the
// group leaves nothing.
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
	if err := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(g.first(first[1])), "-m", "-p", "/usr/bin/python3", "-c", stopPython).Run(); err != nil {
		t.Fatal(err)
	}
	third := g.serves(2, first...)
	g.causes(
		"Terminating EC2 instance: "+first[0]+" an EC2 health check indicating it has been terminated or stopped.",
		"Terminating EC2 instance: "+first[1]+" an ELB system health check failure.",
	)
	if !slices.ContainsFunc(third, func(id string) bool { return slices.Contains(second, id) }) {
		t.Errorf("the healthy one was replaced, too: %v, then %v", second, third)
	}

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

// stopPython ends the other processes of its program, as nothing else does that
// is in every instance.
const stopPython = `
import os, signal
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        if int(p) != os.getpid() and b"http.server" in open(f"/proc/{p}/cmdline", "rb").read(): os.kill(int(p), signal.SIGKILL)
    except OSError: pass
`

func (g *scaled) aws(args ...string) string {
	g.t.Helper()
	return g.awscli(g.t, append([]string{"autoscaling"}, args...)...)
}

// make makes the load balancer, the template and the group.
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
		IpProtocol: new("tcp"), FromPort: new(int32(8080)), ToPort: new(int32(8080)), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(front)}},
	}}})
	ok(err)
	all, err := g.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	ok(err)
	subnets := []string{*all.Subnets[0].SubnetId, *all.Subnets[1].SubnetId}
	tg, err := g.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: new("web"), Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(8080)), VpcId: all.Subnets[0].VpcId,
		HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)), UnhealthyThresholdCount: new(int32(2)),
	})
	ok(err)
	g.targetGroup = *tg.TargetGroups[0].TargetGroupArn
	_, err = g.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: new(g.targetGroup), Attributes: []elbtypes.TargetGroupAttribute{
		{Key: new("deregistration_delay.timeout_seconds"), Value: new("3")},
	}})
	ok(err)
	lb, err := g.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: new("web"), Subnets: subnets, SecurityGroups: []string{front}})
	ok(err)
	g.dns = *lb.LoadBalancers[0].DNSName
	_, err = g.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(g.targetGroup)}},
	})
	ok(err)
	userData := "#!/bin/bash\nmkdir -p /srv/www && cd /srv/www && hostname > index.html\nsetsid /usr/bin/python3 -m http.server 8080 >/dev/null 2>&1 &\n"
	_, err = g.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: new("web"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
		ImageId: new("resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"), InstanceType: ec2types.InstanceTypeT3Micro,
		UserData: new(base64.StdEncoding.EncodeToString([]byte(userData))), SecurityGroupIds: []string{members},
	}})
	ok(err)
	g.aws("create-auto-scaling-group", "--auto-scaling-group-name", "web", "--min-size", "1", "--max-size", "4", "--desired-capacity", "2",
		"--launch-template", "LaunchTemplateName=web", "--vpc-zone-identifier", strings.Join(subnets, ","), "--target-group-arns", g.targetGroup,
		"--health-check-type", "ELB", "--health-check-grace-period", "15")
}

// member is what DescribeAutoScalingGroups says of an instance.
type member struct {
	InstanceID, LifecycleState, HealthStatus string
}

// serves waits until so many instances, without some, are all that the group
// has, in service and healthy targets. It gives their ids.
func (g *scaled) serves(n int, without ...string) []string {
	g.t.Helper()
	var ids []string
	eventually(g.t, 90*time.Second, fmt.Sprintf("%d instances serve", n), func() error {
		out, err := g.elb.DescribeTargetHealth(g.t.Context(), &elb.DescribeTargetHealthInput{TargetGroupArn: new(g.targetGroup)})
		if err != nil {
			return err
		}
		healthy := map[string]bool{}
		for _, d := range out.TargetHealthDescriptions {
			if d.TargetHealth.State == elbtypes.TargetHealthStateEnumHealthy && !slices.Contains(without, *d.Target.Id) {
				healthy[*d.Target.Id] = true
			}
		}
		if len(healthy) != n || len(out.TargetHealthDescriptions) != n {
			return errorf("healthy targets %v of %d", healthy, len(out.TargetHealthDescriptions))
		}
		// The CLI takes long: it is asked only once.
		var members []member
		if err := json.Unmarshal([]byte(g.aws("describe-auto-scaling-groups", "--query", "AutoScalingGroups[0].Instances")), &members); err != nil {
			return err
		}
		ids = nil
		for _, m := range members {
			if m.LifecycleState == "InService" && m.HealthStatus == "Healthy" && healthy[m.InstanceID] {
				ids = append(ids, m.InstanceID)
			}
		}
		if len(ids) != n || len(members) != n {
			return errorf("members %+v, targets %v", members, healthy)
		}
		return nil
	})
	return ids
}

// answer waits until each of the instances has answered through the load
// balancer.
func (g *scaled) answer(ids []string) {
	g.t.Helper()
	out, err := g.ec2.DescribeInstances(g.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		g.t.Fatal(err)
	}
	want := map[string]bool{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			want[*i.PrivateDnsName] = true
		}
	}
	browser := g.newBrowser()
	eventually(g.t, 20*time.Second, "all instances answer", func() error {
		ctx, cancel := context.WithTimeout(g.t.Context(), 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.dns+"/", nil)
		if err != nil {
			return err
		}
		resp, err := browser.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		delete(want, strings.TrimSpace(string(body)))
		if len(want) > 0 {
			return errorf("%d %q; still to answer: %v", resp.StatusCode, body, want)
		}
		return nil
	})
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
