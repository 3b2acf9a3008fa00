package logstore

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Range selects events by time and place. All bounds are optional: a zero
// Range is everything.
type Range struct {
	// From is the first timestamp, To the first that is too late (0: no bound).
	From, To int64
	// After and Before leave out what is not strictly behind, or before, them.
	After, Before Position
}

// low is the key to start from, high the first key that is too late (nil: no
// bound).
func (r Range) keys() (low, high []byte) {
	low = key(Position{Timestamp: max(r.From, 0)})
	if r.After != (Position{}) {
		if k := key(Position{r.After.Timestamp, r.After.Seq + 1}); bytes.Compare(k, low) > 0 {
			low = k
		}
	}
	if r.To > 0 {
		high = key(Position{Timestamp: r.To})
	}
	if r.Before != (Position{}) {
		if k := key(r.Before); high == nil || bytes.Compare(k, high) < 0 {
			high = k
		}
	}
	return low, high
}

// Read returns events of a stream in ascending order, at most limit of them
// and until their messages exceed maxBytes (one event is always returned):
// the first of the range, or the last with fromEnd.
func (s *Store) Read(stream Stream, r Range, fromEnd bool, limit, maxBytes int) ([]Event, error) {
	var out []Event
	err := s.db.View(func(tx *bolt.Tx) error {
		b := streamBucket(tx, stream)
		if b == nil {
			return nil
		}
		low, high := r.keys()
		c := b.Cursor()
		size := 0
		take := func(k, v []byte) bool {
			size += len(v) - 8 + overhead
			if len(out) == limit || len(out) > 0 && size > maxBytes {
				return false
			}
			out = append(out, decodeEvent(k, v))
			return true
		}
		if !fromEnd {
			for k, v := c.Seek(low); k != nil && (high == nil || bytes.Compare(k, high) < 0); k, v = c.Next() {
				if !take(k, v) {
					break
				}
			}
			return nil
		}
		k, v := last(c, high)
		for ; k != nil && bytes.Compare(k, low) >= 0; k, v = c.Prev() {
			if !take(k, v) {
				break
			}
		}
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read log events: %w", err)
	}
	return out, nil
}

// last moves to the last key before high.
func last(c *bolt.Cursor, high []byte) (k, v []byte) {
	if high == nil {
		return c.Last()
	}
	if k, _ := c.Seek(high); k == nil {
		return c.Last()
	}
	return c.Prev()
}

func streamBucket(tx *bolt.Tx, stream Stream) *bolt.Bucket {
	if stream.Group == "" || stream.ID == "" {
		return nil
	}
	g := tx.Bucket(eventsBucket).Bucket([]byte(stream.Group))
	if g == nil {
		return nil
	}
	return g.Bucket([]byte(stream.ID))
}

// Place is a position among the events of several streams, which are ordered
// by timestamp, then by stream id, then by arrival.
type Place struct {
	Timestamp int64
	Stream    string
	Seq       uint64
}

// Scan calls f for the events of several streams of a group in the order of
// Place, from the one behind after on, until f returns false or there are no
// more. From and To of r bound the time.
func (s *Store) Scan(group string, streams []string, r Range, after Place, f func(stream string, e Event) bool) error {
	err := s.db.View(func(tx *bolt.Tx) error {
		var h cursors
		_, high := r.keys()
		for _, id := range streams {
			b := streamBucket(tx, Stream{group, id})
			if b == nil {
				continue
			}
			low, _ := Range{From: r.From, After: placeIn(after, id)}.keys()
			c := &streamCursor{c: b.Cursor(), stream: id, high: high}
			c.k, c.v = c.c.Seek(low)
			if c.live() {
				h = append(h, c)
			}
		}
		heap.Init(&h)
		for len(h) > 0 {
			c := h[0]
			if !f(c.stream, decodeEvent(c.k, c.v)) {
				return nil
			}
			if c.k, c.v = c.c.Next(); c.live() {
				heap.Fix(&h, 0)
			} else {
				heap.Pop(&h)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("scan log events: %w", err)
	}
	return nil
}

// placeIn is the position in one stream behind which the events behind p lie.
func placeIn(p Place, stream string) Position {
	switch {
	case p == Place{}:
		return Position{}
	case stream < p.Stream: // all of this stream's events of the time came before
		return Position{p.Timestamp, ^uint64(0) - 1}
	case stream > p.Stream:
		if p.Timestamp == 0 {
			return Position{}
		}
		return Position{p.Timestamp - 1, ^uint64(0) - 1}
	default:
		return Position{p.Timestamp, p.Seq}
	}
}

type streamCursor struct {
	c      *bolt.Cursor
	stream string
	high   []byte
	k, v   []byte
}

func (c *streamCursor) live() bool {
	return c.k != nil && (c.high == nil || bytes.Compare(c.k, c.high) < 0)
}

type cursors []*streamCursor

func (h cursors) Len() int { return len(h) }
func (h cursors) Less(i, j int) bool {
	if d := bytes.Compare(h[i].k[:8], h[j].k[:8]); d != 0 {
		return d < 0
	}
	return h[i].stream < h[j].stream
}
func (h cursors) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)   { *h = append(*h, x.(*streamCursor)) }
func (h *cursors) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// Stats tells what is counted of a stream; zero where it never had an event.
func (s *Store) Stats(stream Stream) (Stats, error) {
	var st Stats
	err := s.db.View(func(tx *bolt.Tx) error {
		if g := tx.Bucket(statsBucket).Bucket([]byte(stream.Group)); g != nil {
			st = decodeStats(g.Get([]byte(stream.ID)))
		}
		return nil
	})
	return st, err
}

// GroupStats tells what is counted of each stream of a group, by stream id.
func (s *Store) GroupStats(group string) (map[string]Stats, error) {
	out := make(map[string]Stats)
	err := s.db.View(func(tx *bolt.Tx) error {
		g := tx.Bucket(statsBucket).Bucket([]byte(group))
		if g == nil {
			return nil
		}
		return g.ForEach(func(k, v []byte) error {
			out[string(k)] = decodeStats(v)
			return nil
		})
	})
	return out, err
}

// Groups lists the groups that hold events.
func (s *Store) Groups() ([]string, error) {
	var out []string
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(eventsBucket).ForEach(func(k, _ []byte) error {
			out = append(out, string(k))
			return nil
		})
	})
	return out, err
}

// Cursors reads all cursors.
func (s *Store) Cursors() (map[string]int64, error) {
	out := make(map[string]int64)
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(cursorsBucket).ForEach(func(k, v []byte) error {
			if len(v) == 8 {
				out[string(k)] = int64(binary.BigEndian.Uint64(v))
			}
			return nil
		})
	})
	return out, err
}
