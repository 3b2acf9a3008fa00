package metricstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	bolt "go.etcd.io/bbolt"

	"roadstead.dev/internal/clock"
)

// ageEvery is how often old data is looked for; ageChunk is how much of it one
// transaction takes.
const (
	ageEvery = time.Hour
	ageChunk = 5000
)

// Run lets data grow coarser with age, and forgets what is too old, until ctx
// ends. What fails, on a full disk, is tried again.
func (s *Store) Run(ctx context.Context, c clock.Clock, log *slog.Logger) error {
	for {
		if err := s.Age(ctx, c.Now()); err != nil && ctx.Err() == nil {
			log.Error("metrics do not age; it is tried again", "error", err)
		}
		if !clock.Sleep(ctx, c, ageEvery) {
			return nil
		}
	}
}

// Age makes five minutes of minutes that are too old, and hours of those, and
// removes hours and metrics that are.
func (s *Store) Age(ctx context.Context, now time.Time) error {
	for i := range resolutions {
		before := now.Add(-resolutions[i].keep).Unix()
		for id := uint64(0); ; {
			if err := ctx.Err(); err != nil {
				return err
			}
			more := false
			err := s.db.Update(func(tx *bolt.Tx) (err error) {
				id, more, err = ageSome(tx, i, id, before)
				return err
			})
			if err != nil {
				return fmt.Errorf("age metric data: %w", err)
			}
			if !more {
				break
			}
		}
	}
	return s.forget(now)
}

// ageSome moves points of a resolution, from a series on, that are from before
// a time to the next resolution. It tells where to go on.
func ageSome(tx *bolt.Tx, resolution int, id uint64, before int64) (next uint64, more bool, err error) {
	b := tx.Bucket(resolutions[resolution].bucket)
	c := b.Cursor()
	var old [][]byte
	k, _ := c.Seek(pointKey(id, 0))
	for k != nil && len(old) < ageChunk {
		id = binary.BigEndian.Uint64(k)
		if int64(binary.BigEndian.Uint64(k[8:])) >= before {
			k, _ = c.Seek(pointKey(id+1, 0))
			continue
		}
		old = append(old, append([]byte(nil), k...))
		k, _ = c.Next()
	}
	for _, k := range old {
		if resolution+1 < len(resolutions) {
			r := resolutions[resolution+1]
			set, err := decodeSet(b.Get(k))
			if err != nil {
				return 0, false, err
			}
			width := int64(r.width / time.Second)
			at := int64(binary.BigEndian.Uint64(k[8:]))
			if err := merge(tx.Bucket(r.bucket), pointKey(binary.BigEndian.Uint64(k), at-at%width), &set); err != nil {
				return 0, false, err
			}
		}
		if err := b.Delete(k); err != nil {
			return 0, false, err
		}
	}
	return id, len(old) == ageChunk, nil
}

// forget removes the metrics that no data is left of.
func (s *Store) forget(now time.Time) error {
	before := now.Add(-resolutions[len(resolutions)-1].keep).Unix()
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(seriesBucket)
		var old [][]byte
		err := b.ForEach(func(k, v []byte) error {
			if _, last := decodeSeries(v); last < before {
				old = append(old, append([]byte(nil), k...))
			}
			return nil
		})
		for _, k := range old {
			err = errors.Join(err, b.Delete(k))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("forget metrics: %w", err)
	}
	return nil
}
