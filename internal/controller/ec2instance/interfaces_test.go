package ec2instance_test

import (
	"slices"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// has are the interfaces in the pretended kernel.
func (x *fixture) has() (ids []string) {
	x.Helper()
	st, err := x.host.State(id)
	x.ok(nil, err)
	for _, i := range st.Spec.Interfaces {
		ids = append(ids, i.ID)
	}
	return ids
}

func (x *fixture) attachment(nic string) *model.NetworkInterfaceAttachment {
	x.Helper()
	row, err := tables.NetworkInterfaces.Get(x.Context(), x.store, account, region, nic)
	x.ok(nil, err)
	return row.V.Attachment
}

// Interfaces come into an instance that runs, and leave it, and their records
// say so when they have.
func TestInterfacesMove(t *testing.T) {
	in(t, func(x *fixture) {
		x.launch(func(v *model.Instance) { v.Spec.InterfaceIDs, v.Spec.Zone = []string{"eni-1"}, "us-east-1a" })
		_, err := eni.Create(x.Context(), x.store, time.Now(), eni.Spec{Account: account, Region: region, ID: "eni-9", SubnetID: "subnet-1"})
		x.ok(nil, err)
		attach := func() string {
			a, err := instances.Attach(x.Context(), x.store, here, time.Now(), id, "eni-9", 1)
			x.ok(nil, err)
			return a
		}
		a := attach()
		if got := x.has(); !slices.Equal(got, []string{"eni-1", "eni-9"}) || x.attachment("eni-9").Status != model.AttachmentAttached {
			t.Errorf("attached: %v, %+v", got, x.attachment("eni-9"))
		}
		// The next server knows nothing of what this one connected.
		x.stop()
		if err := instances.Detach(x.Context(), x.store, here, a); err != nil {
			t.Fatal(err)
		}
		if s := x.attachment("eni-9").Status; s != model.AttachmentDetaching {
			t.Errorf("detaching: %s", s)
		}
		x.start()
		if got := x.has(); !slices.Equal(got, []string{"eni-1"}) || x.attachment("eni-9") != nil || len(x.get().Spec.InterfaceIDs) != 1 {
			t.Errorf("detached: %v, %+v", got, x.get().Spec)
		}
		// One that is to leave while the instance stops has left then.
		a = attach()
		x.stop()
		if err := instances.Detach(x.Context(), x.store, here, a); err != nil {
			t.Fatal(err)
		}
		if _, err := instances.Stop(x.Context(), x.store, here, time.Now(), instances.Why{}, false, id); err != nil {
			t.Fatal(err)
		}
		x.start()
		x.is(model.InstanceStopped, 1)
		if x.attachment("eni-9") != nil || len(x.get().Spec.InterfaceIDs) != 1 {
			t.Errorf("stopped: %+v", x.attachment("eni-9"))
		}
		// It is there at the next boot when it was attached before.
		attach()
		_, err = instances.Start(x.Context(), x.store, here, time.Now(), id)
		x.ok(nil, err)
		if got := x.has(); !slices.Equal(got, []string{"eni-1", "eni-9"}) {
			t.Errorf("booted with %v", got)
		}
	})
}
