package placement

import "github.com/google/btree"

// A view keeps the instances in the order in which one kind of task wants
// them. Each stage of the strategies is a level of a tree: a node's children
// are the parts that the stage cuts its instances into, ordered by rank, and
// the leaves hold the instances that can take a task now. A change of one
// instance moves it along one path of the tree.
type view struct {
	request *Request
	// fixed: where a host's path leads does not depend on what is placed on it.
	fixed bool
	root  *node
	seats map[*host]*seat
	used  uint64 // when it was last asked, by the count of questions
}

// seat is where a host is in a view.
type seat struct {
	always Reason // refusesAlways, kept
	able   bool
	count  int // tasks of the request's group that the path counts
	path   []*node
	index  int // in the leaf's able hosts
}

// node is a part of the instances.
type node struct {
	stage    int
	key      string
	rank     rank
	parent   *node
	hosts    int // below, able or not
	able     int // of them
	children map[string]*node
	// ordered holds the children that have an able host.
	ordered *btree.BTreeG[*node]
	// leaf holds the able hosts where no stage is left.
	leaf []*host
}

const degree = 16

func newView(r *Request) *view {
	v := &view{request: r, seats: make(map[*host]*seat), fixed: true}
	for _, s := range r.stages {
		v.fixed = v.fixed && s.spread
	}
	v.root = v.node(0, "", nil)
	return v
}

func (v *view) node(stage int, key string, parent *node) *node {
	n := &node{stage: stage, key: key, parent: parent}
	if parent != nil {
		n.rank.tie = tieOf(v.request.demand.Group, key)
	}
	if stage < len(v.request.stages) {
		n.children = make(map[string]*node)
		n.ordered = btree.NewG(degree, func(a, b *node) bool { return a.rank.less(a.key, b.rank, b.key) })
	}
	return n
}

// add seats a host.
func (v *view) add(h *host) {
	s := &seat{always: v.request.refusesAlways(h)}
	v.seats[h] = s
	v.sit(h, s)
}

// put seats a host anew whose own properties changed.
func (v *view) put(h *host) {
	v.remove(h)
	v.add(h)
}

func (v *view) remove(h *host) {
	if s := v.seats[h]; s != nil {
		v.rise(h, s)
		delete(v.seats, h)
	}
}

// changed moves a host whose tasks changed.
func (v *view) changed(h *host) {
	s := v.seats[h]
	if s == nil || v.fixed && s.able == v.able(h, s) && s.count == v.counts(h) {
		return
	}
	v.rise(h, s)
	v.sit(h, s)
}

func (v *view) able(h *host, s *seat) bool { return s.always == "" && v.request.refusesNow(h) == "" }

func (v *view) counts(h *host) int { return h.query.TaskGroups[v.request.demand.Group] }

// sit finds a host's path and counts it in along it.
func (v *view) sit(h *host, s *seat) {
	s.able, s.count = v.able(h, s), v.counts(h)
	s.path = append(s.path[:0], v.root)
	at := v.root
	for i, st := range v.request.stages {
		key := st.keyOf(h)
		child := at.children[key]
		if child == nil {
			child = v.node(i+1, key, at)
			if !st.spread {
				child.rank.value = st.packed(h)
			}
			at.children[key] = child
		}
		s.path = append(s.path, child)
		at = child
	}
	if s.able {
		s.index = len(at.leaf)
		at.leaf = append(at.leaf, h)
	}
	v.count(s, 1)
}

// rise counts a host out of its path.
func (v *view) rise(h *host, s *seat) {
	leaf := s.path[len(s.path)-1]
	if s.able {
		last := leaf.leaf[len(leaf.leaf)-1]
		leaf.leaf[s.index] = last
		v.seats[last].index = s.index
		leaf.leaf[len(leaf.leaf)-1] = nil
		leaf.leaf = leaf.leaf[:len(leaf.leaf)-1]
	}
	v.count(s, -1)
	for i := len(s.path) - 1; i > 0 && s.path[i].hosts == 0; i-- {
		delete(s.path[i-1].children, s.path[i].key)
	}
}

// count adds a seat's host to the nodes of its path, or takes it away, and
// keeps their order.
func (v *view) count(s *seat, by int) {
	for i, n := range s.path {
		if n.parent != nil && n.able > 0 {
			n.parent.ordered.Delete(n)
		}
		n.hosts += by
		if s.able {
			n.able += by
		}
		if i > 0 && v.request.stages[i-1].spread {
			n.rank.value += by * s.count
		}
		if n.parent != nil && n.able > 0 {
			n.parent.ordered.ReplaceOrInsert(n)
		}
	}
}

// best is the instance that a next task goes to.
func (v *view) best(pick func(n int) int) (string, bool) {
	at := v.root
	for at.ordered != nil {
		next, ok := at.ordered.Min()
		if !ok {
			return "", false
		}
		at = next
	}
	if len(at.leaf) == 0 {
		return "", false
	}
	return at.leaf[pick(len(at.leaf))].ID, true
}

// maxViews bounds what views cost: each holds every instance once, and each
// change of an instance touches them all.
const maxViews = 16

// views are those of the kinds of tasks that were asked for most recently.
type views struct {
	kept  map[string]*view
	asked map[string]bool
	now   uint64
}

// of is the request's view, nil where there is none.
func (vs *views) of(r *Request) *view {
	v := vs.kept[r.key]
	if v != nil {
		vs.now++
		v.used = vs.now
	}
	return v
}

// seen notes that a kind of task was asked for and tells whether it was
// before, not long ago.
func (vs *views) seen(key string) bool {
	if vs.asked[key] {
		return true
	}
	if vs.asked == nil || len(vs.asked) >= 4*maxViews {
		vs.asked = make(map[string]bool)
	}
	vs.asked[key] = true
	return false
}

// keep adds a view, and drops the one that was not asked for the longest.
func (vs *views) keep(v *view) {
	if vs.kept == nil {
		vs.kept = make(map[string]*view)
	}
	vs.now++
	v.used = vs.now
	vs.kept[v.request.key] = v
	if len(vs.kept) <= maxViews {
		return
	}
	oldest := v
	for _, other := range vs.kept {
		if other.used < oldest.used {
			oldest = other
		}
	}
	delete(vs.kept, oldest.request.key)
	delete(vs.asked, oldest.request.key)
}

func (vs *views) put(h *host) {
	for _, v := range vs.kept {
		v.put(h)
	}
}

func (vs *views) remove(h *host) {
	for _, v := range vs.kept {
		v.remove(h)
	}
}

func (vs *views) changed(h *host) {
	for _, v := range vs.kept {
		v.changed(h)
	}
}
