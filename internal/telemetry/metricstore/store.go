// Package metricstore keeps metrics: for each minute, metric and unit the
// statistics of the values, and a sketch from which percentiles are read.
//
// Minutes are kept for 15 days, then five minutes as one for 63 days, then
// hours for 455 days, as CloudWatch does. What Put acknowledges survives
// kill -9.
package metricstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Datum is values of a metric at one time.
type Datum struct {
	Metric Metric
	// Unit is None where none is told.
	Unit string
	At   time.Time
	Set  Set
}

// Point is the statistics of a metric in one period.
type Point struct {
	// Start of the period.
	Start time.Time
	Unit  string
	Set
}

// Resolutions in which data is kept, and for how long.
var resolutions = []struct {
	bucket []byte
	width  time.Duration
	keep   time.Duration
}{
	{[]byte("minutes"), time.Minute, 15 * day},
	{[]byte("fives"), 5 * time.Minute, 63 * day},
	{[]byte("hours"), time.Hour, 455 * day},
}

const day = 24 * time.Hour

// Buckets: series holds the key of a series → its number and the time of its
// latest data; minutes, fives and hours hold number and time → Set.
var seriesBucket = []byte("series")

// Store is an open metric store. It is safe for concurrent use.
type Store struct{ db *bolt.DB }

// Open opens or makes the store in a file.
func Open(path string) (*Store, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: 5 * time.Second, FreelistType: bolt.FreelistMapType, NoFreelistSync: true})
	if err != nil {
		return nil, fmt.Errorf("open metric store %s: %w", path, err)
	}
	db.MaxBatchDelay = 2 * time.Millisecond
	err = db.Update(func(tx *bolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(seriesBucket); err != nil {
			return err
		}
		for _, r := range resolutions {
			if _, err := tx.CreateBucketIfNotExists(r.bucket); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open metric store %s: %w", path, err), db.Close())
	}
	return &Store{db: db}, nil
}

// Close ends the store.
func (s *Store) Close() error { return s.db.Close() }

// separator stands between the parts of a series' key; none of them has it.
const separator = "\x00"

// seriesKey is that of a metric in a unit.
func seriesKey(m *Metric, unit string) []byte {
	parts := append(make([]string, 0, 5+2*len(m.Dimensions)), m.Account, m.Region, m.Namespace, m.Name)
	for _, d := range m.Dimensions {
		parts = append(parts, d.Name, d.Value)
	}
	return []byte(strings.Join(append(parts, unit), separator))
}

func parseSeries(k []byte) (m Metric, unit string, ok bool) {
	parts := strings.Split(string(k), separator)
	if len(parts) < 5 || len(parts)%2 == 0 {
		return m, "", false
	}
	m = Metric{Account: parts[0], Region: parts[1], Namespace: parts[2], Name: parts[3]}
	for i := 4; i < len(parts)-1; i += 2 {
		m.Dimensions = append(m.Dimensions, Dimension{parts[i], parts[i+1]})
	}
	return m, parts[len(parts)-1], true
}

// Put adds data, all of it or none, and returns when it is durable.
func (s *Store) Put(_ context.Context, data []Datum) error {
	if len(data) == 0 {
		return nil
	}
	err := s.db.Batch(func(tx *bolt.Tx) error {
		for i := range data {
			if err := put(tx, &data[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put metric data: %w", err)
	}
	return nil
}

func put(tx *bolt.Tx, d *Datum) error {
	at := d.At.Truncate(time.Minute).Unix()
	series := tx.Bucket(seriesBucket)
	key := seriesKey(&d.Metric, d.Unit)
	id, last := decodeSeries(series.Get(key))
	if id == 0 {
		var err error
		if id, err = series.NextSequence(); err != nil {
			return err
		}
	}
	if at > last {
		if err := series.Put(key, encodeSeries(id, at)); err != nil {
			return err
		}
	}
	return merge(tx.Bucket(resolutions[0].bucket), pointKey(id, at), &d.Set)
}

func encodeSeries(id uint64, last int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), uint64(last))
}

func decodeSeries(v []byte) (id uint64, last int64) {
	if len(v) != 16 {
		return 0, 0
	}
	return binary.BigEndian.Uint64(v), int64(binary.BigEndian.Uint64(v[8:]))
}

func pointKey(id uint64, at int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, id), uint64(max(at, 0)))
}

// merge adds a set to what there is at a key.
func merge(b *bolt.Bucket, key []byte, set *Set) error {
	var all Set
	if v := b.Get(key); v != nil {
		var err error
		if all, err = decodeSet(v); err != nil {
			return err
		}
	}
	all.Merge(set)
	return b.Put(key, all.encode())
}

// Read returns the statistics of a metric from a time on until before another,
// in periods that begin at from, in ascending order; of periods without values
// there are none. Unit is empty for all units, which are not mixed.
func (s *Store) Read(m Metric, unit string, from, to time.Time, period time.Duration) ([]Point, error) {
	if period <= 0 {
		return nil, errPeriod
	}
	var out []Point
	err := s.db.View(func(tx *bolt.Tx) error {
		prefix := seriesKey(&m, unit)
		c := tx.Bucket(seriesBucket).Cursor()
		for k, v := c.Seek(prefix); k != nil && strings.HasPrefix(string(k), string(prefix)); k, v = c.Next() {
			u := string(k[len(prefix):])
			if unit != "" {
				if u != "" {
					break
				}
				u = unit
			}
			if strings.Contains(u, separator) {
				continue // a metric with more dimensions
			}
			id, _ := decodeSeries(v)
			points, err := readSeries(tx, id, from, to, period)
			if err != nil {
				return err
			}
			for i := range points {
				points[i].Unit = u
			}
			out = append(out, points...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read metric %s: %w", m.Name, err)
	}
	return out, nil
}

var errPeriod = errors.New("period must be positive")

// readSeries aggregates what all resolutions have.
func readSeries(tx *bolt.Tx, id uint64, from, to time.Time, period time.Duration) ([]Point, error) {
	var out []Point
	// The coarser resolutions are the older ones.
	for _, r := range slices.Backward(resolutions) {
		c := tx.Bucket(r.bucket).Cursor()
		end := pointKey(id, to.Unix())
		for k, v := c.Seek(pointKey(id, from.Unix())); k != nil && string(k) < string(end); k, v = c.Next() {
			set, err := decodeSet(v)
			if err != nil {
				return nil, err
			}
			at := time.Unix(int64(binary.BigEndian.Uint64(k[8:])), 0).UTC()
			start := at.Add(-(at.Sub(from) % period))
			if n := len(out); n > 0 && out[n-1].Start.Equal(start) {
				out[n-1].Merge(&set)
				continue
			}
			out = append(out, Point{Start: start, Set: set})
		}
	}
	return out, nil
}

// Listed is a metric that there is data of.
type Listed struct {
	Metric
	// Latest is when the latest data is of.
	Latest time.Time
}

// List calls yield with the metrics of an account in a region that have data
// since a time, until it returns false: those of the namespace and with the
// name, where they are not empty, in the order of namespace and name.
func (s *Store) List(account, region, namespace, name string, since time.Time, yield func(Listed) bool) error {
	parts := []string{account, region}
	if namespace != "" {
		parts = append(parts, namespace)
		if name != "" {
			parts = append(parts, name)
		}
	}
	prefix := strings.Join(parts, separator) + separator
	return s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(seriesBucket).Cursor()
		var before Listed
		for k, v := c.Seek([]byte(prefix)); k != nil && strings.HasPrefix(string(k), prefix); k, v = c.Next() {
			m, _, ok := parseSeries(k)
			_, last := decodeSeries(v)
			at := time.Unix(last, 0).UTC()
			if !ok || at.Before(since) || name != "" && m.Name != name {
				continue
			}
			if same(&before.Metric, &m) {
				continue // in another unit
			}
			before = Listed{m, at}
			if !yield(before) {
				return nil
			}
		}
		return nil
	})
}

func same(a, b *Metric) bool {
	if a.Namespace != b.Namespace || a.Name != b.Name || len(a.Dimensions) != len(b.Dimensions) {
		return false
	}
	for i := range a.Dimensions {
		if a.Dimensions[i] != b.Dimensions[i] {
			return false
		}
	}
	return true
}
