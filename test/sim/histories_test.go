package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/memory"
)

// TestHistories: whatever happens to instances, agents, services, tasks and
// servers, and whichever commits fail, no instance holds more than it can, no
// port is two tasks', constraints hold, services stay within their limits; and
// once nothing happens any more they have their tasks, new ones are spread
// within one, and when all is deleted nothing is left.
//
// A history that fails is made shorter before it is printed.
func TestHistories(t *testing.T) {
	first, n := *seedFlag, 1
	if first == 0 {
		first, n = rand.Uint64N(1<<40), histories
		if *fullFlag {
			n = 4000
		}
	}
	seeds := make(chan uint64, n)
	for i := range n {
		seeds <- first + uint64(i)
	}
	close(seeds)
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for seed := range seeds {
				if t.Failed() {
					return
				}
				ops := historyOf(seed)
				problems := live(t, seed, ops)
				if len(problems) == 0 {
					continue
				}
				short, why := shrink(t, seed, ops, problems)
				t.Errorf("seed %d: %s\n%d steps, of which these suffice:\n%s\nwith them: %s\nrepeat with: go test ./test/sim -run '^TestHistories$' -seed %d",
					seed, strings.Join(problems, "\n\t"), len(ops), printed(short), strings.Join(why, "\n\t"), seed)
			}
		})
	}
	wg.Wait()
}

// step is one thing that happens. It means what a and b name among what there
// is then, so that a history stays one when steps are left out.
type step struct {
	what string
	a, b int
}

func printed(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%3d %s %d %d\n", i, s.what, s.a, s.b)
	}
	return b.String()
}

// historyOf makes a history of a seed.
func historyOf(seed uint64) []step {
	r := rand.New(rand.NewPCG(seed, 5))
	var steps []step
	add := func(what string, a, b int) { steps = append(steps, step{what, a, b}) }
	for range 3 + r.IntN(5) {
		add("register", r.IntN(6), r.IntN(12))
	}
	for _, kind := range r.Perm(len(kinds))[:2+r.IntN(4)] {
		add("create", kind, r.IntN(1000))
	}
	weights := []struct {
		what   string
		weight int
	}{
		{"register", 4},
		{"scale", 6},
		{"deploy", 4},
		{"drain", 3},
		{"activate", 3},
		{"kill", 2},
		{"terminate", 1},
		{"disconnect", 3},
		{"reconnect", 3},
		{"crash", 4},
		{"run", 3},
		{"start", 2},
		{"stop", 3},
		{"restart", 2},
		{"faults", 2},
		{"calm", 1},
		{"delete", 1},
		{"create", 2},
	}
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	for range 15 + r.IntN(30) {
		n := r.IntN(total)
		for _, w := range weights {
			if n -= w.weight; n < 0 {
				add(w.what, r.IntN(1000), r.IntN(1000))
				break
			}
		}
		// Often several things happen at once.
		if r.IntN(3) > 0 {
			add("pass", r.IntN(40), 0)
		}
	}
	return steps
}

// live lives through a history and returns what was wrong. It runs in a bubble
// of its own.
func live(t *testing.T, seed uint64, steps []step) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		tr := &trial{ctx: t.Context()}
		defer func() { problems = tr.problems }()
		defer func() {
			if p := recover(); p != nil && p != any(abandoned{}) {
				panic(p)
			}
		}()
		s := memory.New()
		defer func() { _ = s.Close() }()
		below := newFlaky(s, seed)
		w := newWorld(tr, seed, s, below)
		defer func() { w.stop() }()
		h := newHistory(w, below)
		defer h.end()
		for _, s := range steps {
			h.do(s)
		}
		h.peace()
		h.empty()
	})
	return problems
}

// shrink leaves steps out for as long as the history still fails. What is
// random besides the seed, the order of goroutines above all, may make it pass
// a run that it could fail: so each try has two.
func shrink(t *testing.T, seed uint64, steps []step, problems []string) ([]step, []string) {
	tries := 0
	for size := len(steps) / 2; size > 0 && tries < 100; size /= 2 {
		for at := 0; at+size <= len(steps) && tries < 100; {
			less := slices.Delete(slices.Clone(steps), at, at+size)
			var now []string
			for range 2 {
				if now = live(t, seed, less); len(now) > 0 {
					break
				}
			}
			tries++
			if len(now) == 0 {
				at += size
				continue
			}
			steps, problems = less, now
		}
	}
	return steps, problems
}

// trial is a test that may fail without the real one failing.
type trial struct {
	ctx      context.Context
	mu       sync.Mutex
	problems []string
}

// abandoned is what a trial panics with that cannot go on.
type abandoned struct{}

var _ tb = (*trial)(nil)

func (tr *trial) Helper()                  {}
func (tr *trial) Context() context.Context { return tr.ctx }

func (tr *trial) Error(args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.problems) < 20 {
		tr.problems = append(tr.problems, strings.TrimSpace(fmt.Sprintln(args...)))
	}
}

func (tr *trial) Errorf(format string, args ...any) { tr.Error(fmt.Sprintf(format, args...)) }
func (tr *trial) FailNow()                          { panic(abandoned{}) }

func (tr *trial) Fatal(args ...any) {
	tr.Error(args...)
	tr.FailNow()
}

func (tr *trial) Fatalf(format string, args ...any) { tr.Fatal(fmt.Sprintf(format, args...)) }

// kind is a kind of service that histories have.
type kind struct {
	name, family string
	change       func(*model.ServiceSpec)
	// may limits which instances its tasks may be on.
	may func(*model.ContainerInstance) bool
}

func chain(strategies ...string) []model.ECSPlacementStrategy {
	var out []model.ECSPlacementStrategy
	for _, s := range strategies {
		typ, field, _ := strings.Cut(s, "=")
		out = append(out, model.ECSPlacementStrategy{Type: typ, Field: field})
	}
	return out
}

func only(expression string) []model.ECSPlacementConstraint {
	return []model.ECSPlacementConstraint{{Type: "memberOf", Expression: expression}}
}

var kinds = []kind{
	{name: "web", family: "box"},
	{name: "apart", family: "box", change: func(s *model.ServiceSpec) {
		s.PlacementConstraints = []model.ECSPlacementConstraint{{Type: "distinctInstance"}}
	}},
	{name: "door", family: "port", change: func(s *model.ServiceSpec) { s.PlacementStrategy = chain("binpack=memory") }},
	{name: "log", family: "box", change: daemon},
	{name: "gate", family: "gate", change: func(s *model.ServiceSpec) {
		daemon(s)
		s.PlacementConstraints = only("attribute:stack == x")
	}, may: stackX},
	{name: "fast", family: "box", change: func(s *model.ServiceSpec) {
		s.PlacementConstraints = only("attribute:stack == x")
		s.PlacementStrategy = chain("spread=attribute:ecs.availability-zone", "binpack=cpu")
	}, may: stackX},
	{name: "dyn", family: "dyn", change: func(s *model.ServiceSpec) { s.PlacementStrategy = chain("spread=instanceId") }},
	{name: "eni", family: "eni", change: func(s *model.ServiceSpec) {
		s.NetworkConfiguration = &model.ECSNetworkConfiguration{AwsvpcConfiguration: &model.AwsvpcConfiguration{
			Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"sg-1"},
		}}
	}, may: func(i *model.ContainerInstance) bool { return i.Attributes[model.AttributeZone] != region+"c" }},
	{name: "any", family: "box", change: func(s *model.ServiceSpec) { s.PlacementStrategy = chain("random") }},
}

func stackX(i *model.ContainerInstance) bool { return i.Attributes["stack"] == "x" }
