package elbv2

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// meddler is a store in which others write while a request is served: once
// before a commit, and once before rules are listed.
type meddler struct {
	store.Store
	commit, rules func()
}

func once(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

func (m *meddler) Commit(ctx context.Context, conds []store.Condition, ops []store.Op) (uint64, error) {
	once(&m.commit)
	return m.Store.Commit(ctx, conds, ops)
}

func (m *meddler) List(ctx context.Context, q store.Query) ([]store.Record, uint64, error) {
	if q.Kind == tables.Rules.Kind() {
		once(&m.rules)
	}
	return m.Store.List(ctx, q)
}

// meddle gives the service such a store, and others the plain one.
func (w *world) meddle() (*meddler, *world) {
	m := &meddler{Store: w.st}
	others := *w
	others.s = New(w.s.Config)
	w.s = New(w.s.Config)
	w.s.Store = m
	return m, &others
}

// TestRuleRacesProtocol holds that a rule cannot come to forward where the
// listener, whose protocol changes meanwhile, cannot.
func TestRuleRacesProtocol(t *testing.T) {
	w := newWorld(t)
	lb, plain := w.loadBalancer("lb"), w.group("plain")
	grpc := *must(w.s.CreateTargetGroup(w.ctx, &elbv2.CreateTargetGroupInput{
		Name: new("grpc"), Protocol: "HTTP", ProtocolVersion: new("GRPC"), Port: new(int32(80)), VpcId: new("vpc-1"), TargetType: "ip",
	}))(w).TargetGroups[0].TargetGroupArn
	l := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &lb, Port: new(int32(443)), Protocol: "HTTPS", DefaultActions: forward(plain), Certificates: named(w.certificate("a")),
	}))(w).Listeners[0].ListenerArn
	r := must(w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{
		ListenerArn: l, Priority: new(int32(1)), Actions: forward(plain),
		Conditions: []elbv2.RuleCondition{{Field: new("path-pattern"), Values: []string{"/x"}}},
	}))(w).Rules[0].RuleArn
	m, others := w.meddle()
	m.commit = func() {
		must(others.s.ModifyListener(others.ctx, &elbv2.ModifyListenerInput{ListenerArn: l, Protocol: "HTTP"}))(others)
	}
	_, err := w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: r, Actions: forward(grpc)})
	refused(t, err, "InvalidConfigurationRequest", "GRPC")
}

// TestListenersListedWhileDeleted holds that a list leaves out what is deleted
// while it is read.
func TestListenersListedWhileDeleted(t *testing.T) {
	w := newWorld(t)
	lb, g := w.loadBalancer("lb"), w.group("g")
	stays, goes := w.listener(lb, 80, forward(g)), w.listener(lb, 81, forward(g))
	m, others := w.meddle()
	m.rules = func() {
		must(others.s.DeleteListener(others.ctx, &elbv2.DeleteListenerInput{ListenerArn: &goes}))(others)
	}
	out := must(w.s.DescribeListeners(w.ctx, &elbv2.DescribeListenersInput{LoadBalancerArn: &lb}))(w)
	if len(out.Listeners) != 1 || *out.Listeners[0].ListenerArn != stays {
		t.Errorf("%d listeners", len(out.Listeners))
	}
}

// TestQuotaOfLoadBalancers holds that each type has its own, and that those which
// are deleted do not count while they are taken down.
func TestQuotaOfLoadBalancers(t *testing.T) {
	w := newWorld(t)
	w.put(func(tx *store.Txn) {
		for i := range maxLoadBalancers {
			id := fmt.Sprintf("%016x", i)
			tables.LoadBalancers.Put(tx, account, region, id, &model.LoadBalancer{ID: id, Type: model.LoadBalancerNetwork})
		}
	})
	w.loadBalancer("application")
	_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: new("net"), Type: "network", Subnets: []string{"subnet-a"}})
	refused(t, err, "TooManyLoadBalancers", "")
	w.put(func(tx *store.Txn) {
		id := strings.Repeat("0", 16)
		tables.LoadBalancers.Put(tx, account, region, id, &model.LoadBalancer{ID: id, Type: model.LoadBalancerNetwork, DeletedAt: new(time.Unix(1, 0))})
	})
	w.network("net")
}

// TestAddressesTakenOnce holds that an address is one load balancer's in one
// subnet, from the moment that it is asked for.
func TestAddressesTakenOnce(t *testing.T) {
	w := newWorld(t)
	w.address("eipalloc-1", "")
	w.address("eipalloc-2", "")
	create := func(w *world, name string, scheme elbv2.LoadBalancerSchemeEnum, ms ...elbv2.SubnetMapping) error {
		_, err := w.s.CreateLoadBalancer(w.ctx, &elbv2.CreateLoadBalancerInput{Name: &name, Type: "network", Scheme: scheme, SubnetMappings: ms})
		return err
	}
	elastic := func(subnet, allocation string) elbv2.SubnetMapping {
		return elbv2.SubnetMapping{SubnetId: &subnet, AllocationId: &allocation}
	}
	refused(t, create(w, "twice", "", elastic("subnet-a", "eipalloc-1"), elastic("subnet-b", "eipalloc-1")), "ResourceInUse", "eipalloc-1")
	if err := create(w, "one", "", elastic("subnet-a", "eipalloc-1")); err != nil {
		t.Fatal(err)
	}
	refused(t, create(w, "two", "", elastic("subnet-a", "eipalloc-1")), "ResourceInUse", "eipalloc-1")
	m, others := w.meddle()
	m.commit = func() {
		if err := create(others, "first", "", elastic("subnet-a", "eipalloc-2")); err != nil {
			t.Error(err)
		}
	}
	refused(t, create(w, "second", "", elastic("subnet-a", "eipalloc-2")), "ResourceInUse", "eipalloc-2")

	private := func(ip string) elbv2.SubnetMapping {
		return elbv2.SubnetMapping{SubnetId: new("subnet-a"), PrivateIPv4Address: &ip}
	}
	if err := create(w, "inside", "internal", private("172.31.0.9")); err != nil {
		t.Fatal(err)
	}
	refused(t, create(w, "inside-too", "internal", private("172.31.0.9")), "InvalidSubnet", "in use")
	refused(t, create(w, "reserved", "internal", private("172.31.0.1")), "InvalidSubnet", "reserved")
}

// TestListenerWithOtherALPN holds that a listener which differs in its ALPN
// policy alone is another one.
func TestListenerWithOtherALPN(t *testing.T) {
	w := newWorld(t)
	lb, g, c := w.network("net"), w.flowGroup("g", "TCP"), w.certificate("a")
	create := func(alpn string) error {
		_, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
			LoadBalancerArn: &lb, Port: new(int32(443)), Protocol: "TLS", DefaultActions: forward(g), Certificates: named(c), AlpnPolicy: []string{alpn},
		})
		return err
	}
	for range 2 {
		if err := create("HTTP1Only"); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, create("HTTP2Only"), "DuplicateListener", "")
}

// TestTargetsZones holds that targets are in zones that there are.
func TestTargetsZones(t *testing.T) {
	w := newWorld(t)
	g := w.group("g")
	register := func(ip, zone string) error {
		_, err := w.s.RegisterTargets(w.ctx, &elbv2.RegisterTargetsInput{TargetGroupArn: &g, Targets: []elbv2.TargetDescription{{Id: &ip, AvailabilityZone: &zone}}})
		return err
	}
	refused(t, register("172.31.0.9", "mars-1a"), "ValidationError", "mars-1a")
	for ip, zone := range map[string]string{"172.31.0.9": "us-east-1a", "10.0.0.1": "all"} {
		if err := register(ip, zone); err != nil {
			t.Error(err)
		}
	}
	must(w.s.DeregisterTargets(w.ctx, &elbv2.DeregisterTargetsInput{TargetGroupArn: &g, Targets: []elbv2.TargetDescription{{Id: new("10.0.0.1")}}}))(w)
	w.put(func(tx *store.Txn) {
		tables.Targets.Erase(tx, account, region, model.TargetKey(model.TargetGroupID(g), "10.0.0.1", 80))
	})
	must(w.s.ModifyTargetGroupAttributes(w.ctx, &elbv2.ModifyTargetGroupAttributesInput{
		TargetGroupArn: &g, Attributes: []elbv2.TargetGroupAttribute{{Key: new(crossZoneEnabled), Value: new("false")}},
	}))(w)
	refused(t, register("10.0.0.1", "all"), "InvalidConfigurationRequest", "'all'")
}
