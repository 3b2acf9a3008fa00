package ecstask

import (
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// NewForget makes the controller that forgets stopped tasks when their time is
// over. It looks, every minute, at those that stopped in the minutes of the
// hour whose turn it is, so that however many there are, few are read and none
// is waited for. One whose turn passed while no server ran is forgotten within
// the next hour.
func NewForget(c Config) *controller.Controller {
	w := &tasks{c}
	return &controller.Controller{
		Name:    "ecsforget",
		Resync:  time.Minute,
		Workers: 2,
		Watches: []controller.Watch{controller.On(tables.ECSTasks, func(r store.Row[model.Task]) []controller.Key {
			if r.V.Status.LastStatus != model.TaskStopped || c.Clock.Now().Before(r.V.Status.StoppedAt.Add(lifecycle.Retention)) {
				return nil
			}
			return []controller.Key{controller.KeyOf(r.Key)}
		}).Passing(w.due)},
		Reconcile: w.reconcile,
	}
}

// due selects the tasks that stopped in the minute that ended a Retention ago,
// and in the one before it, should a pass have come late.
func (c *tasks) due() []store.Query {
	var out []store.Query
	end := c.Clock.Now().Add(-lifecycle.Retention)
	for back := range 2 {
		minute := tables.StopMinute(end.Add(-time.Duration(back) * time.Minute))
		out = append(out, store.Query{Index: store.Index{Name: tables.ByStopMinute, Value: minute}})
	}
	return out
}
