package placement

import (
	"hash/fnv"
	"slices"
)

// Place chooses an instance for one more task of the request's kind; false
// where none can take it. It writes nothing down: Assign does. Pick(n) chooses
// among n that are equally good, from 0 to n-1.
func (f *Fleet) Place(r *Request, pick func(n int) int) (instance string, ok bool) {
	if v := f.views.of(r); v != nil {
		return v.best(pick)
	}
	// A kind of task that is seen for the first time may be the only one of its
	// kind. The second time, a view pays.
	if f.views.seen(r.key) {
		v := newView(r)
		for _, h := range f.order {
			v.add(h)
		}
		f.views.keep(v)
		return v.best(pick)
	}
	return f.scan(r, pick)
}

// Eligible are the active instances that meet the attributes and the
// constraints that depend on the instance alone, ascending: those that a
// DAEMON service has a task on. Whether the agent is connected, and whether
// there is room, does not count.
func (f *Fleet) Eligible(r *Request) []string {
	var ids []string
	for _, h := range f.order {
		if h.Active && r.lacks(h) == "" {
			ids = append(ids, h.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// scan places by looking at every instance.
func (f *Fleet) scan(r *Request, pick func(n int) int) (string, bool) {
	// Instances that cannot take the task count in a spread all the same.
	all := slices.Clone(f.order)
	able := make(map[*host]bool, len(all))
	for _, h := range all {
		if r.refuses(h) == "" {
			able[h] = true
		}
	}
	for _, s := range r.stages {
		ranks, counted := make(map[string]rank), make(map[string]bool)
		for _, h := range all {
			key := s.keyOf(h)
			k := ranks[key]
			k.value = s.value(k.value, h, r.demand.Group)
			k.tie = tieOf(r.demand.Group, key)
			ranks[key] = k
			counted[key] = counted[key] || able[h]
		}
		best := ""
		found := false
		for key, k := range ranks {
			if counted[key] && (!found || k.less(key, ranks[best], best)) {
				best, found = key, true
			}
		}
		if !found {
			return "", false
		}
		all = slices.DeleteFunc(all, func(h *host) bool { return s.keyOf(h) != best })
	}
	all = slices.DeleteFunc(all, func(h *host) bool { return !able[h] })
	if len(all) == 0 {
		return "", false
	}
	return all[pick(len(all))].ID, true
}

// rank orders the parts that a stage cuts candidates into.
type rank struct {
	value int
	tie   uint32
}

func (a rank) less(key string, b rank, other string) bool {
	if a.value != b.value {
		return a.value < b.value
	}
	if a.tie != b.tie {
		return a.tie < b.tie
	}
	return key < other
}

// tieOf orders equals differently for each group, so that not everybody's
// first task goes to the same instance.
func tieOf(group, key string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	return h.Sum32()
}

// keyOf names the part of the candidates that a host is in.
func (s stage) keyOf(h *host) string {
	switch {
	case s.spread && s.attribute == "":
		return h.ID
	case s.spread:
		return h.Attributes[s.attribute]
	}
	return binKey(s.packed(h))
}

// binKey keeps the order of numbers from one to the next.
func binKey(n int) string {
	b := [8]byte{}
	for i := range b {
		b[i] = byte(uint64(n) >> (56 - 8*i))
	}
	return string(b[:])
}

// packed is what is left of the resource that a binpack packs.
func (s stage) packed(h *host) int {
	if s.memory {
		return h.left().Memory
	}
	return h.left().CPU
}

// value adds a host to the value that its part is ranked by: the group's tasks
// for a spread, what is left for a binpack.
func (s stage) value(so int, h *host, group string) int {
	if s.spread {
		return so + h.query.TaskGroups[group]
	}
	return s.packed(h)
}
