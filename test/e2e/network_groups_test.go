package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// from lets a group's members in at port 80.
func (st *stack) from(group, members string) {
	st.t.Helper()
	if _, err := st.ec2.AuthorizeSecurityGroupIngress(st.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []ec2types.IpPermission{{
		IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(80)), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: &members}},
	}}}); err != nil {
		st.t.Fatal(err)
	}
}

// TestNetworkBalancerGroups puts an internal network load balancer with a
// security group before a task that only lets that group in, once seeing
// clients' addresses and once not: clients of the right group are served, others
// are not, and the host is once it is let in.
func TestNetworkBalancerGroups(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	ctx := t.Context()
	friends, strangers := st.group("friends", 0, ""), st.group("strangers", 0, "")
	front, tasks := st.group("lb", 0, ""), st.group("tasks", 0, "")
	st.from(front, friends)
	st.from(tasks, front)
	target := st.run(st.register("web", nil, st.container("serve", "-name", "guarded")), tasks)
	f := st.forwarder("n", func(in *elb.CreateLoadBalancerInput) {
		in.Scheme, in.Subnets, in.SecurityGroups = elbtypes.LoadBalancerSchemeEnumInternal, st.subnets[:2], []string{front}
	})
	t.Cleanup(func() {
		_, _ = st.elb.DeleteLoadBalancer(context.Background(), &elb.DeleteLoadBalancerInput{LoadBalancerArn: &f.arn})
	})
	group := f.flows("g", elbtypes.TargetTypeEnumIp, elbtypes.ProtocolEnumTcp)
	f.listen(80, elbtypes.ProtocolEnumTcp, group)
	ip := address(t, st.await(target, "RUNNING"))
	if _, err := st.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &group, Targets: []elbtypes.TargetDescription{{Id: &ip}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "a healthy target", func() error {
		out, err := st.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &group})
		if err != nil || len(out.TargetHealthDescriptions) != 1 || out.TargetHealthDescriptions[0].TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
			return errorf("%+v %v", out, err)
		}
		return nil
	})
	asks := st.register("client", nil, st.container("get", "-timeout", "4s", "http://"+f.dns+"/"))
	clients := func(when, seen string) {
		t.Helper()
		friend, stranger, direct := st.run(asks, friends), st.run(asks, strangers), st.run(st.register("direct", nil, st.container("get", "-timeout", "4s", "http://"+ip+"/")), friends)
		code := func(arn string) int32 {
			t.Helper()
			task := st.await(arn, "STOPPED")
			if task.Containers[0].ExitCode == nil {
				t.Fatalf("%s: a client ended without a code: %s", when, str(task.StoppedReason))
			}
			return *task.Containers[0].ExitCode
		}
		if got := code(friend); got != 0 {
			t.Errorf("%s: a client that is let in ends with %d: %s", when, got, st.output(friend))
		}
		if got := code(stranger); got == 0 {
			t.Errorf("%s: a client that is not let in is served", when)
		}
		if got := code(direct); got == 0 {
			t.Errorf("%s: the task lets in who does not come from the load balancer", when)
		}
		from := ip
		if seen == "client" {
			from = address(t, st.task(friend))
		}
		eventually(t, 20*time.Second, "what the client was told", func() error {
			out := st.output(friend)
			if !strings.Contains(out, `"name":"guarded"`) || strings.Contains(out, `"remote":"`+from+`:`) != (seen == "client") {
				return errorf("%s", out)
			}
			return nil
		})
	}
	clients("without clients' addresses", "load balancer")
	if _, err := st.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: &group, Attributes: []elbtypes.TargetGroupAttribute{
		{Key: new("preserve_client_ip.enabled"), Value: new("true")},
	}}); err != nil {
		t.Fatal(err)
	}
	clients("with clients' addresses", "client")

	browser := st.newBrowser()
	if code, body, err := get(browser, "http://"+f.dns+"/"); err == nil && code == http.StatusOK {
		t.Errorf("the host is served without being let in: %d %s", code, body)
	}
	st.allow(front, 80, "169.254.0.0/16") // the host's addresses in VPCs
	eventually(t, 20*time.Second, "the host is served by name", func() error {
		if code, body, err := get(browser, "http://"+f.dns+"/"); err != nil || code != http.StatusOK || !strings.Contains(body, "guarded") {
			return errorf("%d %s %v", code, body, err)
		}
		return nil
	})
}
