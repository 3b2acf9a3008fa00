package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// balanced is a service behind a load balancer.
type balanced struct {
	*stack
	dns         string
	targetGroup string
	taskGroup   string
	browser     *http.Client
}

// balance makes a load balancer with a listener on port 80, a target group
// that checks quickly, and a service of n tasks behind it.
func (st *stack) balance(n int32, definition string) *balanced {
	st.t.Helper()
	ctx := st.t.Context()
	b := &balanced{stack: st}
	lb, err := st.elb.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: new(st.name), Subnets: st.subnets, SecurityGroups: []string{st.group("lb", 80, "0.0.0.0/0")}})
	if err != nil {
		st.t.Fatal(err)
	}
	b.dns = *lb.LoadBalancers[0].DNSName
	tg, err := st.elb.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name: new(st.name), Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)), TargetType: elbtypes.TargetTypeEnumIp, VpcId: new(st.vpc),
		HealthCheckPath: new("/health"), HealthCheckIntervalSeconds: new(int32(5)), HealthCheckTimeoutSeconds: new(int32(2)), HealthyThresholdCount: new(int32(2)),
	})
	if err != nil {
		st.t.Fatal(err)
	}
	b.targetGroup = *tg.TargetGroups[0].TargetGroupArn
	if _, err := st.elb.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: new(b.targetGroup), Attributes: []elbtypes.TargetGroupAttribute{
		{Key: new("deregistration_delay.timeout_seconds"), Value: new("3")},
	}}); err != nil {
		st.t.Fatal(err)
	}
	if _, err := st.elb.CreateListener(ctx, &elb.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn, Protocol: elbtypes.ProtocolEnumHttp, Port: new(int32(80)),
		DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: new(b.targetGroup)}},
	}); err != nil {
		st.t.Fatal(err)
	}
	b.taskGroup = st.group("tasks", 80, "172.31.0.0/16")
	if _, err := st.ecs.CreateService(ctx, &ecs.CreateServiceInput{
		Cluster: new(st.name), ServiceName: new("web"), TaskDefinition: new(definition), DesiredCount: new(n), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: st.network(b.taskGroup),
		LoadBalancers:        []ecstypes.LoadBalancer{{TargetGroupArn: new(b.targetGroup), ContainerName: new("tool"), ContainerPort: new(int32(80))}},
	}); err != nil {
		st.t.Fatal(err)
	}
	st.t.Cleanup(func() {
		ctx := context.Background()
		_, _ = st.ecs.DeleteService(ctx, &ecs.DeleteServiceInput{Cluster: new(st.name), Service: new("web"), Force: new(true)})
		_, _ = st.elb.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: lb.LoadBalancers[0].LoadBalancerArn})
	})
	b.browser = st.newBrowser()
	return b
}

// newBrowser makes a client that reaches load balancers by their names. The
// endpoint's port answers for all of them, whatever else runs on the
// machine's port 80.
func (s *server) newBrowser() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.listen)
		},
	}}
}

func (b *balanced) get(path string) (int, string, error) {
	return get(b.browser, "http://"+b.dns+path)
}

func get(browser *http.Client, url string) (int, string, error) {
	resp, err := browser.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func (b *balanced) service() ecstypes.Service {
	b.t.Helper()
	out, err := b.ecs.DescribeServices(b.t.Context(), &ecs.DescribeServicesInput{Cluster: new(b.name), Services: []string{"web"}})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Services[0]
}

func (b *balanced) stable(within time.Duration) ecstypes.Service {
	b.t.Helper()
	var s ecstypes.Service
	eventually(b.t, within, "the service is stable", func() error {
		s = b.service()
		if len(s.Deployments) != 1 || s.RunningCount != s.DesiredCount || s.PendingCount != 0 {
			return errorf("%d deployments, %d running of %d, %d pending\n%s", len(s.Deployments), s.RunningCount, s.DesiredCount, s.PendingCount, events(s))
		}
		return nil
	})
	return s
}

func events(s ecstypes.Service) string {
	var b strings.Builder
	for _, e := range slices.Backward(s.Events) {
		b.WriteString("  " + *e.Message + "\n")
	}
	return b.String()
}

// TestRollingUpdateDropsNoRequest replaces both tasks of a service while
// clients keep asking, and watches the deployment's limits.
func TestRollingUpdateDropsNoRequest(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	b := st.balance(2, st.register("web", nil, st.container("serve", "-name", "one")))
	b.stable(90 * time.Second)
	if code, body, err := b.get("/"); err != nil || code != 200 || !strings.Contains(body, "one") {
		t.Fatalf("%d %q %v", code, body, err)
	}

	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var asked, failed atomic.Int64
	var firstFailure atomic.Value
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				code, body, err := b.get("/")
				asked.Add(1)
				if err != nil || code != 200 {
					failed.Add(1)
					firstFailure.CompareAndSwap(nil, fmt.Sprintf("%d %q %v", code, body, err))
				}
				<-time.After(10 * time.Millisecond)
			}
		})
	}
	if _, err := st.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: new(st.name), Service: new("web"), TaskDefinition: new(st.register("web", nil, st.container("serve", "-name", "two"))),
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the new revision is in place", func() error {
		s := b.service()
		if s.RunningCount < 2 {
			t.Errorf("only %d tasks run: minimumHealthyPercent is 100", s.RunningCount)
		}
		if s.RunningCount+s.PendingCount > 4 {
			t.Errorf("%d tasks: maximumPercent is 200", s.RunningCount+s.PendingCount)
		}
		if len(s.Deployments) != 1 || s.RunningCount != 2 || s.Deployments[0].RolloutState != ecstypes.DeploymentRolloutStateCompleted {
			return errorf("%d deployments, %d running\n%s", len(s.Deployments), s.RunningCount, events(s))
		}
		return nil
	})
	stop()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the first with %v", failed.Load(), asked.Load(), firstFailure.Load())
	}
	if asked.Load() == 0 {
		t.Error("nobody asked")
	}
	if _, body, err := b.get("/"); err != nil || !strings.Contains(body, "two") {
		t.Errorf("after the update: %q %v", body, err)
	}
	if ev := events(b.service()); !strings.Contains(ev, "(service web) has reached a steady state.") || !strings.Contains(ev, "(service web) has started 2 tasks") {
		t.Errorf("events:\n%s", ev)
	}
}

// TestDeadTaskIsReplaced kills a task behind the service's back.
func TestDeadTaskIsReplaced(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	b := st.balance(1, st.register("web", nil, st.container("serve", "-name", "alive")))
	b.stable(90 * time.Second)
	list, err := st.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), ServiceName: new("web")})
	if err != nil || len(list.TaskArns) != 1 {
		t.Fatal(list, err)
	}
	if code, _, err := b.get("/crash"); err != nil {
		t.Logf("the request that ends the task: %d %v", code, err)
	}
	eventually(t, time.Minute, "another task runs", func() error {
		now, err := st.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), ServiceName: new("web")})
		if err != nil {
			return err
		}
		if len(now.TaskArns) != 1 || now.TaskArns[0] == list.TaskArns[0] {
			return errorf("tasks %v", now.TaskArns)
		}
		return nil
	})
	b.stable(time.Minute)
	eventually(t, 30*time.Second, "the new task answers", func() error {
		if code, body, err := b.get("/"); err != nil || code != 200 {
			return errorf("%d %q %v", code, body, err)
		}
		return nil
	})
	dead := st.task(list.TaskArns[0])
	if dead.Containers[0].ExitCode == nil || *dead.Containers[0].ExitCode != 3 {
		t.Errorf("the dead task's exit code is %v, want 3", dead.Containers[0].ExitCode)
	}
}

// TestCrashingImageIsThrottled deploys an image that ends at once: the service
// keeps trying, ever more slowly, and says so.
func TestCrashingImageIsThrottled(t *testing.T) {
	t.Parallel()
	st := newStack(t, shared(t))
	definition := st.register("crash", nil, st.container("exit", "3"))
	if _, err := st.ecs.CreateService(t.Context(), &ecs.CreateServiceInput{
		Cluster: new(st.name), ServiceName: new("web"), TaskDefinition: new(definition), DesiredCount: new(int32(1)),
		LaunchType: ecstypes.LaunchTypeFargate, NetworkConfiguration: st.network(st.group("closed", 0, "")),
		DeploymentConfiguration: &ecstypes.DeploymentConfiguration{
			DeploymentCircuitBreaker: &ecstypes.DeploymentCircuitBreaker{Enable: true, Rollback: false},
		},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = st.ecs.DeleteService(context.Background(), &ecs.DeleteServiceInput{Cluster: new(st.name), Service: new("web"), Force: new(true)})
	})
	b := &balanced{stack: st}
	eventually(t, 2*time.Minute, "the circuit breaker ends the deployment", func() error {
		s := b.service()
		if d := s.Deployments[0]; d.RolloutState != ecstypes.DeploymentRolloutStateFailed {
			return errorf("it is %s with %d failed tasks\n%s", d.RolloutState, d.FailedTasks, events(s))
		}
		return nil
	})
	stopped, err := st.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), DesiredStatus: ecstypes.DesiredStatusStopped})
	if err != nil {
		t.Fatal(err)
	}
	if len(stopped.TaskArns) < 3 {
		t.Fatalf("%d tasks failed, the circuit breaker needs 3", len(stopped.TaskArns))
	}
	task := st.task(stopped.TaskArns[0])
	if task.StopCode != ecstypes.TaskStopCodeEssentialContainerExited || task.Containers[0].ExitCode == nil || *task.Containers[0].ExitCode != 3 {
		t.Errorf("stopped with %s, exit code %v", task.StopCode, task.Containers[0].ExitCode)
	}
}
