package local

import (
	"container/list"
	"sync"

	"roadstead.dev/internal/store"
)

// cache keeps entries of the base that were read lately, so that their values
// are decoded once. It holds none that a layer above the base hides: a flush
// renews what it changed before the layer goes.
type cache struct {
	max int // bytes of keys and values

	mu   sync.Mutex
	size int
	// used orders the entries by their latest use, the newest in front.
	used  list.List
	byKey map[store.Key]*list.Element
}

func newCache(most int) *cache { return &cache{max: most, byKey: map[store.Key]*list.Element{}} }

// cost of an entry: what it holds, and a guess at what its decoded form adds.
func cost(e *Entry) int {
	n := 512 + 3*len(e.Record.Value)
	for _, i := range e.Indexes {
		n += 32 + len(i.Value)
	}
	return n
}

func (c *cache) get(key *store.Key) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byKey[*key]
	if el == nil {
		return nil
	}
	c.used.MoveToFront(el)
	return el.Value.(*Entry)
}

// add keeps an entry that was read from the base, and returns the one that is
// kept, should another reader have been faster.
func (c *cache) add(e *Entry) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.byKey[e.Record.Key]; el != nil {
		return el.Value.(*Entry)
	}
	c.insert(e)
	return e
}

// renew makes the cache hold what the base does after a flush.
func (c *cache) renew(changes []Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range changes {
		if el := c.byKey[changes[i].Key]; el != nil {
			c.drop(el)
		}
		if e := changes[i].Entry; e != nil {
			c.insert(e)
		}
	}
}

func (c *cache) insert(e *Entry) {
	c.byKey[e.Record.Key] = c.used.PushFront(e)
	c.size += cost(e)
	for c.size > c.max && c.used.Len() > 1 {
		c.drop(c.used.Back())
	}
}

func (c *cache) drop(el *list.Element) {
	e := c.used.Remove(el).(*Entry)
	delete(c.byKey, e.Record.Key)
	c.size -= cost(e)
}
