package autoscaling

import (
	"testing"
	"time"

	"roadstead.dev/internal/model"
)

func (w *world) startRefresh(change func(*model.InstanceRefresh)) {
	w.refresh = &model.InstanceRefresh{
		ID: "r", Group: "g", Status: model.RefreshPending, StartedAt: w.now, MinHealthyPercentage: 90, MaxHealthyPercentage: 100,
		Template: model.ASGLaunchTemplate{ID: "lt-1", Version: "2"}, Desired: true, ScaleInProtected: "Wait", Standby: "Wait",
		Previous: &model.ASGLaunchTemplate{ID: "lt-1", Version: "1"},
	}
	w.pools = []Pool{{Type: "t3.micro", Weight: 1, Template: w.refresh.Template}}
	if change != nil {
		change(w.refresh)
	}
}

func (w *world) versions() map[string]int {
	out := map[string]int{}
	for _, m := range w.list {
		out[m.v.Template.Version]++
	}
	return out
}

func TestRefresh(t *testing.T) {
	w := newWorld(0, 20, 10, "a", "b")
	settled(t, w)
	w.startRefresh(func(r *model.InstanceRefresh) { r.WarmupSeconds = 60 })
	least := 10
	var last Plan
	for range 300 {
		last = w.step()
		least = min(least, w.in(model.ASGInService))
		if len(w.list) > 10+1 { // one terminating
			t.Fatalf("%d members", len(w.list))
		}
		if !w.refresh.EndedAt.IsZero() {
			break
		}
		w.pass(5 * time.Second)
	}
	if w.refresh.Status != model.RefreshSuccessful || !last.Adopt || least != 9 || w.versions()["2"] != 10 || w.refresh.Total != 10 {
		t.Errorf("%+v, adopt %v, at least %d, %v", w.refresh, last.Adopt, least, w.versions())
	}
	if took := w.refresh.EndedAt.Sub(w.refresh.StartedAt); took < 10*time.Minute {
		t.Errorf("took %v: it did not wait for the warm-up", took)
	}
	if !w.told("an instance was launched in response to an instance refresh.") || !w.told("an instance was taken out of service in response to an instance refresh.  At ") {
		t.Errorf("%q", w.activities)
	}
}

func TestRefreshLaunchesFirst(t *testing.T) {
	w := newWorld(0, 4, 4, "a")
	settled(t, w)
	w.startRefresh(func(r *model.InstanceRefresh) { r.MinHealthyPercentage, r.MaxHealthyPercentage = 100, 150 })
	for range 100 {
		w.step()
		if n := w.in(model.ASGInService); n < 4 {
			t.Fatalf("%d in service", n)
		}
		if n := w.in(model.ASGInService) + w.in(model.ASGPending); n > 6 {
			t.Fatalf("%d live", n)
		}
		w.pass(5 * time.Second)
	}
	if w.refresh.Status != model.RefreshSuccessful || w.versions()["2"] != 4 || len(w.list) != 4 {
		t.Errorf("%+v %v", w.refresh, w.versions())
	}
}

// An instance is still to replace until its successor serves.
func TestRefreshCounts(t *testing.T) {
	w := newWorld(0, 4, 4, "a")
	settled(t, w)
	w.group.Suspended[Launch] = ""
	w.startRefresh(nil)
	for range 5 {
		w.step()
		w.pass(time.Second)
	}
	if w.in(model.ASGInService) != 3 || len(w.list) != 3 || len(w.refresh.ToReplace) != 4 {
		t.Errorf("%d in service, %d to replace", w.in(model.ASGInService), len(w.refresh.ToReplace))
	}
	delete(w.group.Suspended, Launch)
	settled(t, w)
	if len(w.refresh.ToReplace) != 0 {
		t.Errorf("%+v", w.refresh)
	}
}

func TestRefreshSkips(t *testing.T) {
	w := newWorld(0, 4, 4, "a")
	settled(t, w)
	w.list[0].v.Template.Version = "2"
	w.list[1].v.Protected = true
	w.startRefresh(func(r *model.InstanceRefresh) { r.SkipMatching, r.ScaleInProtected = true, "Ignore" })
	settled(t, w)
	if w.refresh.Total != 2 || w.at("i-0001") == nil || w.at("i-0002") == nil || w.at("i-0003") != nil || w.at("i-0004") != nil {
		t.Errorf("%+v", w.refresh)
	}
	// Nothing to do at all.
	w.list[1].v.Protected, w.list[1].v.Template.Version = false, "2"
	w.list[0].v.Template.Version = "2"
	w.startRefresh(func(r *model.InstanceRefresh) { r.SkipMatching = true })
	w.step()
	if w.refresh.Status != model.RefreshSuccessful {
		t.Errorf("%+v", w.refresh)
	}
}

func TestRefreshWaits(t *testing.T) {
	w := newWorld(0, 4, 2, "a")
	settled(t, w)
	w.list[0].v.Protected = true
	w.startRefresh(nil)
	w.settle()
	if w.refresh.Status != model.RefreshInProgress || len(w.refresh.ToReplace) != 1 || w.refresh.StatusReason == "" {
		t.Fatalf("%+v", w.refresh)
	}
	w.at("i-0001").v.Protected = false
	settled(t, w)
	if w.refresh.Status != model.RefreshSuccessful {
		t.Fatalf("%+v", w.refresh)
	}
	// After an hour it has failed.
	w.list[0].v.Protected = true
	w.startRefresh(nil)
	w.settle()
	w.pass(time.Hour)
	w.step()
	if w.refresh.Status != model.RefreshFailed || w.refresh.EndedAt.IsZero() {
		t.Fatalf("%+v", w.refresh)
	}
	// Or goes back.
	w.pools[0].Template.Version = "1"
	w.list[1].v.Template.Version = "1"
	w.startRefresh(func(r *model.InstanceRefresh) { r.AutoRollback = true })
	w.settle()
	w.pools[0].Template.Version = "1"
	w.pass(time.Hour)
	settled(t, w)
	if w.refresh.Status != model.RefreshRollbackSuccessful || w.refresh.RollbackReason == "" {
		t.Fatalf("%+v", w.refresh)
	}
}

func TestRefreshStandby(t *testing.T) {
	w := newWorld(0, 4, 2, "a")
	settled(t, w)
	w.list[0].v.Command.Name, w.group.Desired = model.ASGEnterStandby, 1
	settled(t, w)
	w.startRefresh(func(r *model.InstanceRefresh) { r.Standby = "Terminate" })
	settled(t, w)
	if w.at("i-0001") != nil || w.in(model.ASGInService) != 1 || w.versions()["2"] != 1 || len(w.list) != 1 {
		t.Errorf("%+v %v", w.refresh, w.versions())
	}
}

func TestRefreshCancel(t *testing.T) {
	w := newWorld(0, 4, 4, "a")
	settled(t, w)
	w.startRefresh(nil)
	w.step()
	w.refresh.Cancelled = true
	settled(t, w)
	if w.refresh.Status != model.RefreshCancelled || w.versions()["1"] != 3 || len(w.list) != 4 {
		t.Errorf("%+v %v", w.refresh, w.versions())
	}
}

func TestRefreshRollback(t *testing.T) {
	w := newWorld(0, 10, 4, "a")
	settled(t, w)
	w.startRefresh(func(r *model.InstanceRefresh) { r.WarmupSeconds = 30 })
	for w.versions()["2"] < 2 {
		w.step()
		w.pass(5 * time.Second)
	}
	w.refresh.Rollback = true
	w.step()
	if w.refresh.Status != model.RefreshRollbackInProgress || len(w.refresh.ToReplace) != 2 || w.refresh.RollbackTotal == 0 {
		t.Fatalf("%+v", w.refresh)
	}
	lt, _ := RefreshLaunches(w.refresh)
	w.pools[0].Template = *lt
	settled(t, w)
	if w.refresh.Status != model.RefreshRollbackSuccessful || w.versions()["1"] != 4 {
		t.Errorf("%+v %v", w.refresh, w.versions())
	}
}

func TestRefreshSuspended(t *testing.T) {
	w := newWorld(0, 4, 2, "a")
	settled(t, w)
	w.group.Suspended[InstanceRefresh] = ""
	w.startRefresh(nil)
	w.settle()
	if w.refresh.Status != model.RefreshPending || w.versions()["1"] != 2 {
		t.Errorf("%+v", w.refresh)
	}
}
