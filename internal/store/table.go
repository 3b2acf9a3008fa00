package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// Decoded holds the typed form of a record's value, made on first use.
type Decoded struct{ v atomic.Pointer[any] }

// Table is the typed view of one kind. Make it once, as a package variable.
type Table[T any] struct {
	kind    Kind
	indexes map[string]func(*T) []string
}

// NewTable describes a kind of record that is stored as a T in JSON.
func NewTable[T any](service, name string) *Table[T] {
	return &Table[T]{kind: Kind{service, name}, indexes: map[string]func(*T) []string{}}
}

// WithIndex lets the table be listed by the values that f gives for a record.
// When f comes to give others for what is stored already, the index needs
// another name: see Reindex.
func (t *Table[T]) WithIndex(name string, f func(*T) []string) *Table[T] {
	t.indexes[name] = f
	return t
}

// Kind is the kind of the table's records.
func (t *Table[T]) Kind() Kind { return t.kind }

// Key makes the key of one of the table's records.
func (t *Table[T]) Key(account, region, id string) Key {
	return Key{Account: account, Region: region, Kind: t.kind, ID: id}
}

// Row is a record with its typed value. V is shared by all readers and must
// not be changed; Update and Copy give values that may be.
type Row[T any] struct {
	Key      Key
	V        *T
	Created  uint64
	Modified uint64

	// raw is what V was decoded from, where it was.
	raw []byte
}

// Copy is a deep copy of the row's value, free to change.
func (r Row[T]) Copy() *T {
	if r.V != nil {
		if v := deepCopy(r.V); v != nil {
			return v
		}
	}
	b := r.raw
	if b == nil {
		var err error
		if b, err = json.Marshal(r.V); err != nil {
			panic(fmt.Sprintf("store: %s does not encode: %v", r.Key, err))
		}
	}
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		panic(fmt.Sprintf("store: %s does not decode: %v", r.Key, err))
	}
	return v
}

// Row makes the typed form of a record of the table's kind.
func (t *Table[T]) Row(r Record) (Row[T], error) {
	row := Row[T]{Key: r.Key, Created: r.Created, Modified: r.Modified, raw: r.Value}
	if r.Decoded != nil {
		if p := r.Decoded.v.Load(); p != nil {
			if v, ok := (*p).(*T); ok {
				row.V = v
				return row, nil
			}
		}
	}
	v := new(T)
	if err := json.Unmarshal(r.Value, v); err != nil {
		return row, fmt.Errorf("decode %s: %w", r.Key, err)
	}
	if r.Decoded != nil {
		var a any = v
		r.Decoded.v.Store(&a)
	}
	row.V = v
	return row, nil
}

// Get reads one record; ErrNotFound when there is none.
func (t *Table[T]) Get(ctx context.Context, s Store, account, region, id string) (Row[T], error) {
	r, err := s.Get(ctx, t.Key(account, region, id))
	if err != nil {
		return Row[T]{Key: t.Key(account, region, id)}, err
	}
	return t.Row(r)
}

// List reads the records that q selects; q.Kind is set by the table.
func (t *Table[T]) List(ctx context.Context, s Store, q Query) ([]Row[T], error) {
	rows, _, err := t.ListAt(ctx, s, q)
	return rows, err
}

// ListAt is List, and tells the revision that was read.
func (t *Table[T]) ListAt(ctx context.Context, s Store, q Query) ([]Row[T], uint64, error) {
	q.Kind = t.kind
	rs, rev, err := s.List(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	rows := make([]Row[T], 0, len(rs))
	for _, r := range rs {
		row, err := t.Row(r)
		if err != nil {
			return nil, 0, err
		}
		rows = append(rows, row)
	}
	return rows, rev, nil
}

// Put adds a write of v to tx, whatever is stored now.
func (t *Table[T]) Put(tx *Txn, account, region, id string, v *T) {
	tx.ops = append(tx.ops, t.op(tx, t.Key(account, region, id), v))
}

// Create adds a write of v to tx that fails with ErrConflict when the record
// exists.
func (t *Table[T]) Create(tx *Txn, account, region, id string, v *T) {
	tx.conds = append(tx.conds, Condition{Key: t.Key(account, region, id)})
	t.Put(tx, account, region, id, v)
}

// Replace adds a write of v to tx that fails with ErrConflict when the record
// is no longer as row was read.
func (t *Table[T]) Replace(tx *Txn, row Row[T], v *T) {
	tx.conds = append(tx.conds, Condition{Key: row.Key, Modified: row.Modified})
	tx.ops = append(tx.ops, t.op(tx, row.Key, v))
}

// Delete adds the removal of the record to tx; it fails with ErrConflict when
// the record is no longer as row was read.
func (t *Table[T]) Delete(tx *Txn, row Row[T]) {
	tx.conds = append(tx.conds, Condition{Key: row.Key, Modified: row.Modified})
	tx.ops = append(tx.ops, Op{Key: row.Key})
}

// Erase adds the removal of the record to tx, whatever is stored now.
func (t *Table[T]) Erase(tx *Txn, account, region, id string) {
	tx.ops = append(tx.ops, Op{Key: t.Key(account, region, id)})
}

// Check makes tx fail with ErrConflict when the record is no longer as row
// was read. A zero row.Modified means that it must not exist.
func (t *Table[T]) Check(tx *Txn, row Row[T]) {
	tx.conds = append(tx.conds, Condition{Key: row.Key, Modified: row.Modified})
}

func (t *Table[T]) op(tx *Txn, key Key, v *T) Op {
	b, err := json.Marshal(v)
	if err != nil && tx.err == nil {
		tx.err = fmt.Errorf("encode %s: %w", key, err)
	}
	return Op{Key: key, Value: b, Indexes: t.indexesOf(v)}
}

func (t *Table[T]) indexesOf(v *T) []Index {
	var out []Index
	for name, f := range t.indexes {
		for _, val := range f(v) {
			out = append(out, Index{name, val})
		}
	}
	return out
}

// Update reads a record, lets change alter a copy, and writes it back, again
// and again while others change it in between. When change returns an error
// nothing is written and Update returns it; ErrUnchanged ends without a write
// and without an error. It returns the record as it is afterwards.
func (t *Table[T]) Update(ctx context.Context, s Store, account, region, id string, change func(*T) error) (Row[T], error) {
	for {
		row, err := t.Get(ctx, s, account, region, id)
		if err != nil {
			return row, err
		}
		v := row.Copy()
		if err := change(v); err != nil {
			if errors.Is(err, ErrUnchanged) {
				return row, nil
			}
			return row, err
		}
		tx := NewTxn()
		t.Replace(tx, row, v)
		rev, err := tx.Commit(ctx, s)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return row, err
		}
		return Row[T]{Key: row.Key, V: v, Created: row.Created, Modified: rev}, nil
	}
}

// ErrUnchanged is what the change of an Update returns to leave a record be.
var ErrUnchanged = errors.New("nothing to change")

// Txn collects writes to several records, of any kinds. Not safe for
// concurrent use. A record may be written once in a transaction.
type Txn struct {
	conds []Condition
	ops   []Op
	err   error
}

// NewTxn starts an empty transaction.
func NewTxn() *Txn { return &Txn{} }

// Empty tells whether the transaction writes nothing.
func (tx *Txn) Empty() bool { return len(tx.ops) == 0 }

// Writes tells whether the transaction writes a record already.
func (tx *Txn) Writes(key Key) bool {
	return slices.ContainsFunc(tx.ops, func(o Op) bool { return o.Key == key })
}

// Commit writes the transaction, all or nothing: ErrConflict when a condition
// does not hold. An empty one is a no-op.
func (tx *Txn) Commit(ctx context.Context, s Store) (uint64, error) {
	if tx.err != nil {
		return 0, tx.err
	}
	if tx.Empty() {
		return s.Revision(), nil
	}
	return s.Commit(ctx, tx.conds, tx.ops)
}

// attempts bounds how often Transact tries.
const attempts = 32

// ErrContended says that others changed what a transaction read each time that
// it was tried. It is an ErrConflict.
var ErrContended = fmt.Errorf("after %d attempts: %w", attempts, ErrConflict)

// Transact runs f, which fills a transaction from what it reads, and commits it,
// again and again while others change what was read. Errors of f end it.
func Transact(ctx context.Context, s Store, f func(tx *Txn) error) error {
	for range attempts {
		tx := NewTxn()
		if err := f(tx); err != nil {
			return err
		}
		_, err := tx.Commit(ctx, s)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrContended
}
