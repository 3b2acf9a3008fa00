// Package bolt is the embedded store: an index in memory over a bbolt file.
package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

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
}

// formatVersion of the file. A reader refuses a greater one.
const formatVersion = 1

var (
	metaBucket    = []byte("meta")
	recordsBucket = []byte("records")
	formatKey     = []byte("format")
	revisionKey   = []byte("revision")
)

// Open opens the store in the file path, and makes the file and its folder
// where there is none. Only one process can have it open.
func Open(path string, o Options) (store.Store, error) {
	if o.LockTimeout == 0 {
		o.LockTimeout = 2 * time.Second
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db, entries, revision, err := load(path, o.LockTimeout)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return local.New(&file{db: db}, entries, revision, o.History), nil
}

// load opens the file and reads all of it. A file whose pages are torn can
// make bbolt read outside of it or panic; both become ErrDamaged.
func load(path string, timeout time.Duration) (db *bbolt.DB, entries []*local.Entry, revision uint64, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
		if err != nil && db != nil {
			closeDamaged(db)
			db = nil
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      timeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages stays in the file: to find them anew bbolt
		// reads all pages in a goroutine of its own, where a torn one would end
		// the program.
		NoFreelistSync: false,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, nil, 0, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, nil, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return nil, nil, 0, err
	}
	if err := prepare(db); err != nil {
		return db, nil, 0, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return db, nil, 0, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		if st.Size() < tx.Size() {
			return fmt.Errorf("%w: it has %d of %d bytes", ErrDamaged, st.Size(), tx.Size())
		}
		revision = binary.BigEndian.Uint64(tx.Bucket(metaBucket).Get(revisionKey))
		return tx.Bucket(recordsBucket).ForEach(func(k, v []byte) error {
			e, err := decodeEntry(k, v)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			entries = append(entries, e)
			return nil
		})
	})
	return db, entries, revision, err
}

// prepare makes the buckets of a new file and checks those of an old one.
func prepare(db *bbolt.DB) error {
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			fresh = true
			if k, _ := tx.Cursor().First(); k != nil {
				return fmt.Errorf("%w: it holds something else", ErrDamaged)
			}
			return nil
		}
		format := meta.Get(formatKey)
		if len(format) != 8 || len(meta.Get(revisionKey)) != 8 || tx.Bucket(recordsBucket) == nil {
			return fmt.Errorf("%w: its header is not whole", ErrDamaged)
		}
		if n := binary.BigEndian.Uint64(format); n > formatVersion {
			return fmt.Errorf("%w: format %d", ErrNewer, n)
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket(recordsBucket); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if err := meta.Put(formatKey, binary.BigEndian.AppendUint64(nil, formatVersion)); err != nil {
			return err
		}
		return meta.Put(revisionKey, binary.BigEndian.AppendUint64(nil, 0))
	})
}

// closeDamaged lets go of the file, so that the process may try again; a
// damaged one may fault once more.
func closeDamaged(db *bbolt.DB) {
	defer func() { _ = recover() }()
	_ = db.Close()
}

// syncDir makes the name of a new file durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// file is the log: one bbolt transaction for each batch.
type file struct{ db *bbolt.DB }

var _ local.Log = (*file)(nil)

// Write implements local.Log.
func (f *file) Write(changes []local.Change, revision uint64) error {
	return f.db.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket(recordsBucket)
		for _, c := range changes {
			var err error
			if c.Entry == nil {
				err = records.Delete(encodeKey(c.Key))
			} else {
				err = records.Put(encodeKey(c.Key), encodeEntry(c.Entry))
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.Key, err)
			}
		}
		return tx.Bucket(metaBucket).Put(revisionKey, binary.BigEndian.AppendUint64(nil, revision))
	})
}

// Close implements local.Log.
func (f *file) Close() error { return f.db.Close() }
