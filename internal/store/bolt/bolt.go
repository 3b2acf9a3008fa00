// Package bolt is the embedded store: a log that makes commits durable, and a
// bbolt file of pages, ordered by key and by index, to which the log is flushed.
// A start reads the log alone, so it takes as long with many records as with
// few.
package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"roadstead.dev/internal/durable"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// Errors that Open returns, wrapped.
var (
	// ErrInUse: another process has the file open.
	ErrInUse = errors.New("another roadstead uses the store")
	// ErrDamaged: the file is not a whole store.
	ErrDamaged = errors.New("the store's file is damaged")
	// ErrNewer: a newer version of Roadstead wrote the file.
	ErrNewer = errors.New("the store was written by a newer roadstead")
)

// Options of Open; the zero value is good.
type Options struct {
	// LockTimeout is how long to wait for another process that has the file
	// open; 0 means two seconds.
	LockTimeout time.Duration
	// History is how many commits a watcher may lag behind; 0 means
	// local.DefaultHistory.
	History int
	// FlushAt is how many bytes the log may grow before it is flushed; 0 means
	// 8 MiB.
	FlushAt int64
	// Log is told of flushes that failed and of writes that a crash cut off;
	// nil means slog.Default.
	Log *slog.Logger
}

// formatVersion of the file. A reader refuses a greater one; 1 had neither log
// nor index bucket, and is brought up to date.
const formatVersion = 2

var (
	metaBucket    = []byte("meta")
	recordsBucket = []byte("records")
	// indexBucket has an empty value for each secondary entry.
	indexBucket = []byte("index")

	formatKey = []byte("format")
	// revisionKey is the newest revision that the pages hold.
	revisionKey = []byte("revision")
	// logKey is the number of the first segment that is still needed.
	logKey = []byte("log")
)

// Open opens the store in the file path and its log beside it, and makes them
// and their folder where there are none. Only one process can have it open.
func Open(path string, o Options) (store.Store, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = 2 * time.Second
	}
	if o.FlushAt == 0 {
		o.FlushAt = 8 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	f := &file{path: path, flushAt: o.FlushAt, next: make(chan *segment, 1)}
	replayed, err := f.open(o)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return local.New(local.Config{
		Log: f, Base: f, Replayed: replayed, Revision: f.last, History: o.History,
		Failed: func(err error) { o.Log.Error("the store's log was not flushed", "error", err) },
	}), nil
}

// open opens the pages and reads the log. A file whose pages are torn can make
// bbolt read outside of it or panic; both become ErrDamaged.
func (f *file) open(o Options) (replayed []local.Change, err error) {
	// Deferred calls run from the last to the first.
	defer func() {
		if err != nil && f.db != nil {
			f.closeDamaged()
		}
	}()
	defer contain(&err)
	defer faultsPanic()()
	f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
		Timeout:      o.LockTimeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages stays in the file: to find them anew bbolt
		// reads all pages in a goroutine of its own, where a torn one would end
		// the program.
		NoFreelistSync: false,
		NoStatistics:   true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case err != nil:
		// What the system refuses is not the file's fault; else it is.
		if _, ok := errors.AsType[syscall.Errno](err); ok {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := f.prepare(); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(filepath.Dir(f.path)); err != nil {
		return nil, err
	}
	var first uint64
	err = f.db.View(func(tx *bbolt.Tx) error {
		st, err := os.Stat(f.path)
		if err != nil {
			return err
		}
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w: it has %d of %d bytes", ErrDamaged, st.Size(), tx.Size())
		}
		meta := tx.Bucket(metaBucket)
		f.last = binary.BigEndian.Uint64(meta.Get(revisionKey))
		first = binary.BigEndian.Uint64(meta.Get(logKey))
		for _, name := range [][]byte{recordsBucket, indexBucket} {
			c := tx.Bucket(name).Cursor()
			c.First()
			c.Last()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f.replay(first, o.Log)
}

// replay reads the segments from first on, and opens the last one for writing.
func (f *file) replay(first uint64, log *slog.Logger) ([]local.Change, error) {
	numbers, err := findSegments(f.path)
	if err != nil {
		return nil, err
	}
	last := first
	for _, n := range numbers {
		if n < first { // flushed, and the process ended before it was removed
			if err := os.Remove(segmentPath(f.path, n)); err != nil {
				return nil, fmt.Errorf("remove log: %w", err)
			}
		}
		last = max(last, n)
	}
	// Only what a key became last is wanted.
	var out []local.Change
	at := map[store.Key]int{}
	visit := func(from, to uint64, payload []byte) error {
		if to <= f.last {
			return nil // the pages have it
		}
		if from != f.last+1 {
			return fmt.Errorf("%w: its log goes on at revision %d behind %d", ErrDamaged, from, f.last)
		}
		changes, err := decodeChanges(payload)
		if err != nil {
			return fmt.Errorf("%w: log: %w", ErrDamaged, err)
		}
		for _, c := range changes {
			if i, had := at[c.Key]; had {
				out[i] = c
				continue
			}
			at[c.Key] = len(out)
			out = append(out, c)
		}
		f.last = to
		return nil
	}
	for n := first; n <= last; n++ {
		s, torn, err := openSegment(f.path, n, visit)
		if err != nil {
			return nil, err
		}
		if torn {
			log.Warn("the last write to the store was cut off before anybody was told of it", "log", s.file.Name(), "revision", f.last)
		}
		if f.segment != nil {
			if err := f.segment.file.Close(); err != nil {
				return nil, err
			}
		}
		f.segment = s
	}
	return out, nil
}

// prepare makes the buckets and the log of a new file and checks those of an
// old one.
func (f *file) prepare() error {
	format := uint64(0)
	err := f.db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if k, _ := tx.Cursor().First(); k != nil {
				return fmt.Errorf("%w: it holds something else", ErrDamaged)
			}
			return nil
		}
		b := meta.Get(formatKey)
		if len(b) != 8 {
			return errHeader
		}
		if format = binary.BigEndian.Uint64(b); format > formatVersion {
			return fmt.Errorf("%w: format %d", ErrNewer, format)
		}
		if format == 0 || len(meta.Get(revisionKey)) != 8 || tx.Bucket(recordsBucket) == nil ||
			format > 1 && (len(meta.Get(logKey)) != 8 || tx.Bucket(indexBucket) == nil) {
			return errHeader
		}
		return nil
	})
	if err != nil || format == formatVersion {
		return err
	}
	if err := f.firstSegment(); err != nil {
		return err
	}
	return f.db.Update(func(tx *bbolt.Tx) error {
		if format == 1 {
			return upgrade(tx)
		}
		for _, name := range [][]byte{recordsBucket, indexBucket, metaBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(metaBucket)
		return errors.Join(putNumber(meta, formatKey, formatVersion), putNumber(meta, revisionKey, 0), putNumber(meta, logKey, 1))
	})
}

var errHeader = fmt.Errorf("%w: its header is not whole", ErrDamaged)

// firstSegment makes the log of a file that has none. One that holds something
// belongs to pages that are lost.
func (f *file) firstSegment() error {
	numbers, err := findSegments(f.path)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		b, err := os.ReadFile(segmentPath(f.path, n))
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if len(b) > segmentHeader { // else it was being made
			if _, ok := frameAt(b[segmentHeader:], n); ok {
				return fmt.Errorf("%w: it is empty, and its log %s is not", ErrDamaged, segmentPath(f.path, n))
			}
		}
		if err := os.Remove(segmentPath(f.path, n)); err != nil {
			return fmt.Errorf("remove log: %w", err)
		}
	}
	s, err := createSegment(f.path, 1, "")
	if err != nil {
		return err
	}
	return s.file.Close()
}

// upgrade brings format 1 up to date: there, records had no checksum, and
// their secondary entries stood in their values alone.
func upgrade(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucket(indexBucket); err != nil {
		return err
	}
	var changes []local.Change
	err := tx.Bucket(recordsBucket).ForEach(func(k, v []byte) error {
		key, err := decodeKey(k)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		e, err := decodeEntry(key, v)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		changes = append(changes, local.Change{Key: key, Entry: e})
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.DeleteBucket(recordsBucket); err != nil {
		return err
	}
	records, err := tx.CreateBucket(recordsBucket)
	if err != nil {
		return err
	}
	w := pageWriter{records, tx.Bucket(indexBucket)}
	for i := range changes {
		if err := w.write(&changes[i]); err != nil {
			return err
		}
	}
	meta := tx.Bucket(metaBucket)
	return errors.Join(putNumber(meta, formatKey, formatVersion), putNumber(meta, logKey, 1))
}

// closeDamaged lets go of the files, so that the process may try again; a
// damaged one may fault once more.
func (f *file) closeDamaged() {
	defer func() { _ = recover() }()
	if f.segment != nil {
		_ = f.segment.file.Close()
	}
	_ = f.db.Close()
}
