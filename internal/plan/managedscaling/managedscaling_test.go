package managedscaling

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fleet makes n instances, the first busy ones busy, launched long ago.
func fleet(n, busy int) []Instance {
	out := make([]Instance, n)
	for i := range out {
		out[i] = Instance{InService: true, LaunchedAt: now.Add(-time.Hour), Busy: i < busy}
	}
	return out
}

func TestNext(t *testing.T) {
	small := Size{CPU: 1024, Memory: 1000, ENIs: 2}
	box := func(n int) []Task { return []Task{{Size: Size{CPU: 512, Memory: 300}, Count: n}} }
	low := State{LowSince: now.Add(-14 * time.Minute)}
	settings := func(target, least, most int) model.ManagedScaling {
		return model.ManagedScaling{Enabled: true, TargetCapacity: target, MinimumStep: least, MaximumStep: most, WarmupSeconds: 300}
	}
	full := settings(100, 1, 10000)
	warming := append(fleet(4, 4), Instance{InService: true, LaunchedAt: now.Add(-299 * time.Second)})
	launching := append(fleet(4, 4), Instance{LaunchedAt: now.Add(-time.Hour)})
	for name, c := range map[string]struct {
		settings    model.ManagedScaling
		min, max    int
		desired     int
		instances   []Instance
		waiting     []Task
		state       State
		reservation float64
		want        int
		lowSince    time.Time
	}{
		"idle and empty":                     {settings: full, max: 9, reservation: 100},
		"idle, empty, with a lower target":   {settings: settings(50, 1, 9), max: 9, reservation: 50},
		"from nothing":                       {settings: full, max: 9, waiting: box(40), reservation: 200, want: 2},
		"from nothing to twice what is used": {settings: settings(50, 1, 9), max: 9, waiting: box(1), reservation: 200, want: 4},
		"from nothing, within the maximum":   {settings: full, max: 1, waiting: box(40), reservation: 200, want: 1},
		"as many as are needed":              {settings: full, max: 99, desired: 2, instances: fleet(2, 2), waiting: box(7), reservation: 300, want: 6},
		"a step at a time":                   {settings: settings(100, 1, 3), max: 99, desired: 2, instances: fleet(2, 2), waiting: box(20), reservation: 250, want: 5},
		"a step at the least":                {settings: settings(100, 5, 9), max: 99, desired: 2, instances: fleet(2, 2), waiting: box(1), reservation: 350, want: 7},
		"with spare ones":                    {settings: settings(80, 1, 9), max: 99, desired: 4, instances: fleet(4, 4), reservation: 100, want: 5},
		"at the target but for a part":       {settings: settings(80, 1, 9), max: 99, desired: 5, instances: fleet(5, 3), reservation: 60, want: 5, lowSince: now},
		"rounding leaves one":                {settings: settings(90, 1, 9), max: 99, desired: 2, instances: fleet(2, 1), state: low, reservation: 50, want: 2},
		"not while one warms up":             {settings: full, max: 99, desired: 5, instances: warming, waiting: box(7), reservation: 200, want: 5},
		"not while one launches":             {settings: full, max: 99, desired: 5, instances: launching, waiting: box(7), reservation: 200, want: 5},
		"what does not fit is left out":      {settings: full, max: 99, desired: 2, instances: fleet(2, 2), waiting: []Task{{Size: Size{CPU: 4096}, Count: 3}}, reservation: 100, want: 2},
		"one is idle":                        {settings: full, max: 9, desired: 3, instances: fleet(3, 2), reservation: 200. / 3, want: 3, lowSince: now},
		"one has been idle for long": {
			settings: full, max: 9, desired: 3, instances: fleet(3, 2), state: low, reservation: 200. / 3, want: 2, lowSince: low.LowSince,
		},
		"half of the idle ones": {settings: full, max: 99, desired: 40, instances: fleet(40, 0), state: low, want: 20, lowSince: low.LowSince},
		"the last one":          {settings: full, max: 99, desired: 1, instances: fleet(1, 0), state: low, want: 0, lowSince: low.LowSince},
		"not below the minimum": {settings: full, min: 30, max: 99, desired: 40, instances: fleet(40, 0), state: low, want: 30, lowSince: low.LowSince},
		"while others still leave": {
			settings: full, max: 99, desired: 5, instances: fleet(10, 5), state: low, reservation: 50, want: 5, lowSince: low.LowSince,
		},
		"a task that waits ends the count": {settings: full, max: 9, desired: 3, instances: fleet(3, 0), waiting: box(1), state: low, reservation: 400. / 3, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			p := Next(Snapshot{
				Settings: c.settings, Min: c.min, Max: c.max, Desired: c.desired, Instances: c.instances, Waiting: c.waiting, Sizes: []Size{small}, State: c.state,
			}, now)
			if diff := p.Reservation - c.reservation; diff > 1e-9 || diff < -1e-9 || p.Desired != c.want || !p.State.LowSince.Equal(c.lowSince) {
				t.Errorf("got %+v; want %v %d %v", p, c.reservation, c.want, c.lowSince)
			}
		})
	}
}

func TestNeeded(t *testing.T) {
	small, large := Size{CPU: 1024, Memory: 1000, ENIs: 2}, Size{CPU: 2048, Memory: 4000, ENIs: 3, GPUs: 1}
	for name, c := range map[string]struct {
		waiting []Task
		sizes   []Size
		want    int
	}{
		"none":                 {nil, []Size{small}, 0},
		"by CPU":               {[]Task{{Size: Size{CPU: 300}, Count: 7}}, []Size{small}, 3},
		"by memory":            {[]Task{{Size: Size{CPU: 1, Memory: 400}, Count: 5}}, []Size{small}, 3},
		"by interfaces":        {[]Task{{Size: Size{CPU: 1, ENIs: 1}, Count: 5}}, []Size{small}, 3},
		"by ports":             {[]Task{{Size: Size{CPU: 1}, Ports: []int{80}, Count: 4}}, []Size{small}, 4},
		"UDP is another port":  {[]Task{{Ports: []int{53}, Count: 2}, {Ports: []int{-53}, Count: 2}}, []Size{small}, 2},
		"apart":                {[]Task{{Group: "a", Distinct: true, Count: 3}, {Group: "b", Distinct: true, Count: 2}}, []Size{small}, 3},
		"the larger counts":    {[]Task{{Size: Size{CPU: 1000}, Count: 4}}, []Size{small, large}, 2},
		"the smaller must fit": {[]Task{{Size: Size{CPU: 2000}, Count: 4}, {Size: Size{GPUs: 1}, Count: 1}}, []Size{small, large}, 0},
		"together":             {[]Task{{Size: Size{CPU: 300, Memory: 10}, Count: 2}, {Size: Size{CPU: 700, Memory: 900}, Count: 2}}, []Size{small}, 2},
		"nobody knows":         {[]Task{{Size: Size{CPU: 300}, Count: 9}}, nil, 1},
		"none, nobody knows":   {[]Task{{Count: 0}}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := needed(c.waiting, c.sizes); got != c.want {
				t.Errorf("%d are needed; want %d", got, c.want)
			}
		})
	}
}

// world is a group with tasks, minute by minute.
type world struct {
	s         Snapshot
	now       time.Time
	perNode   int // tasks that fit on an instance
	delay     time.Duration
	protected bool // the group ends no busy instance
	tasks     []int
	launched  []time.Time
	waiting   int
}

// step lets a minute go by in which there are to be so many tasks.
func (w *world) step(tasks int) {
	total := w.waiting
	for _, n := range w.tasks {
		total += n
	}
	for i := range w.tasks { // the service scales in
		n := min(w.tasks[i], max(total-tasks, 0))
		w.tasks[i] -= n
		total -= n
	}
	w.waiting += tasks - total
	for i := range w.tasks {
		if w.ready(i) {
			n := min(w.perNode-w.tasks[i], w.waiting)
			w.tasks[i] += n
			w.waiting -= n
		}
	}
	w.s.Instances = nil
	for i := range w.tasks {
		w.s.Instances = append(w.s.Instances, Instance{InService: w.ready(i), LaunchedAt: w.launched[i], Busy: w.tasks[i] > 0})
	}
	w.s.Waiting = []Task{{Size: Size{CPU: 1000 / w.perNode}, Count: w.waiting}}
	p := Next(w.s, w.now)
	w.s.Desired, w.s.State = p.Desired, p.State
	for len(w.tasks) < w.s.Desired {
		w.tasks, w.launched = append(w.tasks, 0), append(w.launched, w.now)
	}
	for i := len(w.tasks) - 1; i >= 0 && len(w.tasks) > w.s.Desired; i-- {
		if w.tasks[i] == 0 || !w.protected {
			w.waiting += w.tasks[i]
			w.tasks = append(w.tasks[:i], w.tasks[i+1:]...)
			w.launched = append(w.launched[:i], w.launched[i+1:]...)
		}
	}
	w.now = w.now.Add(Period)
}

func (w *world) ready(i int) bool { return w.now.Sub(w.launched[i]) >= w.delay }

// Whatever the load does, the group stays within its limits; once it does
// nothing any more, all tasks that fit into the maximum run, the group has just
// the size for them, and stays as it is.
func TestScalingSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		least := rapid.IntRange(0, 3).Draw(t, "min")
		w := &world{
			s: Snapshot{
				Settings: model.ManagedScaling{
					TargetCapacity: rapid.IntRange(20, 100).Draw(t, "target"), MinimumStep: rapid.IntRange(1, 4).Draw(t, "least step"),
					MaximumStep: rapid.IntRange(4, 20).Draw(t, "most step"), WarmupSeconds: rapid.IntRange(0, 600).Draw(t, "warm-up"),
				},
				Min: least, Max: least + rapid.IntRange(0, 40).Draw(t, "more"), Desired: least, Sizes: []Size{{CPU: 1000}},
			},
			now: now, perNode: rapid.IntRange(1, 6).Draw(t, "tasks on an instance"),
			delay: time.Duration(rapid.IntRange(0, 4).Draw(t, "minutes to launch")) * time.Minute, protected: rapid.Bool().Draw(t, "protected"),
		}
		load := 0
		check := func() {
			if w.s.Desired < w.s.Min || w.s.Desired > w.s.Max {
				t.Fatalf("desired %d of %d to %d", w.s.Desired, w.s.Min, w.s.Max)
			}
		}
		for range rapid.IntRange(0, 8).Draw(t, "changes") {
			load = rapid.IntRange(0, 120).Draw(t, "load")
			for range rapid.IntRange(1, 40).Draw(t, "minutes") {
				w.step(load)
				check()
			}
		}
		for range 1500 {
			w.step(load)
			check()
		}
		settled := w.s.Desired
		for range 120 {
			w.step(load)
			if w.s.Desired != settled {
				t.Fatalf("%d tasks: from %d to %d instances without cause", load, settled, w.s.Desired)
			}
		}
		nodes := (load + w.perNode - 1) / w.perNode
		if room := w.s.Max * w.perNode; w.waiting > max(load-room, 0) {
			t.Fatalf("%d of %d tasks wait, with %d of %d instances", w.waiting, load, settled, w.s.Max)
		}
		busy := 0
		for _, n := range w.tasks {
			if n > 0 {
				busy++
			}
		}
		// Tasks that stay spread keep their instances; what is idle beyond the
		// target goes.
		if most := max(ratio(busy, 100, float64(w.s.Settings.TargetCapacity)), w.s.Min); settled > most && settled > nodes {
			t.Fatalf("%d instances, of which %d are busy, for a target of %d%%", settled, busy, w.s.Settings.TargetCapacity)
		}
		if load == 0 && settled != w.s.Min {
			t.Fatalf("%d instances for no task", settled)
		}
	})
}
