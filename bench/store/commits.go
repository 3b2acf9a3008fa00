package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
)

// writer makes one record durable.
type writer struct {
	name  string
	write func(id string) error
	close func() error
}

// value is a record's, and indexes are as many as a task has.
var value = []byte(`{"filler":"` + strings.Repeat("x", 1500) + `"}`)

func ours(dir string) (*writer, error) {
	s, err := bolt.Open(filepath.Join(dir, "ours.db"), bolt.Options{})
	if err != nil {
		return nil, err
	}
	return &writer{name: "roadstead's store, 5 index entries", close: s.Close, write: func(id string) error {
		key := store.Key{Account: account, Region: "us-east-1", Kind: store.Kind{Service: "bench", Name: "Record"}, ID: id}
		op := store.Op{Key: key, Value: value}
		for i := range 5 {
			op.Indexes = append(op.Indexes, store.Index{Name: fmt.Sprint("index", i), Value: "some/value"})
		}
		_, err := s.Commit(context.Background(), []store.Condition{{Key: key}}, []store.Op{op})
		return err
	}}, nil
}

// plain is bbolt alone, with a transaction for each write, or batches.
func plain(dir, name string, update func(*bbolt.DB) func(func(*bbolt.Tx) error) error) (*writer, error) {
	db, err := bbolt.Open(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("b")); return err })
	return &writer{name: name, close: db.Close, write: func(id string) error {
		return update(db)(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte(id), value) })
	}}, err
}

var writerCounts = []int{1, 16, 128}

// commits writes to each store, in turns, and tells the rates.
func commits(dir string, rounds int, span time.Duration) (string, error) {
	var ws []*writer
	open := func(w *writer, err error) error {
		if err == nil {
			ws = append(ws, w)
		}
		return err
	}
	err := errors.Join(
		open(ours(dir)),
		open(plain(dir, "bbolt db.Update", func(db *bbolt.DB) func(func(*bbolt.Tx) error) error { return db.Update })),
		open(plain(dir, "bbolt db.Batch", func(db *bbolt.DB) func(func(*bbolt.Tx) error) error { return db.Batch })),
	)
	if err != nil {
		return "", err
	}
	type cell struct {
		rate  report.Samples[float64]
		times report.Durations
	}
	cells := map[string]*cell{}
	var serial atomic.Int64
	for range rounds {
		for _, n := range writerCounts {
			for _, w := range ws {
				k := fmt.Sprint(w.name, n)
				if cells[k] == nil {
					cells[k] = &cell{}
				}
				var mu sync.Mutex
				var failed error
				count := 0
				begun := time.Now()
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() {
						var mine []time.Duration
						var err error
						for now := time.Now(); err == nil && now.Sub(begun) < span; {
							err = w.write(fmt.Sprintf("%016x", uint64(serial.Add(1))*0x9e3779b97f4a7c15))
							after := time.Now()
							mine, now = append(mine, after.Sub(now)), after
						}
						mu.Lock()
						defer mu.Unlock()
						count += len(mine)
						failed = errors.Join(failed, err)
						for _, d := range mine {
							cells[k].times.Add(d)
						}
					})
				}
				wg.Wait()
				if failed != nil {
					return "", fmt.Errorf("%s: %w", w.name, failed)
				}
				cells[k].rate.Add(float64(count) / time.Since(begun).Seconds())
			}
		}
	}
	var rows [][]string
	for _, n := range writerCounts {
		for _, w := range ws {
			c := cells[fmt.Sprint(w.name, n)]
			rows = append(rows, []string{w.name, fmt.Sprint(n), fmt.Sprintf("%.0f", c.rate.Median()), report.Milliseconds(c.times.Median()), report.Milliseconds(c.times.Quantile(0.99))})
		}
	}
	for _, w := range ws {
		if err := w.close(); err != nil {
			return "", err
		}
	}
	sync, err := syncTime(dir)
	if err != nil {
		return "", err
	}
	return report.Table([]string{"store", "writers", "commits/s", "p50", "p99"}, rows...) +
		fmt.Sprintf("\nRecords of %d bytes, a commit each, durable when the call returns. bbolt writes no index entries here. To sync a page of a file on this disk takes %s (p99 %s).\n", len(value), report.Milliseconds(sync.Median()), report.Milliseconds(sync.Quantile(0.99))), nil
}

// syncTime is what the disk takes to make a written page durable.
func syncTime(dir string) (*report.Durations, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	times := &report.Durations{}
	page := make([]byte, 4096)
	for i := range 500 {
		begun := time.Now()
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		times.Add(time.Since(begun))
	}
	return times, nil
}
