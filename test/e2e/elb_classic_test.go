package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	classic "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"

	"roadstead.dev/internal/network"
)

// classicBalancer is a classic load balancer.
type classicBalancer struct {
	*nodes
	c         *classic.Client
	name, dns string
}

// classic makes a load balancer in all subnets that checks quickly, drains for
// a few seconds and sends across zones.
func (n *nodes) classic(name, group, check string, listeners ...types.Listener) *classicBalancer {
	n.t.Helper()
	b := &classicBalancer{nodes: n, c: classic.NewFromConfig(n.cfg), name: n.name + name}
	ctx := n.t.Context()
	out, err := b.c.CreateLoadBalancer(ctx, &classic.CreateLoadBalancerInput{LoadBalancerName: &b.name, Subnets: n.subnets, SecurityGroups: []string{group}, Listeners: listeners})
	if err != nil {
		n.t.Fatal(err)
	}
	b.dns = *out.DNSName
	_, err = b.c.ConfigureHealthCheck(ctx, &classic.ConfigureHealthCheckInput{LoadBalancerName: &b.name, HealthCheck: &types.HealthCheck{
		Target: &check, Interval: new(int32(5)), Timeout: new(int32(2)), HealthyThreshold: new(int32(2)), UnhealthyThreshold: new(int32(2)),
	}})
	if err == nil {
		_, err = b.c.ModifyLoadBalancerAttributes(ctx, &classic.ModifyLoadBalancerAttributesInput{LoadBalancerName: &b.name, LoadBalancerAttributes: &types.LoadBalancerAttributes{
			CrossZoneLoadBalancing: &types.CrossZoneLoadBalancing{Enabled: true}, ConnectionDraining: &types.ConnectionDraining{Enabled: true, Timeout: new(int32(3))},
		}})
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

// are waits until the instances have those states.
func (b *classicBalancer) are(want map[string]string) {
	b.t.Helper()
	eventually(b.t, 90*time.Second, fmt.Sprint("instances ", want), func() error {
		out, err := b.c.DescribeInstanceHealth(b.t.Context(), &classic.DescribeInstanceHealthInput{LoadBalancerName: &b.name})
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, s := range out.InstanceStates {
			got[*s.InstanceId] = *s.State
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}

// who are those that answer requests without cookies.
func (b *classicBalancer) who() string {
	b.t.Helper()
	var all []string
	for range 6 {
		code, body, err := get(b.newBrowser(), "http://"+b.dns+"/name")
		if err != nil || code != http.StatusOK {
			return fmt.Sprint(code, err)
		}
		if body = strings.TrimSpace(body); !slices.Contains(all, body) {
			all = append(all, body)
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestClassicBalancer puts classic load balancers before processes of instances
// and before a service's task: HTTP, HTTPS, TCP and SSL, stickiness, health,
// draining and logs.
func TestClassicBalancer(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/python3", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	n := newNodes(t, ownServer(t, "containerd", "--elb-log-period", "1s"))
	ctx := t.Context()
	front, members := n.group("lb", 80, "0.0.0.0/0"), n.group("members", 0, "")
	n.allow(front, 81, "0.0.0.0/0")
	if _, err := n.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: new(members), IpPermissions: []ec2types.IpPermission{{
		IpProtocol: new("tcp"), FromPort: new(int32(8080)), ToPort: new(int32(8081)), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: new(front)}},
	}}}); err != nil {
		t.Fatal(err)
	}
	a, b := n.member(members, 0), n.member(members, 1)
	listens := func(protocol string, port, instance int32) types.Listener {
		return types.Listener{Protocol: &protocol, LoadBalancerPort: port, InstanceProtocol: &protocol, InstancePort: &instance}
	}
	lb := n.classic("c", front, "HTTP:8080/plain/", listens("HTTP", 80, 8080), listens("TCP", 81, 8080))
	n.joined(a)
	n.joined(b)
	for _, id := range []string{a, b} {
		if out, err := n.inside(id, "sh", "-c", "echo "+id+" > /srv/www/name"); err != nil {
			t.Fatal(out, err)
		}
	}
	both := []types.Instance{{InstanceId: &a}, {InstanceId: &b}}
	if _, err := lb.c.RegisterInstancesWithLoadBalancer(ctx, &classic.RegisterInstancesWithLoadBalancerInput{LoadBalancerName: &lb.name, Instances: both}); err != nil {
		t.Fatal(err)
	}
	lb.are(map[string]string{a: "InService", b: "InService"})
	names := []string{a, b}
	slices.Sort(names)
	if got := lb.who(); got != strings.Join(names, " ") {
		t.Errorf("%s answered", got)
	}

	// Stickiness.
	_, err := lb.c.CreateLBCookieStickinessPolicy(ctx, &classic.CreateLBCookieStickinessPolicyInput{LoadBalancerName: &lb.name, PolicyName: new("sticky")})
	if err == nil {
		_, err = lb.c.SetLoadBalancerPoliciesOfListener(ctx, &classic.SetLoadBalancerPoliciesOfListenerInput{LoadBalancerName: &lb.name, LoadBalancerPort: 80, PolicyNames: []string{"sticky"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var cookie *http.Cookie
	eventually(t, 20*time.Second, "a cookie", func() error {
		resp, err := lb.newBrowser().Get("http://" + lb.dns + "/name")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		for _, c := range resp.Cookies() {
			if c.Name == "AWSELB" {
				cookie = c
				return nil
			}
		}
		return errors.New("there is none")
	})
	bound := map[string]bool{}
	for range 6 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+lb.dns+"/name", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(cookie)
		resp, err := lb.newBrowser().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		bound[string(body)] = true
	}
	if len(bound) != 1 {
		t.Errorf("a bound client got to %v", bound)
	}

	// TCP, from within the VPC, by the load balancer's address.
	nics, err := n.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{{Name: new("description"), Values: []string{"ELB " + lb.name}}}})
	if err != nil || len(nics.NetworkInterfaces) != len(n.subnets) {
		t.Fatalf("%+v %v", nics, err)
	}
	vpc := filepath.Join("/run/roadstead", n.prefix(t), "net/vpc", n.vpc)
	to := func(port string) net.Conn {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		c, err := network.DialIn(ctx, vpc, "tcp", net.JoinHostPort(*nics.NetworkInterfaces[0].PrivateIpAddress, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(60 * time.Second))
		return c
	}
	dial := func() net.Conn { return to("81") }
	asks := func(c net.Conn) string {
		t.Helper()
		if _, err := io.WriteString(c, "GET /name HTTP/1.0\r\n\r\n"); err != nil {
			return err.Error()
		}
		all, err := io.ReadAll(bufio.NewReader(c))
		if err != nil {
			return err.Error()
		}
		words := strings.Fields(string(all))
		if len(words) == 0 {
			return "nothing"
		}
		return words[len(words)-1]
	}
	seen := []string{asks(dial()), asks(dial())}
	slices.Sort(seen)
	if !slices.Equal(seen, names) {
		t.Errorf("connections took turns at %q", seen)
	}

	lb.secure(front, names, to)

	// An instance that is not healthy is out, and comes back.
	move := func(from, to string) {
		t.Helper()
		if out, err := n.inside(a, "mv", "/srv/www/"+from, "/srv/www/"+to); err != nil {
			t.Fatal(out, err)
		}
	}
	move("plain", "gone")
	lb.are(map[string]string{a: "OutOfService", b: "InService"})
	if got := lb.who(); got != b {
		t.Errorf("%s answered beside an unhealthy instance", got)
	}
	move("gone", "plain")
	lb.are(map[string]string{a: "InService", b: "InService"})

	// A connection to an instance that is deregistered outlives it for the
	// draining's time.
	held := []net.Conn{dial(), dial()}
	if _, err := lb.c.DeregisterInstancesFromLoadBalancer(ctx, &classic.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: &lb.name, Instances: both[:1]}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "the other instance answers alone", func() error {
		if got := lb.who(); got != b {
			return errorf("%s", got)
		}
		return nil
	})
	lb.are(map[string]string{b: "InService"})
	ended := 0
	for _, c := range held {
		if got := asks(c); got != b {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d of two connections ended with their instance", ended)
	}
	n.classicService(front, listens("HTTP", 80, 8081), a, b)
}

// classicService runs a service whose task is behind a classic load balancer.
func (n *nodes) classicService(front string, listener types.Listener, instances ...string) {
	n.t.Helper()
	ctx := n.t.Context()
	lb := n.classic("s", front, "HTTP:8081/health", listener)
	c := n.container("serve", "-name", "tasked")
	c.PortMappings[0].HostPort = new(int32(8081))
	if _, err := n.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(n.name), ServiceName: new("web"), TaskDefinition: new(n.register("web", onInstances(ecstypes.NetworkModeBridge), c)), DesiredCount: new(int32(1)), LaunchType: ecstypes.LaunchTypeEc2,
		LoadBalancers: []ecstypes.LoadBalancer{{LoadBalancerName: &lb.name, ContainerName: new("tool"), ContainerPort: new(int32(80))}},
	}); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_, _ = n.ecs.DeleteService(context.Background(), &ecs.DeleteServiceInput{Cluster: new(n.name), Service: new("web"), Force: new(true)})
	})
	eventually(n.t, 90*time.Second, "the task answers", func() error {
		if code, body, err := get(n.newBrowser(), "http://"+lb.dns+"/"); err != nil || code != http.StatusOK || !strings.Contains(body, "tasked") {
			return errorf("%d %q %v", code, body, err)
		}
		return nil
	})
	out, err := lb.c.DescribeInstanceHealth(ctx, &classic.DescribeInstanceHealthInput{LoadBalancerName: &lb.name})
	if err != nil || len(out.InstanceStates) != 1 || !slices.Contains(instances, *out.InstanceStates[0].InstanceId) {
		n.t.Errorf("registered %+v, %v", out, err)
	}
}
