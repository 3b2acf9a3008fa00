package logstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// DeleteGroup removes a group's streams and events.
func (s *Store) DeleteGroup(group string) error {
	return s.update("delete log group", func(tx *bolt.Tx) error {
		return errors.Join(
			drop(tx.Bucket(eventsBucket), group),
			drop(tx.Bucket(statsBucket), group))
	})
}

// DeleteStream removes a stream's events.
func (s *Store) DeleteStream(stream Stream) error {
	return s.update("delete log stream", func(tx *bolt.Tx) error {
		if g := tx.Bucket(eventsBucket).Bucket([]byte(stream.Group)); g != nil {
			if err := drop(g, stream.ID); err != nil {
				return err
			}
		}
		if g := tx.Bucket(statsBucket).Bucket([]byte(stream.Group)); g != nil {
			return g.Delete([]byte(stream.ID))
		}
		return nil
	})
}

func drop(b *bolt.Bucket, name string) error {
	if err := b.DeleteBucket([]byte(name)); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
		return err
	}
	return nil
}

// expireChunk is how many events one transaction of Expire removes.
const expireChunk = 5000

// Expire removes the events of a group that are older than before, in
// milliseconds since 1970, and tells how many there were.
func (s *Store) Expire(ctx context.Context, group string, before int64) (int, error) {
	stats, err := s.GroupStats(group)
	if err != nil {
		return 0, err
	}
	total := 0
	for id, st := range stats {
		for st.Events > 0 && st.First < before {
			if err := ctx.Err(); err != nil {
				return total, err
			}
			n, left, err := s.expireSome(Stream{group, id}, before)
			total += n
			if err != nil {
				return total, err
			}
			if n == 0 {
				break
			}
			st = left
		}
	}
	return total, nil
}

func (s *Store) expireSome(stream Stream, before int64) (n int, st Stats, err error) {
	err = s.update("expire log events", func(tx *bolt.Tx) error {
		n = 0
		b := streamBucket(tx, stream)
		g := tx.Bucket(statsBucket).Bucket([]byte(stream.Group))
		if b == nil || g == nil {
			return nil
		}
		st = decodeStats(g.Get([]byte(stream.ID)))
		limit := key(Position{Timestamp: max(before, 0)})
		var old [][]byte
		c := b.Cursor()
		k, v := c.First()
		for ; k != nil && string(k) < string(limit) && len(old) < expireChunk; k, v = c.Next() {
			old = append(old, slices.Clone(k))
			st.Events--
			st.Bytes -= int64(len(v)) - 8 + overhead
		}
		if k != nil {
			st.First = decodeEvent(k, v).Timestamp
		}
		if st.Events == 0 {
			st = Stats{LastIngestion: st.LastIngestion}
		}
		for _, k := range old {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		n = len(old)
		return g.Put([]byte(stream.ID), st.encode())
	})
	return n, st, err
}

func (s *Store) update(what string, f func(*bolt.Tx) error) error {
	if err := s.db.Update(f); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
