// Package logstore keeps log events: an embedded store ordered by timestamp
// and then by arrival, one sequence for each stream.
//
// Streams are named by opaque unique ids of a group and of a stream within
// it; what they are called, and whether they exist, is the caller's business.
// What Append acknowledges survives kill -9.
package logstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// ErrClosed means that the store was closed.
var ErrClosed = errors.New("log store is closed")

// Stream names a stream: the unique id of its group, and its own.
type Stream struct{ Group, ID string }

// Position is a place in the order of a stream's events.
type Position struct {
	// Timestamp in milliseconds since 1970.
	Timestamp int64
	// Seq counts the events of a stream in the order of their arrival, from 1.
	Seq uint64
}

// Less tells whether p comes before q.
func (p Position) Less(q Position) bool {
	return p.Timestamp < q.Timestamp || p.Timestamp == q.Timestamp && p.Seq < q.Seq
}

// Event is a log event. Times are in milliseconds since 1970.
type Event struct {
	Position
	Ingestion int64
	Message   string
}

// Batch is events for one stream.
type Batch struct {
	Stream Stream
	// Ingestion is when the events arrived.
	Ingestion int64
	// Events in any order; Seq and Ingestion of each are set by the store.
	Events []Event
}

// Stats are what is counted of a stream. Times are zero where there is none.
type Stats struct {
	First, Last   int64
	LastIngestion int64
	Bytes, Events int64
}

// overhead is what CloudWatch counts for an event beyond its message.
const overhead = 26

// Buckets: events/<group>/<stream> holds timestamp and sequence → ingestion
// and message; stats/<group>/<stream> holds Stats; cursors holds an offset by
// name.
var (
	eventsBucket  = []byte("events")
	statsBucket   = []byte("stats")
	cursorsBucket = []byte("cursors")
)

// Store is an open log store. It is safe for concurrent use.
type Store struct {
	db *bolt.DB

	appends chan *appendRequest
	closing chan struct{}
	// stopped is closed when nothing is committed any more.
	stopped chan struct{}
	once    sync.Once
}

// Open opens or makes the store in a file.
func Open(path string) (*Store, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         5 * time.Second,
		FreelistType:    bolt.FreelistMapType,
		NoFreelistSync:  true,
		InitialMmapSize: 64 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("open log store %s: %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{eventsBucket, statsBucket, cursorsBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log store %s: %w", path, err), db.Close())
	}
	s := &Store{db: db, appends: make(chan *appendRequest, 256), closing: make(chan struct{}), stopped: make(chan struct{})}
	go s.commitLoop()
	return s, nil
}

// Close ends the store; appends that are under way are finished first.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closing)
		<-s.stopped
		err = s.db.Close()
	})
	return err
}

type appendRequest struct {
	batches []Batch
	cursors map[string]int64
	result  chan error
}

// Append stores batches and moves cursors, all at once, and returns when it is
// durable. A cursor is a number kept under a name: how far a source of events
// has been read. A negative one is forgotten.
func (s *Store) Append(ctx context.Context, batches []Batch, cursors map[string]int64) error {
	r := &appendRequest{batches, cursors, make(chan error, 1)}
	select {
	case s.appends <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	select {
	case err := <-r.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		// Queued as the store closed: answered just before, or never.
		select {
		case err := <-r.result:
			return err
		default:
			return ErrClosed
		}
	}
}

// maxGroup bounds how many appends share a transaction.
const maxGroup = 256

// commitLoop, which Close joins, writes what has queued up while the last transaction was synced.
func (s *Store) commitLoop() {
	defer close(s.stopped)
	for {
		select {
		case r := <-s.appends:
			s.commit(s.gather([]*appendRequest{r}))
		case <-s.closing:
			for {
				select {
				case r := <-s.appends:
					r.result <- ErrClosed
				default:
					return
				}
			}
		}
	}
}

func (s *Store) gather(group []*appendRequest) []*appendRequest {
	for len(group) < maxGroup {
		select {
		case r := <-s.appends:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

func (s *Store) commit(group []*appendRequest) {
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, r := range group {
			if err := r.apply(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("append log events: %w", err)
	}
	for _, r := range group {
		r.result <- err
	}
}

func (r *appendRequest) apply(tx *bolt.Tx) error {
	for i := range r.batches {
		if err := r.batches[i].apply(tx); err != nil {
			return err
		}
	}
	cursors := tx.Bucket(cursorsBucket)
	for name, offset := range r.cursors {
		var err error
		if offset < 0 {
			err = cursors.Delete([]byte(name))
		} else {
			err = cursors.Put([]byte(name), binary.BigEndian.AppendUint64(nil, uint64(offset)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Batch) apply(tx *bolt.Tx) error {
	if len(b.Events) == 0 {
		return nil
	}
	group, err := tx.Bucket(eventsBucket).CreateBucketIfNotExists([]byte(b.Stream.Group))
	if err != nil {
		return err
	}
	stream, err := group.CreateBucketIfNotExists([]byte(b.Stream.ID))
	if err != nil {
		return err
	}
	statsGroup, err := tx.Bucket(statsBucket).CreateBucketIfNotExists([]byte(b.Stream.Group))
	if err != nil {
		return err
	}
	st := decodeStats(statsGroup.Get([]byte(b.Stream.ID)))
	seq := stream.Sequence()
	for i := range b.Events {
		e := &b.Events[i]
		seq++
		value := make([]byte, 0, 8+len(e.Message))
		value = binary.BigEndian.AppendUint64(value, uint64(b.Ingestion))
		value = append(value, e.Message...)
		if err := stream.Put(key(Position{e.Timestamp, seq}), value); err != nil {
			return err
		}
		if st.Events == 0 || e.Timestamp < st.First {
			st.First = e.Timestamp
		}
		st.Last = max(st.Last, e.Timestamp)
		st.Events++
		st.Bytes += int64(len(e.Message)) + overhead
	}
	st.LastIngestion = max(st.LastIngestion, b.Ingestion)
	if err := stream.SetSequence(seq); err != nil {
		return err
	}
	return statsGroup.Put([]byte(b.Stream.ID), st.encode())
}

// key orders by timestamp, then by arrival. Timestamps are never negative.
func key(p Position) []byte {
	k := make([]byte, 0, 16)
	k = binary.BigEndian.AppendUint64(k, uint64(p.Timestamp))
	return binary.BigEndian.AppendUint64(k, p.Seq)
}

func decodeEvent(k, v []byte) Event {
	return Event{
		Position:  Position{int64(binary.BigEndian.Uint64(k)), binary.BigEndian.Uint64(k[8:])},
		Ingestion: int64(binary.BigEndian.Uint64(v)),
		Message:   string(v[8:]),
	}
}

func (st Stats) encode() []byte {
	b := make([]byte, 0, 40)
	for _, n := range []int64{st.First, st.Last, st.LastIngestion, st.Bytes, st.Events} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func decodeStats(b []byte) Stats {
	if len(b) != 40 {
		return Stats{}
	}
	n := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[8*i:])) }
	return Stats{n(0), n(1), n(2), n(3), n(4)}
}
