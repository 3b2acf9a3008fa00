package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestGRPCService runs a service that speaks gRPC behind an HTTPS listener, and
// calls it by gRPC-Go's own client.
func TestGRPCService(t *testing.T) {
	t.Parallel()
	const port = 8454
	st := newStack(t, shared(t))
	ctx := t.Context()
	lb, err := st.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: new(st.name), Subnets: st.subnets, SecurityGroups: []string{st.group("lb", port, "0.0.0.0/0")}})
	if err != nil {
		t.Fatal(err)
	}
	arn, dns := lb.LoadBalancers[0].LoadBalancerArn, *lb.LoadBalancers[0].DNSName
	tg, err := st.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: new(st.name), Protocol: elbtypes.ProtocolEnumHttp, ProtocolVersion: new("GRPC"), Port: new(int32(80)), TargetType: elbtypes.TargetTypeEnumIp, VpcId: new(st.vpc),
		HealthCheckPath: new("/grpc.health.v1.Health/Check"), Matcher: &elbtypes.Matcher{GrpcCode: new("0")},
		HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		t.Fatal(err)
	}
	group := tg.TargetGroups[0].TargetGroupArn
	cert, file := st.upload("grpc", dns)
	if _, err := st.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: arn, Protocol: elbtypes.ProtocolEnumHttps, Port: new(int32(port)), Certificates: []elbtypes.Certificate{{CertificateArn: new(cert)}},
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: group}},
	}); err != nil {
		t.Fatal(err)
	}
	definition := st.register("grpc", nil, st.container("serve", "-grpc", "-name", "e2e"))
	if _, err := st.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(st.name), ServiceName: new("grpc"), TaskDefinition: new(definition), DesiredCount: new(int32(1)), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: st.network(st.group("tasks", 80, "172.31.0.0/16")),
		LoadBalancers:        []ecstypes.LoadBalancer{{TargetGroupArn: group, ContainerName: new("tool"), ContainerPort: new(int32(80))}},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_, _ = st.ecs.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: new(st.name), Service: new("grpc"), Force: new(true)})
		_, _ = st.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: arn})
	})
	eventually(t, 90*time.Second, "a healthy target", func() error {
		out, err := st.elb.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: group})
		if err != nil || len(out.TargetHealthDescriptions) != 1 || out.TargetHealthDescriptions[0].TargetHealth.State != elbtypes.TargetHealthStateEnumHealthy {
			return errorf("%+v %v", out, err)
		}
		return nil
	})
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// Names below localhost lead to this machine, where the server relays.
	conn, err := grpc.NewClient(fmt.Sprintf("passthrough:///127.0.0.1:%d", port), grpc.WithAuthority(dns),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: dns, MinVersion: tls.VersionTLS12})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := grpc_health_v1.NewHealthClient(conn)
	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	got, err := c.Check(within, &grpc_health_v1.HealthCheckRequest{Service: "e2e"}, grpc.WaitForReady(true))
	if err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.Check(within, &grpc_health_v1.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	watch, err := c.Watch(within, &grpc_health_v1.HealthCheckRequest{Service: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := watch.Recv(); err != nil || got.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("watching: %v, %v", got, err)
	}
}
