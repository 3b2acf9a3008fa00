package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"roadstead.dev/internal/network"
)

// forwarder is a network load balancer.
type forwarder struct {
	*stack
	arn, dns string
}

func (st *stack) forwarder(name string, change func(*elb.CreateLoadBalancerInput)) *forwarder {
	st.t.Helper()
	in := &elb.CreateLoadBalancerInput{Name: new(st.name + name), Type: elbtypes.LoadBalancerTypeEnumNetwork}
	change(in)
	lb, err := st.elb.CreateLoadBalancer(st.t.Context(), in)
	if err != nil {
		st.t.Fatal(err)
	}
	f := &forwarder{stack: st, arn: *lb.LoadBalancers[0].LoadBalancerArn, dns: *lb.LoadBalancers[0].DNSName}
	if _, err := st.elb.ModifyLoadBalancerAttributes(st.t.Context(), &elb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: &f.arn, Attributes: []elbtypes.LoadBalancerAttribute{
		{Key: new("load_balancing.cross_zone.enabled"), Value: new("true")},
	}}); err != nil {
		st.t.Fatal(err)
	}
	return f
}

// flows makes a target group for flows that checks quickly.
func (f *forwarder) flows(name string, kind elbtypes.TargetTypeEnum, check elbtypes.ProtocolEnum) string {
	f.t.Helper()
	tg, err := f.elb.CreateTargetGroup(f.t.Context(), &elb.CreateTargetGroupInput{
		Name: new(f.name + name), Protocol: elbtypes.ProtocolEnumTcp, Port: new(int32(80)), TargetType: kind, VpcId: new(f.vpc), HealthCheckProtocol: check,
		HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	arn := tg.TargetGroups[0].TargetGroupArn
	if kind == elbtypes.TargetTypeEnumAlb {
		return *arn // its attributes cannot be modified
	}
	if _, err := f.elb.ModifyTargetGroupAttributes(f.t.Context(), &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: arn, Attributes: []elbtypes.TargetGroupAttribute{
		{Key: new("deregistration_delay.timeout_seconds"), Value: new("3")},
	}}); err != nil {
		f.t.Fatal(err)
	}
	return *arn
}

func (f *forwarder) listen(port int32, protocol elbtypes.ProtocolEnum, group string, certificates ...elbtypes.Certificate) {
	f.t.Helper()
	if _, err := f.elb.CreateListener(f.t.Context(), &elb.CreateListenerInput{
		LoadBalancerArn: &f.arn, Port: &port, Protocol: protocol, Certificates: certificates,
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: &group}},
	}); err != nil {
		f.t.Fatal(err)
	}
}

// asker asks over one connection for as long as it lasts.
type asker struct {
	net.Conn
	r *bufio.Reader
}

func (a *asker) ask(path string) (string, error) {
	_ = a.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(a, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestNetworkBalancer reaches a Fargate service through a network load
// balancer: by an address of its own choice and by TLS, and through an
// application load balancer; and tasks of an instance at the ports that it gave
// them. A connection goes on while the server is killed, dead, started again,
// and restarted.
func TestNetworkBalancer(t *testing.T) {
	t.Parallel()
	n := newNodes(t, ownServer(t, "containerd"))
	st, ctx := n.stack, t.Context()
	open, err := st.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{GroupName: new(st.name + "-open"), Description: new("open"), VpcId: new(st.vpc)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: open.GroupId, IpProtocol: new("tcp"), FromPort: new(int32(0)), ToPort: new(int32(65535)), CidrIp: new("0.0.0.0/0")}); err != nil {
		t.Fatal(err)
	}
	instance := n.boot("", func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{*open.GroupId} })

	sn, err := st.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: st.subnets[:1]})
	if err != nil {
		t.Fatal(err)
	}
	base := netip.MustParsePrefix(*sn.Subnets[0].CidrBlock).Addr().As4()
	base[3] = 77
	chosen := netip.AddrFrom4(base).String()
	f := st.forwarder("n", func(in *elb.CreateLoadBalancerInput) {
		in.Scheme = elbtypes.LoadBalancerSchemeEnumInternal
		in.SubnetMappings = []elbtypes.SubnetMapping{{SubnetId: new(st.subnets[0]), PrivateIPv4Address: new(chosen)}, {SubnetId: new(st.subnets[1])}}
	})
	web := f.flows("web", elbtypes.TargetTypeEnumIp, elbtypes.ProtocolEnumTcp)
	f.listen(80, elbtypes.ProtocolEnumTcp, web)
	certificate, file := st.upload("net", f.dns)
	f.listen(443, elbtypes.ProtocolEnumTls, web, elbtypes.Certificate{CertificateArn: new(certificate)})

	i := st.forwarder("i", func(in *elb.CreateLoadBalancerInput) { in.Subnets = st.subnets })
	ports := i.flows("ports", elbtypes.TargetTypeEnumInstance, elbtypes.ProtocolEnumHttp)
	i.listen(80, elbtypes.ProtocolEnumTcp, ports)

	serve := func(name, group string, kind ecstypes.LaunchType, definition string, networks *ecstypes.NetworkConfiguration) {
		t.Helper()
		if _, err := st.ecs.CreateService(ctx, &ecs.CreateServiceInput{
			Cluster: new(st.name), ServiceName: new(name), TaskDefinition: new(definition), DesiredCount: new(int32(1)), LaunchType: kind, NetworkConfiguration: networks,
			LoadBalancers: []ecstypes.LoadBalancer{{TargetGroupArn: new(group), ContainerName: new("tool"), ContainerPort: new(int32(80))}},
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = st.ecs.DeleteService(context.Background(), &ecs.DeleteServiceInput{Cluster: new(st.name), Service: new(name), Force: new(true)})
		})
	}
	within := st.network(*open.GroupId)
	within.AwsvpcConfiguration.Subnets = st.subnets[:2] // where the load balancer is
	serve("web", web, ecstypes.LaunchTypeFargate, st.register("web", nil, st.container("serve", "-name", "flown")), within)
	n.joined(instance)
	bridged := st.container("serve", "-name", "ported")
	bridged.PortMappings[0].HostPort = new(int32(0))
	serve("ports", ports, ecstypes.LaunchTypeEc2, st.register("ports", onInstances(ecstypes.NetworkModeBridge), bridged), nil)

	healthy := func(group string) {
		t.Helper()
		eventually(t, 90*time.Second, "a healthy target", func() error {
			if got := n.targets(group); len(got) != 1 || !strings.HasSuffix(got[0], " healthy") {
				return fmt.Errorf("there are %q", got)
			}
			return nil
		})
	}
	healthy(web)
	healthy(ports)

	// The host's own way into the VPC, which needs no server.
	link, err := network.New(network.Config{Prefix: st.prefix(t), Dir: filepath.Join("/run/roadstead", st.prefix(t), "net")})
	if err != nil {
		t.Fatal(err)
	}
	dial := func(port string) net.Conn {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		c, err := link.DialVPC(ctx, st.vpc, net.JoinHostPort(chosen, port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	asks := func(c net.Conn) *asker { return &asker{c, bufio.NewReader(c)} }
	steady := asks(dial("80"))
	answers := func(a *asker, when string) {
		t.Helper()
		if got, err := a.ask("/"); err != nil || !strings.Contains(got, "flown") {
			t.Fatalf("%s: %q %v", when, got, err)
		}
	}
	answers(steady, "at its address")

	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	answers(asks(tls.Client(dial("443"), &tls.Config{ServerName: f.dns, RootCAs: roots})), "over TLS")

	byName := func(f *forwarder, want string) {
		t.Helper()
		eventually(t, 20*time.Second, "by name from the host", func() error {
			if code, body, err := get(st.newBrowser(), "http://"+f.dns+"/"); err != nil || code != http.StatusOK || !strings.Contains(body, want) {
				return errorf("%d %q %v", code, body, err)
			}
			return nil
		})
	}
	byName(f, "flown")
	byName(i, "ported")

	// Through an application load balancer, which sees whose connection it is.
	alb, err := st.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: new(st.name + "a"), Subnets: st.subnets, SecurityGroups: []string{*open.GroupId}, Scheme: elbtypes.LoadBalancerSchemeEnumInternal})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := st.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: new(st.name + "h"), Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)), TargetType: elbtypes.TargetTypeEnumIp, VpcId: new(st.vpc), HealthCheckPath: new("/health")})
	if err != nil {
		t.Fatal(err)
	}
	ip, _, _ := strings.Cut(n.targets(web)[0], ":")
	if _, err := st.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: tasks.TargetGroups[0].TargetGroupArn, Targets: []elbtypes.TargetDescription{{Id: &ip}}}); err != nil {
		t.Fatal(err)
	}
	inner := &forwarder{stack: st, arn: *alb.LoadBalancers[0].LoadBalancerArn}
	inner.listen(80, elbtypes.ProtocolEnumHttp, *tasks.TargetGroups[0].TargetGroupArn)
	outer := st.forwarder("o", func(in *elb.CreateLoadBalancerInput) { in.Subnets = st.subnets[:1] })
	balancers := outer.flows("alb", elbtypes.TargetTypeEnumAlb, elbtypes.ProtocolEnumHttp)
	outer.listen(80, elbtypes.ProtocolEnumTcp, balancers)
	if _, err := st.elb.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &balancers, Targets: []elbtypes.TargetDescription{{Id: &inner.arn}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the load balancer is healthy", func() error {
		h, err := st.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &balancers})
		if err != nil || len(h.TargetHealthDescriptions) != 1 || h.TargetHealthDescriptions[0].TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
			return errorf("%+v %v", h, err)
		}
		return nil
	})
	byName(outer, "flown")

	// The end of the process is not that of the connection.
	if err := st.kill(); err != nil {
		t.Fatal(err)
	}
	answers(steady, "after a kill")
	answers(asks(dial("80")), "anew, while nobody serves")
	if err := st.start(); err != nil {
		t.Fatal(err)
	}
	answers(steady, "after a start")
	byName(i, "ported")
	if err := st.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-st.exited; err != nil {
		t.Error("the server ends with", err)
	}
	answers(steady, "while it is stopped")
	if err := st.start(); err != nil {
		t.Fatal(err)
	}
	answers(steady, "after a restart")
	byName(outer, "flown")
}
