package edge

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultMaxConns is how many connections there may be where the process may
// open files enough.
const DefaultMaxConns = 4096

// sharedFiles is what the rest of the program needs of the files that it may
// open: records, logs, containers, load balancers.
const sharedFiles = 1024

// MaxConns is DefaultMaxConns, or less where the limit of open files says so.
func MaxConns() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return DefaultMaxConns
	}
	return connsFor(l.Cur)
}

// connsFor is half of what sharedFiles leaves of n files, since a connection
// may need a second one to what it is relayed to.
func connsFor(n uint64) int {
	if n >= sharedFiles+2*DefaultMaxConns {
		return DefaultMaxConns
	}
	return int(max(n, sharedFiles+64)-sharedFiles) / 2
}

// freshGrace is how long a new connection may take to its first request before
// it is the first to go when room is needed.
const freshGrace = time.Second

// phase is what a connection does.
type phase uint8

const (
	fresh  phase = iota // has not sent a whole head yet
	idle                // between two requests
	active              // has a request that is being answered
)

// Conns bounds the connections of one or several servers. When all places are
// taken, the connection that matters least makes room for a new one: one that
// is slow to begin, then the one that has been idle for the longest. Where all
// are busy, new ones wait.
type Conns struct {
	max int

	mu      sync.Mutex
	open    int
	waiting [active]list.List // of *conn: fresh and idle ones, the oldest first
	freed   chan struct{}     // closed when a place may be had; nil when nobody waits
}

// NewConns bounds connections to n.
func NewConns(n int) *Conns { return &Conns{max: max(n, 1)} }

// Open is how many connections there are.
func (cs *Conns) Open() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open
}

// admit finds a place for c, or gives up when done is closed.
func (cs *Conns) admit(c *conn, done <-chan struct{}) bool {
	for {
		cs.mu.Lock()
		if cs.open < cs.max {
			cs.open++
			c.place(fresh)
			cs.mu.Unlock()
			return true
		}
		victim := cs.victim()
		if cs.freed == nil {
			cs.freed = make(chan struct{})
		}
		freed := cs.freed
		cs.mu.Unlock()
		if victim != nil {
			_ = victim.Close() // gives its place back
			continue
		}
		select {
		case <-freed:
		case <-done:
			return false
		}
	}
}

// victim is called with mu held.
func (cs *Conns) victim() *conn {
	oldest := func(p phase) *conn {
		if e := cs.waiting[p].Front(); e != nil {
			return e.Value.(*conn)
		}
		return nil
	}
	slow, quiet := oldest(fresh), oldest(idle)
	if slow != nil && (quiet == nil || time.Since(slow.since) > freshGrace) {
		return slow
	}
	return quiet
}

// move says what a connection does now.
func (cs *Conns) move(c *conn, p phase) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.gone || c.phase == p {
		return
	}
	c.unplace()
	c.place(p)
	if p != active {
		cs.wake()
	}
}

// wake has those who wait look again. It is called with mu held.
func (cs *Conns) wake() {
	if cs.freed != nil {
		close(cs.freed)
		cs.freed = nil
	}
}

// leave gives a connection's place back, once.
func (cs *Conns) leave(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	c.unplace()
	cs.open--
	cs.wake()
}

// place and unplace keep the lists; they are called with the bound's mu held.
func (c *conn) place(p phase) {
	c.phase, c.since = p, time.Now()
	if p != active {
		c.element = c.conns.waiting[p].PushBack(c)
	}
}

func (c *conn) unplace() {
	if c.element != nil {
		c.conns.waiting[c.phase].Remove(c.element)
		c.element = nil
	}
}
