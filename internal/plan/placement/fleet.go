package placement

import (
	"maps"
	"slices"

	"roadstead.dev/internal/plan/clusterquery"
)

// Fleet is the book of a cluster's instances and of what is placed on them. It
// is not safe for use by several goroutines.
type Fleet struct {
	hosts map[string]*host
	// order lists the hosts, so that they can be walked without a map's chance.
	order []*host
	tasks map[string]*placed
	// strays are the tasks on instances that are not there, by instance.
	strays map[string]map[string]*placed
	views  views
}

// host is an instance with what is placed on it.
type host struct {
	Instance
	at    int // its place in the fleet's order
	used  Resources
	ports map[Port]int
	tasks map[string]bool
	// query is what expressions see. Its counts are of the tasks placed.
	query clusterquery.Instance
}

// placed is a task and where it is.
type placed struct {
	Task
	host string
}

// NewFleet makes an empty fleet.
func NewFleet() *Fleet {
	return &Fleet{hosts: make(map[string]*host), tasks: make(map[string]*placed), strays: make(map[string]map[string]*placed)}
}

// Put adds an instance or changes what is known of it. Tasks that were
// assigned to it before count from then on.
func (f *Fleet) Put(i Instance) {
	h := f.hosts[i.ID]
	if h == nil {
		h = &host{at: len(f.order), ports: make(map[Port]int), tasks: make(map[string]bool), query: clusterquery.Instance{TaskGroups: make(map[string]int)}}
		f.hosts[i.ID] = h
		f.order = append(f.order, h)
		for _, t := range f.strays[i.ID] {
			h.settle(t)
		}
		delete(f.strays, i.ID)
	}
	for _, p := range h.Reserved {
		h.port(p, -1)
	}
	for _, p := range i.Reserved {
		h.port(p, 1)
	}
	h.Instance = i
	h.query.AgentConnected, h.query.AgentVersion, h.query.Attributes = i.AgentConnected, i.AgentVersion, i.Attributes
	h.query.EC2InstanceID, h.query.RegisteredAt = i.EC2InstanceID, i.RegisteredAt
	f.views.put(h)
}

// Remove takes an instance out. Its tasks stay known until they are released:
// they may come back with it.
func (f *Fleet) Remove(instance string) {
	h := f.hosts[instance]
	if h == nil {
		return
	}
	f.views.remove(h)
	last := f.order[len(f.order)-1]
	f.order[h.at], last.at = last, h.at
	f.order[len(f.order)-1] = nil
	f.order = f.order[:len(f.order)-1]
	delete(f.hosts, instance)
	for id := range h.tasks {
		f.stray(id, f.tasks[id])
	}
}

func (f *Fleet) stray(id string, t *placed) {
	if f.strays[t.host] == nil {
		f.strays[t.host] = make(map[string]*placed)
	}
	f.strays[t.host][id] = t
}

// Assign writes down that a task is on an instance, whether or not there is
// room: what is there is there. A task that is known already is changed or
// moved.
func (f *Fleet) Assign(instance string, t Task) {
	if old := f.tasks[t.ID]; old != nil && old.host == instance && old.same(&t) {
		return
	}
	f.Release(t.ID)
	p := &placed{t, instance}
	f.tasks[t.ID] = p
	if h := f.hosts[instance]; h != nil {
		h.settle(p)
		f.views.changed(h)
	} else {
		f.stray(t.ID, p)
	}
}

// same tells whether two states of a task take the same.
func (t *Task) same(o *Task) bool {
	return t.Group == o.Group && t.Resources == o.Resources && slices.Equal(t.Ports, o.Ports)
}

// Release writes down that a task is gone. One that is not known is no error.
func (f *Fleet) Release(task string) {
	t := f.tasks[task]
	if t == nil {
		return
	}
	delete(f.tasks, task)
	if h := f.hosts[t.host]; h != nil {
		delete(h.tasks, task)
		h.add(&t.Task, -1)
		f.views.changed(h)
	} else if delete(f.strays[t.host], task); len(f.strays[t.host]) == 0 {
		delete(f.strays, t.host)
	}
}

// Len is the number of instances.
func (f *Fleet) Len() int { return len(f.order) }

// Remaining is what an instance has left, and the ports in use there in
// ascending order; false where there is no such instance.
func (f *Fleet) Remaining(instance string) (Resources, []Port, bool) {
	h := f.hosts[instance]
	if h == nil {
		return Resources{}, nil, false
	}
	ports := slices.SortedFunc(maps.Keys(h.ports), func(a, b Port) int { return int(a.Number) - int(b.Number) })
	return h.left(), ports, true
}

// Running is the number of tasks on an instance.
func (f *Fleet) Running(instance string) int {
	if h := f.hosts[instance]; h != nil {
		return h.query.RunningTasksCount
	}
	return 0
}

func (h *host) left() Resources { return h.Total.Minus(h.used) }

// settle counts a task in that is the host's.
func (h *host) settle(t *placed) {
	h.tasks[t.ID] = true
	h.add(&t.Task, 1)
}

// add counts a task in (1) or out (-1).
func (h *host) add(t *Task, by int) {
	if by > 0 {
		h.used = h.used.Plus(t.Resources)
	} else {
		h.used = h.used.Minus(t.Resources)
	}
	for _, p := range t.Ports {
		h.port(p, by)
	}
	h.query.RunningTasksCount += by
	if h.query.TaskGroups[t.Group] += by; h.query.TaskGroups[t.Group] == 0 {
		delete(h.query.TaskGroups, t.Group)
	}
}

func (h *host) port(p Port, by int) {
	if h.ports[p] += by; h.ports[p] == 0 {
		delete(h.ports, p)
	}
}
