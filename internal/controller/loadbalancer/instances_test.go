package loadbalancer

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const instanceID = "i-00000000000000001"

// instance writes an instance in subnet-a's zone unless change says otherwise.
func (w *world) instance(change func(*model.Instance)) {
	v := &model.Instance{
		ID: instanceID, Spec: model.InstanceSpec{VPCID: "vpc-1", Zone: region + "a", PrivateIP: netip.MustParseAddr("172.31.0.9")},
		Desired: model.InstanceDesired{State: model.InstanceRunning}, Status: model.InstanceStatus{State: model.InstanceRunning},
	}
	if change != nil {
		change(v)
	}
	w.write(func(tx *store.Txn) { tables.Instances.Put(tx, account, region, instanceID, v) })
}

func (w *world) instanceTarget(port int32) {
	w.target(func(v *model.Target) { v.ID, v.Port = instanceID, port })
}

// reached are the addresses that the data plane sends requests to.
func (w *world) reached() []string {
	synctest.Wait()
	lb, _ := w.plane.LoadBalancer(lbID)
	var out []string
	for _, g := range lb.Groups {
		for _, t := range g.Targets {
			out = append(out, fmt.Sprintf("%s:%d %v", t.IP, t.Port, t.Draining))
		}
	}
	slices.Sort(out)
	return out
}

// A target of an instance follows the instance: reached at its address while
// it runs, and gone when it is.
func TestInstanceTargetFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.instance(nil)
		w.instanceTarget(49153)
		if got := w.health(); got != "unused Target.NotInUse" {
			t.Errorf("without a listener: %q", got)
		}
		w.listen()
		steps := []struct {
			name    string
			change  func(*model.Instance)
			health  string
			reached []string
		}{
			{"runs", nil, "healthy ", []string{"172.31.0.9:49153 false"}},
			{"is to stop", func(i *model.Instance) { i.Desired.State = model.InstanceStopped }, "unused Target.InvalidState", nil},
			{"has stopped", func(i *model.Instance) {
				i.Desired.State, i.Status.State = model.InstanceStopped, model.InstanceStopped
			}, "unused Target.InvalidState", nil},
			{"starts", func(i *model.Instance) { i.Status.State = model.InstancePending }, "unused Target.InvalidState", nil},
			{"runs again", nil, "healthy ", []string{"172.31.0.9:49153 false"}},
			{"in another zone", func(i *model.Instance) { i.Spec.Zone = region + "c" }, "unused Target.NotInUse", []string{"172.31.0.9:49153 true"}},
			{"back", nil, "healthy ", []string{"172.31.0.9:49153 false"}},
			{"terminates", func(i *model.Instance) { i.Desired.State = model.InstanceTerminated }, "draining Target.DeregistrationInProgress", nil},
		}
		for _, s := range steps {
			w.instance(s.change)
			if got := w.health(); got != s.health {
				t.Errorf("%s: %q", s.name, got)
			}
			if got := w.reached(); !slices.Equal(got, s.reached) {
				t.Errorf("%s: reached at %v", s.name, got)
			}
		}
		time.Sleep(2 * time.Second) // the bubble's clock
		if got := w.health(); got != "" || w.targets() != 0 {
			t.Errorf("terminated: %q, %d targets", got, w.targets())
		}
	})
}

// One instance is as many targets as it has ports registered, and what remains
// of an instance without a record goes.
func TestInstancePorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.listen()
		w.instance(nil)
		w.instanceTarget(49153)
		w.instanceTarget(49154)
		if got := w.reached(); !slices.Equal(got, []string{"172.31.0.9:49153 false", "172.31.0.9:49154 false"}) {
			t.Errorf("reached at %v", got)
		}
		w.write(func(tx *store.Txn) { tables.Instances.Erase(tx, account, region, instanceID) })
		synctest.Wait()
		time.Sleep(2 * time.Second) // the bubble's clock
		if got := w.health(); got != "" || w.targets() != 0 {
			t.Errorf("gone: %q, %d targets", got, w.targets())
		}
	})
}
