package elb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	client "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
	newer "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/smithy-go"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/balancer/pretend"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/loadbalancer"
	"roadstead.dev/internal/gateway"
	"roadstead.dev/internal/model"
	servicev2 "roadstead.dev/internal/service/elbv2"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

type nobody struct{}

func (nobody) Lookup(context.Context, string, string) (string, api.Identity, string, error) {
	return "", api.Identity{}, "", model.ErrUnknownAccessKey
}

func (nobody) Authorize(context.Context, *api.Call, string, []string, map[string]string) error {
	return nil
}

// dial serves the world by the gateway, beside the newer API, with the
// controller running on a data plane that finds instances as it is told.
func (w *world) dial() (*client.Client, *newer.Client, *pretend.DataPlane) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	plane := pretend.New(clock.System{})
	balancers := loadbalancer.New(loadbalancer.Config{Store: w.st, Clock: clock.System{}, Plane: plane})
	done := make(chan error, 2)
	go func() {
		done <- controller.Runtime{Store: w.st, Clock: clock.System{}}.Run(ctx, balancers.Controller())
	}()
	go func() { balancers.Run(ctx); done <- nil }()
	w.t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				w.t.Error(err)
			}
		}
	})
	v2 := servicev2.New(servicev2.Config{Store: w.st})
	s := httptest.NewServer(gateway.New(gateway.Config{
		Services:    []gateway.Service{gateway.Bind(elb.New(w.s), w.s), gateway.Bind(elbv2.New(v2), v2)},
		Credentials: nobody{}, Authorizer: nobody{}, Clock: clock.System{}, Account: account, LoopbackRootKey: true,
		Log: slog.New(slog.DiscardHandler),
	}))
	w.t.Cleanup(s.Close)
	creds := credentials.NewStaticCredentialsProvider("test", "test", "")
	return client.New(client.Options{BaseEndpoint: aws.String(s.URL), Region: region, RetryMaxAttempts: 1, Credentials: creds}),
		newer.New(newer.Options{BaseEndpoint: aws.String(s.URL), Region: region, RetryMaxAttempts: 1, Credentials: creds}), plane
}

// states are those of instances: "id state reason description".
func states(t *testing.T, c *client.Client, name *string, ids ...string) []string {
	t.Helper()
	in := &client.DescribeInstanceHealthInput{LoadBalancerName: name}
	for _, id := range ids {
		in.Instances = append(in.Instances, types.Instance{InstanceId: &id})
	}
	out, err := c.DescribeInstanceHealth(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range out.InstanceStates {
		all = append(all, fmt.Sprint(*s.InstanceId, " ", *s.State, " ", *s.ReasonCode, " ", *s.Description))
	}
	return all
}

// becomes waits until the states are as wanted.
func becomes(t *testing.T, c *client.Client, name *string, want ...string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got := states(t, c, name)
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("states %q, want %q", got, want)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// What Terraform and the CLI do, by AWS's own client: instances come into
// service, fail, stop, and go. The newer API, on the same endpoint, shows
// nothing of it.
func TestSDK(t *testing.T) {
	w := newWorld(t)
	c, v2, plane := w.dial()
	ctx := t.Context()
	name := aws.String("web")
	out, err := c.CreateLoadBalancer(ctx, &client.CreateLoadBalancerInput{LoadBalancerName: name, AvailabilityZones: []string{"us-east-1a", "us-east-1b"}, Listeners: []types.Listener{
		{Protocol: aws.String("HTTP"), LoadBalancerPort: 80, InstancePort: aws.Int32(8080)},
		{Protocol: aws.String("TCP"), LoadBalancerPort: 81, InstancePort: aws.Int32(8081)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ModifyLoadBalancerAttributes(ctx, &client.ModifyLoadBalancerAttributesInput{LoadBalancerName: name, LoadBalancerAttributes: &types.LoadBalancerAttributes{
		CrossZoneLoadBalancing: &types.CrossZoneLoadBalancing{Enabled: true}, ConnectionDraining: &types.ConnectionDraining{Enabled: true, Timeout: aws.Int32(60)},
	}}); err != nil {
		t.Fatal(err)
	}
	ids := []types.Instance{{InstanceId: aws.String("i-1")}, {InstanceId: aws.String("i-2")}, {InstanceId: aws.String("i-3")}}
	b, err := w.s.find(w.ctx, *name)
	if err != nil {
		t.Fatal(err)
	}
	plane.SetHealth(b.row.Key.ID, "172.31.0.9:1", model.TargetHealth{State: model.TargetHealthInitial, Reason: model.ReasonInitialHealthChecking})
	registered, err := c.RegisterInstancesWithLoadBalancer(ctx, &client.RegisterInstancesWithLoadBalancerInput{LoadBalancerName: name, Instances: ids})
	if err != nil || len(registered.Instances) != 3 {
		t.Fatal(registered, err)
	}
	elsewhere := "i-3 OutOfService ELB Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to."
	becomes(t, c, name, "i-1 OutOfService ELB Instance registration is still in progress.", "i-2 InService N/A N/A", elsewhere)
	plane.SetHealth(b.row.Key.ID, "172.31.0.9:1", model.TargetHealth{State: model.TargetHealthUnhealthy, Reason: model.ReasonTimeout})
	w.instance("i-2", model.InstanceStopped)
	becomes(t, c, name, "i-1 OutOfService Instance Instance has failed at least the UnhealthyThreshold number of health checks consecutively.",
		"i-2 OutOfService Instance Instance is in stopped state.", elsewhere)
	plane.SetHealth(b.row.Key.ID, "172.31.0.9:1", model.TargetHealth{State: model.TargetHealthUnhealthy, Reason: model.ReasonTimeout, Description: model.DescriptionNotYetHealthy})
	w.instance("i-2", model.InstancePending)
	becomes(t, c, name, "i-1 OutOfService Instance Instance has not passed the configured HealthyThreshold number of health checks consecutively.",
		"i-2 OutOfService Instance Instance is in pending state.", elsewhere)
	lb, ok := plane.LoadBalancer(b.row.Key.ID)
	if !ok || len(lb.Listeners) != 2 || len(lb.Interfaces) != 2 {
		t.Errorf("the data plane has %+v", lb)
	}

	// Leaving: an instance that is ended goes by itself.
	if left, err := c.DeregisterInstancesFromLoadBalancer(ctx, &client.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: name, Instances: ids[:1]}); err != nil || len(left.Instances) != 2 {
		t.Error(left, err)
	}
	if got := states(t, c, name, "i-1"); len(got) != 1 || !strings.HasPrefix(got[0], "i-1 InService N/A Instance deregistration currently in progress.") && !strings.HasPrefix(got[0], "i-1 OutOfService Instance Instance is not currently registered") {
		t.Errorf("states %q", got)
	}
	w.instance("i-2", model.InstanceTerminated)
	becomes(t, c, name, elsewhere)
	waiter := client.NewInstanceDeregisteredWaiter(c, func(o *client.InstanceDeregisteredWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, 10*time.Millisecond
	})
	if err := waiter.Wait(ctx, &client.DescribeInstanceHealthInput{LoadBalancerName: name, Instances: ids[:1]}, 10*time.Second); err != nil {
		t.Error(err)
	}

	// An empty list of policies is a list.
	if _, err := c.CreateLBCookieStickinessPolicy(ctx, &client.CreateLBCookieStickinessPolicyInput{LoadBalancerName: name, PolicyName: aws.String("p")}); err != nil {
		t.Fatal(err)
	}
	for _, policies := range [][]string{{"p"}, {}} {
		if _, err := c.SetLoadBalancerPoliciesOfListener(ctx, &client.SetLoadBalancerPoliciesOfListenerInput{LoadBalancerName: name, LoadBalancerPort: 80, PolicyNames: policies}); err != nil {
			t.Fatal(err)
		}
		d, err := c.DescribeLoadBalancers(ctx, &client.DescribeLoadBalancersInput{LoadBalancerNames: []string{*name}})
		if err != nil || !slices.Equal(d.LoadBalancerDescriptions[0].ListenerDescriptions[0].PolicyNames, policies) {
			t.Errorf("%v, %v", d, err)
		}
		if d.LoadBalancerDescriptions[0].DNSName == nil || *d.LoadBalancerDescriptions[0].DNSName != *out.DNSName {
			t.Errorf("described %+v", d.LoadBalancerDescriptions[0])
		}
	}

	lbs, err := v2.DescribeLoadBalancers(ctx, &newer.DescribeLoadBalancersInput{})
	if err != nil || len(lbs.LoadBalancers) != 0 {
		t.Errorf("the newer API shows %+v, %v", lbs, err)
	}
	groups, err := v2.DescribeTargetGroups(ctx, &newer.DescribeTargetGroupsInput{})
	if err != nil || len(groups.TargetGroups) != 0 {
		t.Errorf("the newer API shows %+v, %v", groups, err)
	}
	_, err = v2.DescribeTargetHealth(ctx, &newer.DescribeTargetHealthInput{TargetGroupArn: aws.String(b.group.V.ARN)})
	code(t, err, "TargetGroupNotFound")
	_, err = v2.DescribeListeners(ctx, &newer.DescribeListenersInput{LoadBalancerArn: aws.String(b.lb.ARN)})
	code(t, err, "ValidationError")

	if _, err := c.DeleteLoadBalancer(ctx, &client.DeleteLoadBalancerInput{LoadBalancerName: name}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DescribeInstanceHealth(ctx, &client.DescribeInstanceHealthInput{LoadBalancerName: name})
	code(t, err, "LoadBalancerNotFound")
	deadline := time.Now().Add(10 * time.Second)
	for {
		q := store.Query{Account: account, Region: region}
		nics := must(tables.NetworkInterfaces.List(w.ctx, w.st, q))(w)
		rows := must(tables.LoadBalancers.List(w.ctx, w.st, q))(w)
		targets := must(tables.Targets.List(w.ctx, w.st, q))(w)
		if len(nics)+len(rows)+len(targets) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %d interfaces, %d load balancers, %d targets", len(nics), len(rows), len(targets))
		}
		<-time.After(5 * time.Millisecond)
	}
	if _, ok := plane.LoadBalancer(b.row.Key.ID); ok {
		t.Error("the data plane still has it")
	}
}

func code(t *testing.T, err error, want string) {
	t.Helper()
	if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// instance gives an instance a state.
func (w *world) instance(id, state string) {
	w.t.Helper()
	if _, err := tables.Instances.Update(w.ctx, w.st, account, region, id, func(v *model.Instance) error {
		v.Desired.State, v.Status.State = state, state
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestInstancesRefused(t *testing.T) {
	w := newWorld(t)
	name := w.create("n")
	refused(t, w.register(name), "ValidationError", "At least one")
	refused(t, w.register(name, "i-9"), "InvalidInstance", "Could not find EC2 instance i-9.")
	refused(t, w.register(new("nope"), "i-1"), "LoadBalancerNotFound", "nope")
	w.write(func(tx *store.Txn) {
		tables.Instances.Put(tx, account, region, "i-4", &model.Instance{ID: "i-4", Spec: model.InstanceSpec{VPCID: "vpc-2"}, Desired: model.InstanceDesired{State: model.InstanceRunning}})
	})
	refused(t, w.register(name, "i-4"), "InvalidInstance", "not in the same VPC")
	w.instance("i-3", model.InstanceTerminated)
	refused(t, w.register(name, "i-3"), "InvalidInstance", "terminated")
	if err := w.register(name, "i-1", "i-1"); err != nil {
		t.Fatal(err)
	}
	if d := w.describe(name); len(d.Instances) != 1 {
		t.Errorf("instances %+v", d.Instances)
	}
	_, err := w.s.DeregisterInstancesFromLoadBalancer(w.ctx, &elb.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: name, Instances: []elb.Instance{{InstanceId: new("i-9")}}})
	refused(t, err, "InvalidInstance", "i-9")
	out := must(w.s.DeregisterInstancesFromLoadBalancer(w.ctx, &elb.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: name, Instances: []elb.Instance{{InstanceId: new("i-2")}}}))(w)
	if len(out.Instances) != 1 {
		t.Errorf("left %+v", out.Instances)
	}
	_, err = w.s.DescribeInstanceHealth(w.ctx, &elb.DescribeInstanceHealthInput{LoadBalancerName: name, Instances: []elb.Instance{{InstanceId: new("i-9")}}})
	refused(t, err, "InvalidInstance", "i-9")
	if out := must(w.s.DescribeInstanceHealth(w.ctx, &elb.DescribeInstanceHealthInput{LoadBalancerName: name, Instances: []elb.Instance{{InstanceId: new("i-3")}, {InstanceId: new("i-2")}}}))(w); len(out.InstanceStates) != 1 || *out.InstanceStates[0].InstanceId != "i-2" {
		t.Errorf("the state of a terminated instance is told: %+v", out.InstanceStates)
	}
	// One that leaves is taken back.
	must(w.s.DeregisterInstancesFromLoadBalancer(w.ctx, &elb.DeregisterInstancesFromLoadBalancerInput{LoadBalancerName: name, Instances: []elb.Instance{{InstanceId: new("i-1")}}}))(w)
	if err := w.register(name, "i-1"); err != nil {
		t.Fatal(err)
	}
	if d := w.describe(name); len(d.Instances) != 1 {
		t.Errorf("instances %+v", d.Instances)
	}
}
