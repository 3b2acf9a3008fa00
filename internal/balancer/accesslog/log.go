package accesslog

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l7"
)

// maxKept bounds what an output keeps until it is fetched.
const maxKept = 16 << 20

// Output is where entries of a kind are kept, in a format, until they are
// fetched. Safe for concurrent use.
type Output struct {
	kind    Kind
	limit   int
	dropped atomic.Int64

	access     *writer[request]
	connection *writer[connection]
	passed     *writer[passed]
	secured    *writer[secured]
	checks     *writer[check]

	mu    sync.Mutex
	nodes []node
	size  int
}

// node is what one node of the load balancer has logged.
type node struct {
	addr  netip.Addr
	lines []byte
}

// NewOutput makes an output without entries.
func NewOutput(k Kind, f Format) *Output {
	o := &Output{kind: k, limit: maxKept}
	switch k {
	case Access:
		o.access = newWriter(accessFields, f)
	case Connection:
		o.connection = newWriter(connectionFields, f)
	case Classic:
		o.access, o.passed = newWriter(classicFields, f), newWriter(passedFields, f)
	case Checks:
		o.checks = newWriter(checkFields, f)
	case Network:
		o.secured = newWriter(securedFields, f)
	}
	return o
}

// Fetch hands over the entries since it was called last: whole lines, by the
// address of the node that they are of. They belong to the caller.
func (o *Output) Fetch(yield func(node netip.Addr, lines []byte)) {
	o.mu.Lock()
	ns := o.nodes
	o.nodes, o.size = nil, 0
	o.mu.Unlock()
	for _, n := range ns {
		if len(n.lines) > 0 {
			yield(n.addr, n.lines)
		}
	}
	// What was needed is likely to be needed again.
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range ns {
		if !slices.ContainsFunc(o.nodes, func(x node) bool { return x.addr == n.addr }) {
			o.nodes = append(o.nodes, node{addr: n.addr, lines: make([]byte, 0, len(n.lines))})
		}
	}
}

// Dropped counts the entries that nothing was kept of, since there were too
// many.
func (o *Output) Dropped() int64 { return o.dropped.Load() }

// write lets f append an entry of a node.
func (o *Output) write(addr netip.Addr, f func([]byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size >= o.limit {
		o.dropped.Add(1)
		return
	}
	i := slices.IndexFunc(o.nodes, func(n node) bool { return n.addr == addr })
	if i < 0 {
		i = len(o.nodes)
		o.nodes = append(o.nodes, node{addr: addr})
	}
	before := len(o.nodes[i].lines)
	o.nodes[i].lines = f(o.nodes[i].lines)
	o.size += len(o.nodes[i].lines) - before
}

// Log is what one load balancer logs. It never changes.
type Log struct {
	// balancer is the load balancer's resource id, app/name/id, or its name.
	balancer           string
	access, connection []*Output
	passed, secured    []*Output
	checks             []*Output
}

var (
	_ l7.AccessLog       = (*Log)(nil)
	_ l7.ConnectionLog   = (*Log)(nil)
	_ conduit.AccessLog  = (*Log)(nil)
	_ conduit.SessionLog = (*Log)(nil)
)

// NewLog makes the log of a load balancer, whose resource id is app/name/id; a
// classic one's is its name.
func NewLog(balancer string, outputs []*Output) *Log {
	l := &Log{balancer: balancer}
	for _, o := range outputs {
		switch o.kind {
		case Access:
			l.access = append(l.access, o)
		case Connection:
			l.connection = append(l.connection, o)
		case Classic:
			l.access, l.passed = append(l.access, o), append(l.passed, o)
		case Checks:
			l.checks = append(l.checks, o)
		case Network:
			l.secured = append(l.secured, o)
		}
	}
	return l
}

// Access is what to tell of requests, nil for nothing.
func (l *Log) Access() l7.AccessLog {
	if len(l.access) == 0 {
		return nil
	}
	return l
}

// Connections is what to tell of connections, nil for nothing.
func (l *Log) Connections() l7.ConnectionLog {
	if len(l.connection) == 0 {
		return nil
	}
	return l
}

// Streams is what to tell of connections that are passed on, nil for nothing.
func (l *Log) Streams() conduit.AccessLog {
	if len(l.passed) == 0 {
		return nil
	}
	return l
}

// Secure is what to tell of connections of a network load balancer's TLS
// listeners, nil for nothing.
func (l *Log) Secure() conduit.SessionLog {
	if len(l.secured) == 0 {
		return nil
	}
	return l
}

// Request implements l7.AccessLog.
func (l *Log) Request(r *l7.Record) {
	for _, o := range l.access {
		o.write(r.Node, func(b []byte) []byte { return o.access.append(b, &request{r, l.balancer}) })
	}
}

// Connection implements l7.ConnectionLog.
func (l *Log) Connection(c *l7.Connection) {
	for _, o := range l.connection {
		o.write(c.Node, func(b []byte) []byte { return o.connection.append(b, &connection{c, l.balancer}) })
	}
}

// Passed implements conduit.AccessLog.
func (l *Log) Passed(r *conduit.Record) {
	for _, o := range l.passed {
		o.write(r.Node, func(b []byte) []byte { return o.passed.append(b, &passed{r, l.balancer}) })
	}
}

// Secured implements conduit.SessionLog.
func (l *Log) Secured(r *conduit.Session) {
	for _, o := range l.secured {
		o.write(r.Destination.Addr(), func(b []byte) []byte { return o.secured.append(b, &secured{r, l.balancer}) })
	}
}

// Check tells of a health check.
func (l *Log) Check(c *Check) {
	for _, o := range l.checks {
		o.write(c.Node, func(b []byte) []byte { return o.checks.append(b, &check{c, l.balancer}) })
	}
}
