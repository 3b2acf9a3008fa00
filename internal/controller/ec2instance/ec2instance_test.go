package ec2instance_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ec2instance"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/instance/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	id      = "i-0123456789abcdef0"
)

var here = instances.Place{Account: account, Region: region}

// fixture is a store, a pretended machine and a controller that runs on both.
type fixture struct {
	*testing.T
	store store.Store
	host  *fake.Host
	stop  func()
}

// in runs f in a bubble.
func in(t *testing.T, f func(*fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		defer func() { _ = s.Close() }()
		x := &fixture{T: t, store: s, host: fake.New(nil)}
		tx := store.NewTxn()
		tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", CIDR: netip.MustParsePrefix("10.0.0.0/16"), DefaultGroupID: "sg-1"})
		tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", VPCID: "vpc-1"})
		tables.Subnets.Put(tx, account, region, "subnet-1", &model.Subnet{ID: "subnet-1", VPCID: "vpc-1", Zone: "us-east-1a", CIDR: netip.MustParsePrefix("10.0.1.0/24")})
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		x.start()
		defer func() { x.stop() }()
		f(x)
	})
}

// start starts a controller, as a server's start does.
func (x *fixture) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c := ec2instance.New(ec2instance.Config{Store: x.store, Clock: clock.System{}, Runtime: x.host})
	if err := c.Sweep(ctx); err != nil {
		x.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { c.Run(ctx); done <- struct{}{} }()
	go func() {
		_ = controller.Runtime{Store: x.store, Clock: clock.System{}}.Run(ctx, c.Controller())
		done <- struct{}{}
	}()
	x.stop = func() { cancel(); <-done; <-done }
	synctest.Wait()
}

// launch writes the records of an instance, with two interfaces of which the
// second outlives it.
func (x *fixture) launch(change func(*model.Instance)) {
	x.Helper()
	v := &model.Instance{
		ID: id, Owner: account,
		Spec: model.InstanceSpec{
			Type: "t3.small", VPCID: "vpc-1", SubnetID: "subnet-1", InterfaceIDs: []string{"eni-1", "eni-2"}, ShutdownBehavior: "stop",
			PrivateDNSName: "ip-10-0-1-5.ec2.internal",
		},
		Desired: model.InstanceDesired{State: model.InstanceRunning, Boots: 1, Since: time.Now()},
		Status:  model.InstanceStatus{State: model.InstancePending},
	}
	if change != nil {
		change(v)
	}
	for i, name := range v.Spec.InterfaceIDs {
		_, err := eni.Create(x.Context(), x.store, time.Now(), eni.Spec{
			Account: account, Region: region, ID: name, SubnetID: "subnet-1",
			Attachment: &model.NetworkInterfaceAttachment{InstanceID: id, DeviceIndex: int32(i), DeleteOnTermination: i == 0},
		})
		if err != nil {
			x.Fatal(err)
		}
	}
	tx := store.NewTxn()
	tables.Instances.Create(tx, account, region, id, v)
	if _, err := tx.Commit(x.Context(), x.store); err != nil {
		x.Fatal(err)
	}
	synctest.Wait()
}

func (x *fixture) get() *model.Instance {
	x.Helper()
	row, err := tables.Instances.Get(x.Context(), x.store, account, region, id)
	if err != nil {
		x.Fatal(err)
	}
	return row.V
}

// is checks the instance's state, and how often it was booted.
func (x *fixture) is(state string, boots int) {
	x.Helper()
	if v := x.get(); v.State() != state || v.Status.State != state || x.host.Booted(id) != boots {
		x.Fatalf("%s (%s) after %d boots, want %s after %d; %+v %+v", v.State(), v.Status.State, x.host.Booted(id), state, boots, v.Desired, v.Status)
	}
}

func (x *fixture) ok(_ any, err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
	synctest.Wait()
}

func (x *fixture) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestLife(t *testing.T) {
	in(t, func(x *fixture) {
		x.host.Hold(id)
		x.launch(nil)
		x.is(model.InstanceRunning, 1)
		if v := x.get(); v.Status.Booted || v.Status.Impaired != "" || !v.Status.RunningSince.Equal(time.Now()) {
			t.Errorf("%+v", v.Status)
		}
		st, err := x.host.State(id)
		if err != nil || st.Spec.Memory != 2048 || st.Spec.VCPUs != 2 || st.Spec.Nameserver != "10.0.0.2" || len(st.Spec.Interfaces) != 2 || st.Spec.Interfaces[1].Index != 1 || st.Spec.Interfaces[0].Address.Bits() != 24 {
			t.Errorf("%+v, %v", st.Spec, err)
		}
		x.pass(time.Hour)
		x.host.Finish(id)
		x.pass(6 * time.Second)
		if !x.get().Status.Booted {
			t.Error("the end of the user data was not seen")
		}

		x.ok(instances.Stop(t.Context(), x.store, here, time.Now(), instances.Why{}, false, id))
		x.is(model.InstanceStopped, 1)
		if e, err := tables.NetworkInterfaces.Get(t.Context(), x.store, account, region, "eni-1"); err != nil || e.V.Attachment == nil {
			t.Errorf("a stop took the interface out: %+v, %v", e.V, err)
		}
		x.ok(instances.Start(t.Context(), x.store, here, time.Now(), id))
		x.is(model.InstanceRunning, 2)
		x.ok(nil, instances.Reboot(t.Context(), x.store, here, time.Now(), id))
		x.is(model.InstanceRunning, 3)

		x.ok(instances.Terminate(t.Context(), x.store, here, time.Now(), instances.Why{}, id))
		x.is(model.InstanceTerminated, 0)
		if _, err := x.host.State(id); !errors.Is(err, instance.ErrNotFound) {
			t.Errorf("the runtime still has it: %v", err)
		}
		if _, err := tables.NetworkInterfaces.Get(t.Context(), x.store, account, region, "eni-1"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the primary interface is left: %v", err)
		}
		if e, err := tables.NetworkInterfaces.Get(t.Context(), x.store, account, region, "eni-2"); err != nil || e.V.Attachment != nil || e.V.Status != model.NetworkInterfaceAvailable {
			t.Errorf("the second interface: %+v, %v", e.V, err)
		}
		x.pass(ec2instance.Retention - time.Second)
		x.is(model.InstanceTerminated, 0)
		x.pass(time.Second)
		if _, err := tables.Instances.Get(t.Context(), x.store, account, region, id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the record is still there: %v", err)
		}
	})
}

func TestEndsByItself(t *testing.T) {
	for name, tt := range map[string]struct {
		how      instance.End
		behavior string
		state    string
		boots    int
		code     string
	}{
		"shutdown that stops":      {instance.EndedByShutdown, "stop", model.InstanceStopped, 1, "Client.InstanceInitiatedShutdown"},
		"shutdown that terminates": {instance.EndedByShutdown, "terminate", model.InstanceTerminated, 0, "Client.InstanceInitiatedShutdown"},
		"failure":                  {instance.EndedByFailure, "stop", model.InstanceTerminated, 0, "Server.InternalError"},
		"reboot":                   {instance.EndedForReboot, "stop", model.InstanceRunning, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(x *fixture) {
				x.launch(func(v *model.Instance) { v.Spec.ShutdownBehavior = tt.behavior })
				x.host.End(id, tt.how)
				synctest.Wait()
				x.is(tt.state, tt.boots)
				if got := x.get().Desired.ReasonCode; got != tt.code {
					t.Errorf("reason %q, want %q", got, tt.code)
				}
				if tt.state == model.InstanceStopped {
					// It starts again, and its second end is seen too.
					x.ok(instances.Start(t.Context(), x.store, here, time.Now(), id))
					x.is(model.InstanceRunning, 2)
					x.host.End(id, tt.how)
					synctest.Wait()
					x.is(tt.state, 2)
				}
			})
		})
	}
}

// A new server finds what runs as it is, ends what has no record, and learns
// of what ended meanwhile.
func TestRestart(t *testing.T) {
	in(t, func(x *fixture) {
		x.launch(nil)
		x.stop()
		if err := x.host.Boot(t.Context(), instance.Spec{ID: "i-stray"}); err != nil {
			t.Fatal(err)
		}
		x.start()
		x.is(model.InstanceRunning, 1)
		if ids, _ := x.host.List(); !slices.Equal(ids, []string{id}) {
			t.Errorf("instances %v", ids)
		}
		x.host.End(id, instance.EndedForReboot)
		synctest.Wait()
		x.is(model.InstanceRunning, 2)
		x.stop()
		x.host.End(id, instance.EndedByFailure)
		x.start()
		x.is(model.InstanceTerminated, 0)
	})
}

// What the machine took down with it boots again: nobody ended it.
func TestMachineWentDown(t *testing.T) {
	in(t, func(x *fixture) {
		x.launch(nil)
		x.stop()
		if err := x.host.Stop(t.Context(), id, 0); err != nil {
			t.Fatal(err)
		}
		x.start()
		x.is(model.InstanceRunning, 2)
	})
}

func TestCannotBoot(t *testing.T) {
	in(t, func(x *fixture) {
		for range 6 { // changes of the records make the first ones come at once
			x.host.FailNext(fake.Boot, errors.New("no room"))
		}
		x.launch(nil)
		if v := x.get(); v.State() != model.InstancePending || !strings.Contains(v.Status.Impaired, "no room") {
			t.Fatalf("%+v", v.Status)
		}
		x.pass(10 * time.Second)
		x.is(model.InstanceRunning, 1)
		if v := x.get(); v.Status.Impaired != "" {
			t.Errorf("still impaired: %s", v.Status.Impaired)
		}
		// One that ran before stops when it cannot start any more.
		x.ok(instances.Stop(t.Context(), x.store, here, time.Now(), instances.Why{}, false, id))
		for range 100 {
			x.host.FailNext(fake.Boot, errors.New("no room"))
		}
		x.ok(instances.Start(t.Context(), x.store, here, time.Now(), id))
		x.pass(2 * time.Minute)
		x.is(model.InstanceStopped, 1)
		if got := x.get().Desired.ReasonCode; got != "Server.InternalError" {
			t.Errorf("reason %q", got)
		}
	})
	in(t, func(x *fixture) {
		x.launch(func(v *model.Instance) { v.Spec.Type = "z9.huge" })
		x.pass(2 * time.Minute)
		x.is(model.InstanceTerminated, 0)
	})
}

func TestSpotInterruption(t *testing.T) {
	in(t, func(x *fixture) {
		x.launch(func(v *model.Instance) {
			v.Spec.Lifecycle = "spot"
			v.Desired.SpotInterruptionAt = time.Now().Add(2 * time.Minute)
		})
		x.pass(2*time.Minute - time.Second)
		x.is(model.InstanceRunning, 1)
		x.pass(time.Second)
		x.is(model.InstanceTerminated, 0)
		if got := x.get().Desired.ReasonCode; got != "Server.SpotInstanceTermination" {
			t.Errorf("reason %q", got)
		}
	})
}

// An interface that changes reaches an instance that runs, without a boot.
func TestInterfaceChanges(t *testing.T) {
	in(t, func(x *fixture) {
		x.launch(nil)
		x.ok(eni.AddAddresses(t.Context(), x.store, account, region, "eni-1", nil, 1))
		st, err := x.host.State(id)
		if err != nil || len(st.Spec.Interfaces[0].Secondary) != 1 {
			t.Errorf("%+v, %v", st.Spec.Interfaces, err)
		}
		x.is(model.InstanceRunning, 1)
	})
}
