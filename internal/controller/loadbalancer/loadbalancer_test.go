package loadbalancer

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/balancer/pretend"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	lbID    = "0123456789abcdef"
	tgID    = "fedcba9876543210"
)

var (
	tgARN = model.MakeARN("elasticloadbalancing", region, account, "targetgroup/g/"+tgID)
	lbARN = model.MakeARN("elasticloadbalancing", region, account, "loadbalancer/app/lb/"+lbID)
)

// world is a running controller on a fake clock, for use inside a synctest
// bubble.
type world struct {
	t     *testing.T
	st    store.Store
	plane *pretend.DataPlane
	ports ports
	end   func()
}

type ports struct{ set []int32 }

func (p *ports) Set(ps []int32) { p.set = slices.Clone(ps) }

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, nil)
}

func newWorldWith(t *testing.T, open Certificates, trust ...TrustStores) *world {
	t.Helper()
	w := &world{t: t, st: memory.New(), plane: pretend.New(clock.System{})}
	w.write(func(tx *store.Txn) {
		tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", DefaultGroupID: "sg-1"})
		for _, g := range []string{"sg-1", "sg-2"} {
			tables.SecurityGroups.Put(tx, account, region, g, &model.SecurityGroup{ID: g, VPCID: "vpc-1"})
		}
		for id, cidr := range map[string]string{"subnet-a": "172.31.0.0/20", "subnet-b": "172.31.16.0/20", "subnet-c": "172.31.32.0/20"} {
			tables.Subnets.Put(tx, account, region, id, &model.Subnet{ID: id, VPCID: "vpc-1", Zone: region + id[7:], CIDR: netip.MustParsePrefix(cidr)})
		}
		tables.LoadBalancerDNSNames.Put(tx, model.AmazonAccount, "", "lb-1.us-east-1.elb.localhost", &model.LoadBalancerDNSName{Account: account, Region: region, ID: lbID})
		tables.LoadBalancers.Put(tx, account, region, lbID, &model.LoadBalancer{
			ID: lbID, ARN: lbARN, Name: "lb", Type: "application", Scheme: "internet-facing", VpcID: "vpc-1",
			DNSName: "lb-1.us-east-1.elb.localhost", SecurityGroups: []string{"sg-1"},
			AvailabilityZones: []model.LoadBalancerZone{{SubnetID: "subnet-a", ZoneName: "us-east-1a"}, {SubnetID: "subnet-b", ZoneName: "us-east-1b"}},
		})
		tables.TargetGroups.Put(tx, account, region, tgID, &model.TargetGroup{ID: tgID, ARN: tgARN, VpcID: "vpc-1"})
	})
	cfg := Config{Store: w.st, Clock: clock.System{}, Plane: w.plane, Ports: &w.ports, Certificates: open}
	if len(trust) > 0 {
		cfg.TrustStores = trust[0]
	}
	c := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		done <- controller.Runtime{Store: w.st, Clock: clock.System{}}.Run(ctx, c.Controller())
	}()
	go func() { c.Run(ctx); done <- nil }()
	w.end = func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		_ = w.st.Close()
	}
	return w
}

func (w *world) write(f func(tx *store.Txn)) {
	w.t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(context.Background(), w.st); err != nil {
		w.t.Fatal(err)
	}
}

// listen adds a listener with a default rule that forwards to the group.
func (w *world) listen() {
	w.write(func(tx *store.Txn) {
		larn := model.MakeARN("elasticloadbalancing", region, account, "listener/app/lb/"+lbID+"/l")
		tables.Listeners.Put(tx, account, region, lbID+"/l", &model.Listener{ID: "l", ARN: larn, LoadBalancerARN: lbARN, LoadBalancerID: lbID, Port: 80, Protocol: "HTTP"})
		tables.Rules.Put(tx, account, region, lbID+"/l/r", &model.Rule{ID: "r", ListenerARN: larn, Default: true, Actions: []model.RuleAction{
			{Type: "forward", Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: tgARN, Weight: 1}}}},
		}})
		// As the service does when a group's use changes.
		tables.TargetGroups.Put(tx, account, region, tgID, &model.TargetGroup{ID: tgID, ARN: tgARN, VpcID: "vpc-1", Generation: 1})
	})
}

func (w *world) target(change func(*model.Target)) {
	v := &model.Target{TargetGroupARN: tgARN, ID: "172.31.0.9", Port: 80, RegisteredAt: time.Now()}
	if change != nil {
		change(v)
	}
	w.write(func(tx *store.Txn) { tables.Targets.Put(tx, account, region, model.TargetKey(tgID, v.ID, v.Port), v) })
}

// health is what is recorded of the target, "" when nothing is.
func (w *world) health() string {
	w.t.Helper()
	synctest.Wait()
	rows, err := tables.TargetsHealth.List(context.Background(), w.st, store.Query{})
	if err != nil {
		w.t.Fatal(err)
	}
	switch len(rows) {
	case 0:
		return ""
	case 1:
		return rows[0].V.State + " " + rows[0].V.Reason
	}
	w.t.Fatalf("%d health records", len(rows))
	return ""
}

func (w *world) targets() int {
	rows, err := tables.Targets.List(context.Background(), w.st, store.Query{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(rows)
}

func (w *world) interfaces() []store.Row[model.NetworkInterface] {
	w.t.Helper()
	synctest.Wait()
	rows, err := tables.NetworkInterfaces.List(context.Background(), w.st, store.Query{})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func TestProvisionsAndTakesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		ctx := context.Background()
		enis := w.interfaces()
		if len(enis) != 2 {
			t.Fatalf("%d interfaces", len(enis))
		}
		for _, e := range enis {
			if e.V.Description != "ELB app/lb/"+lbID || e.V.RequesterID != "amazon-elb" || !e.V.RequesterManaged || e.V.Association == nil ||
				e.V.Status != "in-use" || !slices.Equal(e.V.GroupIDs, []string{"sg-1"}) {
				t.Errorf("interface %+v", e.V)
			}
		}
		row, err := tables.LoadBalancers.Get(ctx, w.st, account, region, lbID)
		if err != nil || row.V.Status.State != model.LoadBalancerActive || len(row.V.Status.Interfaces) != 2 {
			t.Fatalf("status %+v %v", row.V.Status, err)
		}
		w.listen()
		synctest.Wait()
		if !slices.Equal(w.ports.set, []int32{80}) {
			t.Errorf("ports on the host: %v", w.ports.set)
		}
		d := NewDirectory(w.st)
		if vpc, a, ok := d.Resolve(ctx, "lb-1.us-east-1.elb.localhost", 0); !ok || vpc != row.V.VpcID || a != row.V.Status.Interfaces[0].PrivateIPv4Address+":80" {
			t.Errorf("resolved to %q in %q %v", a, vpc, ok)
		}
		if _, _, ok := d.Resolve(ctx, "lb-1.us-east-1.elb.localhost", 81); ok {
			t.Error("a port without listener was resolved")
		}
		// It moves to another subnet and other security groups.
		if _, err := tables.LoadBalancers.Update(ctx, w.st, account, region, lbID, func(lb *model.LoadBalancer) error {
			lb.AvailabilityZones = []model.LoadBalancerZone{{SubnetID: "subnet-b"}, {SubnetID: "subnet-c"}}
			lb.SecurityGroups = []string{"sg-2"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var subnets []string
		for _, e := range w.interfaces() {
			subnets = append(subnets, e.V.SubnetID+" "+e.V.GroupIDs[0])
		}
		slices.Sort(subnets)
		if !slices.Equal(subnets, []string{"subnet-b sg-2", "subnet-c sg-2"}) {
			t.Errorf("interfaces in %v", subnets)
		}
		if lb, ok := w.plane.LoadBalancer(lbID); !ok || len(lb.Interfaces) != 2 || len(lb.Listeners) != 1 || len(lb.Groups) != 1 {
			t.Errorf("data plane has %+v", lb)
		}
		if _, err := tables.LoadBalancers.Update(ctx, w.st, account, region, lbID, func(lb *model.LoadBalancer) error {
			lb.DeletedAt = new(time.Now())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if left := w.interfaces(); len(left) != 0 {
			t.Errorf("%d interfaces are left", len(left))
		}
		if _, err := tables.LoadBalancers.Get(ctx, w.st, account, region, lbID); err == nil {
			t.Error("the record is left")
		}
		if _, ok := w.plane.LoadBalancer(lbID); ok {
			t.Error("the data plane still has it")
		}
	})
}

func TestTargetHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.target(nil)
		if got := w.health(); got != "unused Target.NotInUse" {
			t.Errorf("without a listener: %q", got)
		}
		w.listen()
		if got := w.health(); got != "healthy " {
			t.Errorf("with a listener: %q", got)
		}
		w.target(func(v *model.Target) { v.DeregisteringAt = new(time.Now()) })
		if got := w.health(); got != "draining Target.DeregistrationInProgress" || w.targets() != 1 {
			t.Errorf("deregistered: %q", got)
		}
		time.Sleep(1500 * time.Millisecond) // the bubble's clock
		if got := w.health(); got != "" || w.targets() != 0 {
			t.Errorf("drained: %q, %d targets", got, w.targets())
		}
	})
}

// TestZoneNotEnabled holds that a target in a zone where the load balancer is not
// gets nothing new, but may finish what it has.
func TestZoneNotEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.listen()
		w.target(func(v *model.Target) { v.ID = "172.31.32.9" }) // of subnet-c
		if got := w.health(); got != "unused Target.NotInUse" {
			t.Errorf("in another zone: %q", got)
		}
		lb, _ := w.plane.LoadBalancer(lbID)
		if ts := lb.Groups[0].Targets; len(ts) != 1 || !ts[0].Draining {
			t.Errorf("in another zone: %+v", ts)
		}
		_, err := tables.LoadBalancers.Update(t.Context(), w.st, account, region, lbID, func(v *model.LoadBalancer) error {
			v.AvailabilityZones = append(v.AvailabilityZones, model.LoadBalancerZone{SubnetID: "subnet-c", ZoneName: "us-east-1c"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.health(); got != "healthy " {
			t.Errorf("once the zone is enabled: %q", got)
		}
	})
}

// TestRefusedSubnet holds that a load balancer which cannot have an interface in
// another subnet goes on where it is.
func TestRefusedSubnet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		synctest.Wait()
		_, err := tables.LoadBalancers.Update(t.Context(), w.st, account, region, lbID, func(v *model.LoadBalancer) error {
			v.AvailabilityZones = append(v.AvailabilityZones, model.LoadBalancerZone{SubnetID: "subnet-none", ZoneName: "us-east-1d"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.listen()
		w.target(nil)
		if got := w.health(); got != "healthy " {
			t.Errorf("%q", got)
		}
		row, err := tables.LoadBalancers.Get(t.Context(), w.st, account, region, lbID)
		if err != nil || row.V.Status.State != model.LoadBalancerActive || row.V.Status.Reason == "" || len(row.V.Status.Interfaces) != 2 {
			t.Errorf("%+v %v", row.V.Status, err)
		}
		w.write(func(tx *store.Txn) {
			tables.Subnets.Put(tx, account, region, "subnet-none", &model.Subnet{ID: "subnet-none", VPCID: "vpc-1", Zone: "us-east-1d", CIDR: netip.MustParsePrefix("172.31.48.0/20")})
		})
		time.Sleep(refusedDelay + time.Second) // the bubble's clock
		synctest.Wait()
		row, err = tables.LoadBalancers.Get(t.Context(), w.st, account, region, lbID)
		if err != nil || row.V.Status.Reason != "" || len(row.V.Status.Interfaces) != 3 {
			t.Errorf("once there is room: %+v %v", row.V.Status, err)
		}
	})
}

func TestUnusedTargetGoesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.target(nil)
		_ = w.health()
		w.target(func(v *model.Target) { v.DeregisteringAt = new(time.Now()) })
		if got := w.health(); got != "" || w.targets() != 0 {
			t.Errorf("%q, %d targets", got, w.targets())
		}
	})
}

func TestGroupDeletionSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.target(nil)
		_ = w.health()
		row, err := tables.TargetGroups.Get(context.Background(), w.st, account, region, tgID)
		if err != nil {
			t.Fatal(err)
		}
		w.write(func(tx *store.Txn) { tables.TargetGroups.Delete(tx, row) })
		if got := w.health(); got != "" || w.targets() != 0 {
			t.Errorf("%q, %d targets", got, w.targets())
		}
	})
}

func TestDataPlaneChangesAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New()
		defer st.Close()
		plane := &counting{DataPlane: pretend.New(clock.System{})}
		c := New(Config{Store: st, Clock: clock.System{}, Plane: plane})
		c.keys[lbID] = controller.Key{Account: account, Region: region, ID: lbID}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		c.Changed("unknown")
		c.Changed(lbID)
		synctest.Wait()
		if plane.removed != 1 {
			t.Errorf("the change led to %d passes", plane.removed)
		}
		cancel()
		<-done
	})
}

// counting counts the passes over a load balancer without a record.
type counting struct {
	*pretend.DataPlane
	removed int
}

func (c *counting) Remove(ctx context.Context, lb string) error {
	c.removed++
	return c.DataPlane.Remove(ctx, lb)
}

var _ DataPlane = (*pretend.DataPlane)(nil)
