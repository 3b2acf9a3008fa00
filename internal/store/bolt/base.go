package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"

	"go.etcd.io/bbolt"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// file is a store on disk: the pages, and the log of what is not there yet.
type file struct {
	db   *bbolt.DB
	path string
	// flushAt is how long a segment may grow.
	flushAt int64

	// Used by whoever writes the log.
	segment *segment
	last    uint64 // revision of the last frame
	broken  error  // the disk cannot even take back a write
	scratch []byte

	// next is the segment that the log goes on in, made ahead by the flush
	// before; nil until there was one.
	next chan *segment
}

var (
	_ local.Log  = (*file)(nil)
	_ local.Base = (*file)(nil)
)

// Write implements local.Log.
func (f *file) Write(changes []local.Change, revision uint64) error {
	if f.broken != nil {
		return f.broken
	}
	f.scratch = append(f.scratch[:0], make([]byte, frameHeader)...)
	f.scratch = appendChanges(f.scratch, changes)
	err := f.segment.append(f.scratch, f.last+1, revision)
	if cap(f.scratch) > 4*chunk {
		f.scratch = nil
	}
	if err != nil {
		err = fmt.Errorf("write log: %w", err)
		if rerr := f.segment.revoke(); rerr != nil {
			f.broken = errors.Join(err, fmt.Errorf("take it back: %w", rerr))
		}
		return err
	}
	f.last = revision
	return nil
}

// Due implements local.Base.
func (f *file) Due() bool { return f.segment.end > f.flushAt }

// Cut implements local.Base.
func (f *file) Cut() error {
	var next *segment
	select {
	case next = <-f.next:
	default:
		var err error
		if next, err = createSegment(f.path, f.segment.number+1, ""); err != nil {
			return err
		}
	}
	old := f.segment
	f.segment = next
	return old.file.Close()
}

// Flush implements local.Base.
func (f *file) Flush(changes []local.Change, revision uint64) (err error) {
	defer contain(&err)
	defer faultsPanic()()
	active := f.segment.number // of the segment that the Cut began
	err = f.db.Update(func(tx *bbolt.Tx) error {
		w := pageWriter{tx.Bucket(recordsBucket), tx.Bucket(indexBucket)}
		for i := range changes {
			if err := w.write(&changes[i]); err != nil {
				return fmt.Errorf("%s: %w", changes[i].Key, err)
			}
		}
		meta := tx.Bucket(metaBucket)
		if err := putNumber(meta, logKey, active); err != nil {
			return err
		}
		return putNumber(meta, revisionKey, revision)
	})
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return f.dropBefore(active)
}

// dropBefore removes the segments before number, and makes one of them the
// next.
func (f *file) dropBefore(number uint64) error {
	all, err := findSegments(f.path)
	if err != nil {
		return err
	}
	spare := ""
	for _, n := range all {
		switch {
		case n >= number:
			continue
		case spare == "" && len(f.next) == 0:
			spare = segmentPath(f.path, n)
		default:
			if err := os.Remove(segmentPath(f.path, n)); err != nil {
				return fmt.Errorf("remove log: %w", err)
			}
		}
	}
	if spare == "" {
		return nil
	}
	next, err := createSegment(f.path, number+1, spare)
	if err != nil {
		return err
	}
	f.next <- next
	return nil
}

// Close implements local.Log.
func (f *file) Close() error {
	errs := []error{f.segment.file.Close()}
	select {
	case next := <-f.next:
		errs = append(errs, next.file.Close(), os.Remove(segmentPath(f.path, next.number)))
	default:
	}
	return errors.Join(append(errs, f.db.Close())...)
}

// pageWriter puts changes into the file of pages.
type pageWriter struct{ records, index *bbolt.Bucket }

func (w pageWriter) write(c *local.Change) error {
	key := encodeKey(c.Key)
	var old, now []store.Index
	if v := w.records.Get(key); v != nil {
		e, err := decodeSummed(c.Key, key, v)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		old = e.Indexes
	}
	if c.Entry != nil {
		now = c.Entry.Indexes
	}
	for _, i := range old {
		if !slices.Contains(now, i) {
			if err := w.index.Delete(indexKey(&c.Key, i)); err != nil {
				return err
			}
		}
	}
	for _, i := range now {
		if !slices.Contains(old, i) {
			if err := w.index.Put(indexKey(&c.Key, i), nil); err != nil {
				return err
			}
		}
	}
	if c.Entry == nil {
		return w.records.Delete(key)
	}
	return w.records.Put(key, encodeSummed(key, c.Entry))
}

// Get implements local.Base.
func (f *file) Get(key *store.Key) (e *local.Entry, err error) {
	defer contain(&err)
	defer faultsPanic()()
	err = f.db.View(func(tx *bbolt.Tx) error {
		e, err = f.read(tx.Bucket(recordsBucket), *key)
		return err
	})
	return e, err
}

// read reads an entry; nil when there is none.
func (f *file) read(records *bbolt.Bucket, key store.Key) (*local.Entry, error) {
	var scratch [256]byte
	k := appendKey(scratch[:0], &key)
	v := records.Get(k)
	if v == nil {
		return nil, nil
	}
	e, err := decodeSummed(key, k, v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return e, nil
}

// List implements local.Base.
func (f *file) List(q *store.Query, visit func(*store.Key, func() (*local.Entry, error)) bool) (err error) {
	defer contain(&err)
	defer faultsPanic()()
	return f.db.View(func(tx *bbolt.Tx) error {
		records := tx.Bucket(recordsBucket)
		start := local.Start(q)
		if q.Index.Name != "" {
			prefix := appendIndex(nil, q.Kind, q.Index)
			return walk(tx.Bucket(indexBucket), prefix, q, &start, func(key *store.Key, _, _ []byte) bool {
				return visit(key, func() (*local.Entry, error) {
					e, err := f.read(records, *key)
					if e == nil && err == nil {
						err = fmt.Errorf("%w: %s is in an index alone", ErrDamaged, key)
					}
					return e, err
				})
			})
		}
		prefix := append(append([]byte(nil), q.Kind.Service...), 0)
		prefix = append(append(prefix, q.Kind.Name...), 0)
		return walk(records, prefix, q, &start, func(key *store.Key, k, v []byte) bool {
			return visit(key, func() (*local.Entry, error) {
				e, err := decodeSummed(*key, k, v)
				if err != nil {
					err = fmt.Errorf("%w: %w", ErrDamaged, err)
				}
				return e, err
			})
		})
	})
}

// walk visits what q selects among the keys that begin with prefix.
func walk(b *bbolt.Bucket, prefix []byte, q *store.Query, start *store.Key, visit func(key *store.Key, k, v []byte) bool) error {
	c := b.Cursor()
	from := prefix
	if start.Account != "" {
		from = appendPlace(bytes.Clone(prefix), start)
	}
	for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		key, err := decodePlace(q.Kind, string(k[len(prefix):]))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		take, on := local.Match(q, &key)
		if take && !visit(&key, k, v) || !take && !on {
			return nil
		}
	}
	return nil
}

// contain turns a fault or a panic, which torn pages give bbolt, into an
// error. It is deferred.
func contain(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
}

func putNumber(b *bbolt.Bucket, key []byte, n uint64) error {
	return b.Put(key, binary.BigEndian.AppendUint64(nil, n))
}

// faultsPanic makes a page that cannot be read a panic, in this goroutine and
// until the result is called.
func faultsPanic() func() {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
