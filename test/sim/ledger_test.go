package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ledger follows the records and checks after each commit, from them alone,
// that no instance has more than it can hold or what may not be there.
type ledger struct {
	mu        sync.Mutex
	instances map[string]*box
	tasks     map[string]*model.Task // that have not STOPPED, by id
	// rules tell which instances a group's tasks may be on; a group without
	// one may be anywhere.
	rules  map[string]func(*model.ContainerInstance) bool
	placed int
	broken []string
}

// box is an instance and what is on it.
type box struct {
	*model.ContainerInstance
	cpu, memory, enis int
	ports             map[model.HostPort]int
	groups            map[string]int
	// apart are the groups of which at most one task may be here.
	apart map[string]int
}

func newLedger() *ledger {
	return &ledger{instances: map[string]*box{}, tasks: map[string]*model.Task{}, rules: map[string]func(*model.ContainerInstance) bool{}}
}

func (l *ledger) fail(format string, args ...any) {
	if len(l.broken) < 10 {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.broken)
}

// rule limits where a service's tasks may be.
func (l *ledger) rule(service string, may func(*model.ContainerInstance) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules["service:"+service] = may
}

func (l *ledger) batch(events []store.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	touched := map[string]bool{}
	for _, e := range events {
		switch e.Record.Key.Kind {
		case tables.ECSContainerInstances.Kind():
			r, err := tables.ECSContainerInstances.Row(e.Record)
			if err != nil {
				return err
			}
			l.box(r.V.ID).ContainerInstance = r.V
		case tables.ECSTasks.Kind():
			r, err := tables.ECSTasks.Row(e.Record)
			if err != nil {
				return err
			}
			if r.V.Spec.LaunchType == model.LaunchTypeEC2 {
				l.task(r.V, e.Type == store.Delete, touched)
			}
		}
	}
	for id := range touched {
		l.check(l.instances[id])
	}
	return nil
}

func (l *ledger) box(id string) *box {
	b := l.instances[id]
	if b == nil {
		b = &box{ports: map[model.HostPort]int{}, groups: map[string]int{}, apart: map[string]int{}}
		l.instances[id] = b
	}
	return b
}

func (l *ledger) task(t *model.Task, deleted bool, touched map[string]bool) {
	before := l.tasks[t.TaskID]
	if before != nil {
		l.box(before.Status.Node).add(before, -1)
		delete(l.tasks, t.TaskID)
		if before.Status.Node != t.Status.Node {
			l.fail("task %s moves from %s to %s", t.TaskID, before.Status.Node, t.Status.Node)
		}
	}
	if deleted || t.Status.LastStatus == model.TaskStopped {
		return
	}
	b := l.box(t.Status.Node)
	if before == nil {
		l.placed++
		switch may := l.rules[t.Spec.Group]; {
		case b.ContainerInstance == nil:
			l.fail("task %s is on %q, which nobody registered", t.TaskID, t.Status.Node)
			return
		case b.Status == model.ContainerInstanceInactive:
			l.fail("task %s is placed on %s, which is gone", t.TaskID, b.ID)
		case may != nil && !may(b.ContainerInstance):
			l.fail("task %s of %s may not be on %s", t.TaskID, t.Spec.Group, b.ID)
		}
	}
	l.tasks[t.TaskID] = t
	b.add(t, 1)
	touched[t.Status.Node] = true
}

func (b *box) add(t *model.Task, by int) {
	r := t.Reservation()
	b.cpu += by * r.CPU
	b.memory += by * r.Memory
	b.enis += by * r.ENIs
	for _, p := range r.Ports {
		count(b.ports, p, by)
	}
	count(b.groups, t.Spec.Group, by)
	for _, c := range t.Spec.PlacementConstraints {
		if c.Type == "distinctInstance" {
			count(b.apart, t.Spec.Group, by)
		}
	}
}

func count[K comparable](m map[K]int, k K, by int) {
	if m[k] += by; m[k] == 0 {
		delete(m, k)
	}
}

func (l *ledger) check(b *box) {
	if b.cpu > b.CPU || b.memory > b.Memory || b.enis > b.ENIs {
		l.fail("%s has %d CPU, %d MiB and %d interfaces of %d, %d and %d", b.ID, b.cpu, b.memory, b.enis, b.CPU, b.Memory, b.ENIs)
	}
	for p, n := range b.ports {
		if n > 1 {
			l.fail("%s: port %v is %d tasks'", b.ID, p, n)
		}
		if !p.UDP && slices.Contains(b.ReservedPorts, p.Number) || p.UDP && slices.Contains(b.ReservedUDPPorts, p.Number) {
			l.fail("%s: port %v is reserved", b.ID, p)
		}
	}
	for g, n := range b.apart {
		if n > 1 {
			l.fail("%s has %d tasks of %s", b.ID, n, g)
		}
	}
}

// even tells what is uneven about a service's tasks that were placed over zones
// and then instances, and that were placed while nothing left: a zone, or an
// instance in one, that has two more than another that could have taken one.
func (l *ledger) even(service string, need model.Reservation) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	group, may := "service:"+service, l.rules["service:"+service]
	zones := map[string]int{}
	most, least := map[string]int{}, map[string]int{} // of an instance, by zone
	for _, b := range l.instances {
		zone, n := b.Attributes[model.AttributeZone], b.groups[group]
		zones[zone] += n
		most[zone] = max(most[zone], n)
		if b.takes(need) && (may == nil || may(b.ContainerInstance)) {
			if low, ok := least[zone]; !ok || n < low {
				least[zone] = n
			}
		}
	}
	var out []string
	for zone, low := range least {
		if most[zone] > low+1 {
			out = append(out, fmt.Sprintf("%s: in %s one instance has %d tasks, and one with room %d", service, zone, most[zone], low))
		}
		for other, n := range zones {
			if n > zones[zone]+1 {
				out = append(out, fmt.Sprintf("%s: %s has %d tasks, and %s with room %d", service, other, n, zone, zones[zone]))
			}
		}
	}
	slices.Sort(out)
	return out
}

// takes tells whether the instance has room for one more.
func (b *box) takes(need model.Reservation) bool {
	if b.ContainerInstance == nil || b.Status != model.ContainerInstanceActive || !b.Connection.Connected {
		return false
	}
	for _, p := range need.Ports {
		if b.ports[p] > 0 {
			return false
		}
	}
	return b.cpu+need.CPU <= b.CPU && b.memory+need.Memory <= b.Memory && b.enis+need.ENIs <= b.ENIs
}

// against tells where a book differs from the records.
func (l *ledger) against(w *world) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(l.instances)) {
		b := l.instances[id]
		left, ports, ok := w.book.Remaining(account, region, cluster, id)
		if gone := b.Status == model.ContainerInstanceInactive; gone || !ok {
			if ok == gone {
				out = append(out, fmt.Sprintf("%s is %s, and known to the book: %v", id, b.Status, ok))
			}
			continue
		}
		if left.CPU != b.CPU-b.cpu || left.Memory != b.Memory-b.memory || left.ENIs != b.ENIs-b.enis || len(ports) != len(b.ports)+len(b.ReservedPorts)+len(b.ReservedUDPPorts) {
			out = append(out, fmt.Sprintf("%s has %+v and ports %v in use by the book, of %d, %d and %d it has %d, %d and %d and ports %v by the records",
				id, left, ports, b.CPU, b.Memory, b.ENIs, b.cpu, b.memory, b.enis, b.ports))
		}
	}
	return out
}

// on counts a service's tasks by instance.
func (l *ledger) on(service string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for id, b := range l.instances {
		if n := b.groups["service:"+service]; n > 0 {
			out[id] = n
		}
	}
	return out
}
