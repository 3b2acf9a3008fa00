// Package store holds Roadstead's records: typed values under a key, changed
// by compare-and-swap transactions over several records, and watched from a
// revision.
//
// Store is the small interface that a backend implements (bolt, etcd);
// storetest is the suite that every backend passes. Services and controllers
// use the typed layer on top: Table for one kind of record, Txn for several.
package store

import (
	"context"
	"errors"
	"fmt"
)

// Errors that a Store returns, wrapped with the key where there is one.
var (
	// ErrNotFound: there is no record under the key.
	ErrNotFound = errors.New("record not found")
	// ErrConflict: a condition of the transaction did not hold; nothing was
	// written. Read again and decide anew.
	ErrConflict = errors.New("record changed since it was read")
	// ErrCompacted: the revision asked for is no longer kept. List again and
	// watch from the list's revision.
	ErrCompacted = errors.New("revision is compacted")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Kind names a kind of record: the AWS service that owns it and the record's
// type, ("ecs", "Service").
type Kind struct {
	Service string
	Name    string
}

func (k Kind) String() string { return k.Service + "/" + k.Name }

// Key is where a record lives. Global services (IAM) leave Region empty.
// ID may hold slashes, so that a prefix of it selects a parent's children:
// tasks are "<cluster>/<task id>".
type Key struct {
	Account string
	Region  string
	Kind    Kind
	ID      string
}

func (k Key) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", k.Account, k.Region, k.Kind, k.ID)
}

// Index is a secondary entry of a record: under its account, region and kind
// the record can be listed by Name and Value. A record may have several
// values for a name.
type Index struct {
	Name  string
	Value string
}

// Record is a stored value. A record is immutable: nobody may change what
// Value points to.
type Record struct {
	Key Key
	// Value is the encoded value.
	Value []byte
	// Created and Modified are the store revisions of the first and of the
	// latest write. Modified is what conditions compare.
	Created  uint64
	Modified uint64

	// Decoded caches what the typed layer made of Value. Backends keep the
	// pointer with the record and hand the same one out on every read, so that
	// a value is decoded once.
	Decoded *Decoded
}

// Query selects records of one kind. Results come ordered by account, region
// and id (bytewise).
type Query struct {
	Kind Kind
	// Account and Region limit the query; empty means all of them. Region
	// needs Account, unless AllRegions.
	Account string
	Region  string
	// Prefix of the id; needs Account and Region (or a global kind's empty one).
	Prefix string
	// Index, when its Name is set, selects by secondary entry instead. Prefix
	// and After then apply to the id as well.
	Index Index
	// After starts behind the record with this id; needs Account and Region.
	After string
	// Limit is the most records to return; 0 means all.
	Limit int
}

// Op is one write of a transaction: a put, or a delete when Value is nil.
type Op struct {
	Key     Key
	Value   []byte
	Indexes []Index
}

// Condition holds when the record's Modified equals Modified; 0 means that
// the record must not exist.
type Condition struct {
	Key      Key
	Modified uint64
}

// EventType tells what happened to a record.
type EventType uint8

// A Put made or changed a record; a Delete removed it.
const (
	Put EventType = iota
	Delete
)

// Event is one change. Record of a Delete is the last one there was, with
// Modified set to the revision of the deletion.
type Event struct {
	Type   EventType
	Record Record
}

// Store is what a backend implements. All methods are safe for concurrent
// use, and a returned record never changes.
type Store interface {
	// Get reads one record.
	Get(ctx context.Context, key Key) (Record, error)

	// List reads what q selects, at one revision, which it returns.
	List(ctx context.Context, q Query) (records []Record, revision uint64, err error)

	// Commit writes ops if every condition holds, all or none, and returns the
	// revision of the write. It returns nil error only when the write is
	// durable: it survives kill -9 and, as far as the disk is honest, a power
	// cut. Deleting what is not there is no error.
	Commit(ctx context.Context, conds []Condition, ops []Op) (revision uint64, err error)

	// Watch streams, in order and without gaps, every change of the kinds
	// after revision from, until ctx ends or the store closes, when the channel
	// is closed. No kinds means all. A watcher that reads too slowly, or asks
	// for a revision that is gone, finds ErrCompacted in Watcher.Err once its
	// channel is closed. A change is seen only after it is durable.
	Watch(ctx context.Context, from uint64, kinds ...Kind) (*Watcher, error)

	// Revision is the newest durable revision.
	Revision() uint64

	Close() error
}

// Watcher is a running watch.
type Watcher struct {
	// Events carries the changes of one commit as one batch.
	Events <-chan []Event
	// Err tells why Events was closed; valid only after that.
	Err func() error
}
