package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

func first(int) int { return 0 }

func instance(id, zone string, cpu, memory int) Instance {
	return Instance{
		ID: id, Active: true, AgentConnected: true, AgentVersion: "1.89.0", RegisteredAt: time.Unix(0, 0).UTC(),
		Attributes: map[string]string{"ecs.availability-zone": zone, "ecs.instance-type": "t3.small"},
		Total:      Resources{CPU: cpu, Memory: memory, ENIs: 2}, Reserved: []Port{{Number: 22}},
	}
}

func compile(t testing.TB, d Demand) *Request {
	t.Helper()
	r, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fill places and assigns n tasks and returns how many each instance got.
func fill(t testing.TB, f *Fleet, r *Request, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for i := range n {
		at, ok := f.Place(r, first)
		if !ok {
			break
		}
		got[at]++
		f.Assign(at, Task{ID: fmt.Sprintf("%s/%d/%d", r.demand.Group, f.Len(), i), Group: r.demand.Group, Resources: r.demand.Resources, Ports: r.demand.Ports})
	}
	return got
}

func strategies(words ...string) []model.ECSPlacementStrategy {
	var all []model.ECSPlacementStrategy
	for _, w := range words {
		kind, field, _ := strings.Cut(w, "=")
		all = append(all, model.ECSPlacementStrategy{Type: kind, Field: field})
	}
	return all
}

func TestPlace(t *testing.T) {
	fleet := func() *Fleet {
		f := NewFleet()
		for _, i := range []Instance{instance("a1", "a", 1024, 1000), instance("a2", "a", 1024, 2000), instance("b1", "b", 1024, 3000), instance("b2", "b", 512, 4000)} {
			f.Put(i)
		}
		return f
	}
	for _, c := range []struct {
		name   string
		demand Demand
		n      int
		want   map[string]int
	}{
		{"binpack on memory fills the fullest first", Demand{Resources: Resources{Memory: 500}, Strategies: strategies("binpack=memory")}, 7, map[string]int{"a1": 2, "a2": 4, "b1": 1}},
		{"binpack on cpu", Demand{Resources: Resources{CPU: 256}, Strategies: strategies("binpack=CPU")}, 2, map[string]int{"b2": 2}},
		{"spread over instances", Demand{Resources: Resources{Memory: 100}, Strategies: strategies("spread=instanceId")}, 8, map[string]int{"a1": 2, "a2": 2, "b1": 2, "b2": 2}},
		{"spread over zones, packed in each", Demand{Resources: Resources{Memory: 500}, Strategies: strategies("spread=attribute:ecs.availability-zone", "binpack=memory")}, 6, map[string]int{"a1": 2, "a2": 1, "b1": 3}},
		{"the default of services", Demand{Resources: Resources{Memory: 100}, Strategies: ServiceDefault}, 4, map[string]int{"a1": 1, "a2": 1, "b1": 1, "b2": 1}},
		{"one on each instance", Demand{Group: "g", Constraints: []model.ECSPlacementConstraint{{Type: "distinctInstance"}}}, 9, map[string]int{"a1": 1, "a2": 1, "b1": 1, "b2": 1}},
		{"a fixed port", Demand{Ports: []Port{{Number: 80}}}, 9, map[string]int{"a1": 1, "a2": 1, "b1": 1, "b2": 1}},
		{"a port of the instance's own", Demand{Ports: []Port{{Number: 22}}}, 1, map[string]int{}},
		{"the same port of the other protocol", Demand{Ports: []Port{{Number: 22, UDP: true}}, Constraints: []model.ECSPlacementConstraint{{Type: "memberOf", Expression: "attribute:ecs.availability-zone == b"}}}, 5, map[string]int{"b1": 1, "b2": 1}},
		{"interfaces", Demand{Resources: Resources{ENIs: 1}, Strategies: strategies("binpack=memory")}, 9, map[string]int{"a1": 2, "a2": 2, "b1": 2, "b2": 2}},
		{"next to nobody", Demand{Group: "g", Constraints: []model.ECSPlacementConstraint{{Type: "memberOf", Expression: "not(task:group == g)"}}, Strategies: strategies("binpack=memory")}, 9, map[string]int{"a1": 1, "a2": 1, "b1": 1, "b2": 1}},
		{"an attribute that nobody has", Demand{Attributes: []model.ECSAttribute{{Name: "gpu"}}}, 1, map[string]int{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fleet()
			got := fill(t, f, compile(t, c.demand), c.n)
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("placed %v, want %v", got, c.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	f := NewFleet()
	full := instance("full", "a", 100, 100)
	draining := instance("draining", "a", 1000, 1000)
	draining.Active = false
	cut := instance("cut", "a", 1000, 1000)
	cut.AgentConnected = false
	for _, i := range []Instance{draining, cut, full, instance("slow", "a", 10, 1000), instance("other", "b", 1000, 1000)} {
		f.Put(i)
	}
	r := compile(t, Demand{
		Resources: Resources{CPU: 50, Memory: 200}, Attributes: []model.ECSAttribute{{Name: "ecs.availability-zone", Value: "a"}},
	})
	got := f.Explain(r)
	want := []Refusal{{"full", Memory}, {"slow", CPU}, {"other", Attribute}, {"cut", Agent}, {"draining", Inactive}}
	if !slices.Equal(got, want) {
		t.Errorf("refusals %v, want %v", got, want)
	}
	if why := f.Refuses(r, "nobody"); why != Inactive {
		t.Errorf("an unknown instance: %s", why)
	}
	for r := range near {
		if r.Sentence() == string(r) {
			t.Errorf("%s has no sentence", r)
		}
	}
}

func TestBadDemands(t *testing.T) {
	for name, d := range map[string]Demand{
		"expression": {Constraints: []model.ECSPlacementConstraint{{Type: "memberOf", Expression: "stack =="}}},
		"constraint": {Constraints: []model.ECSPlacementConstraint{{Type: "nearby"}}},
		"strategy":   {Strategies: strategies("pile=cpu")},
		"field":      {Strategies: strategies("binpack=disk")},
		"no field":   {Strategies: strategies("spread=")},
	} {
		if _, err := Compile(d); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

func TestWhatIsThereIsThere(t *testing.T) {
	f := NewFleet()
	// Tasks may be known before their instance is, and more than fits.
	f.Assign("i", Task{ID: "1", Group: "g", Resources: Resources{CPU: 80}, Ports: []Port{{Number: 80}}})
	f.Put(instance("i", "a", 100, 100))
	f.Assign("i", Task{ID: "2", Group: "g", Resources: Resources{CPU: 80}})
	if left, ports, _ := f.Remaining("i"); left.CPU != -60 || len(ports) != 2 {
		t.Errorf("left %v, ports %v", left, ports)
	}
	f.Release("2")
	f.Release("2")
	f.Assign("i", Task{ID: "1", Group: "g", Resources: Resources{CPU: 30}})
	if left, ports, _ := f.Remaining("i"); left.CPU != 70 || len(ports) != 1 || f.Running("i") != 1 {
		t.Errorf("left %v, ports %v, running %d", left, ports, f.Running("i"))
	}
	f.Remove("i")
	f.Put(instance("i", "a", 100, 100))
	if left, _, _ := f.Remaining("i"); left.CPU != 70 {
		t.Errorf("left %v after the instance came back", left)
	}
}

// TestViewsAgree drives a fleet through random histories: the trees answer
// what a look at every instance answers, nothing is over-committed, no port is
// given twice, no two tasks of a distinct group share an instance.
func TestViewsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFleet()
		var requests []*Request
		for g := range rapid.IntRange(1, 4).Draw(t, "kinds") {
			requests = append(requests, drawRequest(t, fmt.Sprintf("service:%d", g)))
		}
		next := 0
		live := map[string]*Request{}
		where := map[string]string{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				i := instance(fmt.Sprint("i", rapid.IntRange(0, 7).Draw(t, "instance")), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "zone"),
					1024, 1024)
				i.Active = rapid.IntRange(0, 9).Draw(t, "active") > 0
				i.Attributes["stack"] = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "stack")
				f.Put(i)
			case 2:
				f.Remove(fmt.Sprint("i", rapid.IntRange(0, 7).Draw(t, "instance")))
			case 3:
				for id := range live {
					f.Release(id)
					delete(live, id)
					delete(where, id)
					break
				}
			default:
				r := rapid.SampledFrom(requests).Draw(t, "kind")
				set := everyChoice(f, r)
				at, ok := f.Place(r, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
				if ok != (len(set) > 0) || ok && !slices.Contains(set, at) {
					t.Fatalf("placed on %q (%v), and a look at every instance says %v", at, ok, set)
				}
				if !ok {
					break
				}
				next++
				id := fmt.Sprint(next)
				live[id], where[id] = r, at
				f.Assign(at, Task{ID: id, Group: r.demand.Group, Resources: r.demand.Resources, Ports: r.demand.Ports})
				left, _, _ := f.Remaining(at)
				if left.CPU < 0 || left.Memory < 0 || left.ENIs < 0 {
					t.Fatalf("%s is over-committed: %v", at, left)
				}
				for other, o := range live {
					if other == id || where[other] != at {
						continue
					}
					if r.distinct && o.demand.Group == r.demand.Group {
						t.Fatalf("two tasks of %s on %s", r.demand.Group, at)
					}
					for _, p := range r.demand.Ports {
						if slices.Contains(o.demand.Ports, p) {
							t.Fatalf("port %v twice on %s", p, at)
						}
					}
				}
			}
		}
	})
}

// everyChoice is what scan may choose.
func everyChoice(f *Fleet, r *Request) []string {
	var all []string
	n := 1
	for i := 0; i < n; i++ {
		id, ok := f.scan(r, func(of int) int { n = of; return i })
		if !ok {
			return nil
		}
		all = append(all, id)
	}
	return all
}

func drawRequest(t *rapid.T, group string) *Request {
	d := Demand{Group: group, Resources: Resources{CPU: rapid.IntRange(0, 600).Draw(t, "cpu"), Memory: rapid.IntRange(0, 600).Draw(t, "memory"), ENIs: rapid.IntRange(0, 1).Draw(t, "eni")}}
	if rapid.Bool().Draw(t, "port") {
		d.Ports = []Port{{Number: uint16(rapid.IntRange(80, 81).Draw(t, "number"))}}
	}
	if rapid.Bool().Draw(t, "distinct") {
		d.Constraints = append(d.Constraints, model.ECSPlacementConstraint{Type: "distinctInstance"})
	}
	if e := rapid.SampledFrom([]string{"", "attribute:stack == x", "not (task:group == service:0)", "runningTasksCount < 2"}).Draw(t, "expression"); e != "" {
		d.Constraints = append(d.Constraints, model.ECSPlacementConstraint{Type: "memberOf", Expression: e})
	}
	d.Strategies = strategies(rapid.SliceOfN(rapid.SampledFrom([]string{"spread=attribute:ecs.availability-zone", "spread=attribute:stack", "spread=host", "binpack=cpu", "binpack=memory", "random"}), 0, 3).Draw(t, "strategies")...)
	r, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 5000} {
		for name, chain := range map[string][]model.ECSPlacementStrategy{"spread": ServiceDefault, "binpack": strategies("binpack=memory"), "zones+binpack": strategies("spread=attribute:ecs.availability-zone", "binpack=cpu")} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				f := NewFleet()
				for i := range n {
					f.Put(instance(fmt.Sprint("i", i), string(rune('a'+i%3)), 16384, 65536))
				}
				r := compile(b, Demand{Group: "service:web", Resources: Resources{CPU: 256, Memory: 512}, Strategies: chain})
				var placed []string
				i := 0
				for b.Loop() {
					at, ok := f.Place(r, first)
					id := fmt.Sprint(i)
					if ok {
						f.Assign(at, Task{ID: id, Group: "service:web", Resources: r.demand.Resources})
						placed = append(placed, id)
					}
					// Keep the fleet half full.
					if len(placed) > n*20 {
						f.Release(placed[0])
						placed = placed[1:]
					}
					i++
				}
			})
		}
	}
}
