package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Indexed is a table as Reindex sees it.
type Indexed interface {
	Kind() Kind
	// IndexNames are the names of its indexes, in order.
	IndexNames() []string
	// again is a write of the record as it is, with its indexes made anew.
	again(Record) (Op, error)
}

// indexSets remembers the names of the indexes that the records of a kind were
// written with, under the kind.
var indexSets = NewTable[[]string]("store", "Indexes")

// reindexBatch is how many records Reindex writes at once.
const reindexBatch = 500

// Reindex writes the records of those tables anew whose indexes have other
// names than when their records were written. What an index gives for a value
// is not compared, so an index that comes to mean something else needs another
// name. It is called before anything else uses the store.
func Reindex(ctx context.Context, s Store, tables ...Indexed) error {
	sets, err := indexSets.List(ctx, s, Query{})
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	known := map[string][]string{}
	for _, r := range sets {
		known[r.Key.ID] = *r.V
	}
	note := NewTxn()
	for _, t := range tables {
		names, kind := t.IndexNames(), t.Kind()
		if have, ok := known[kind.String()]; ok && slices.Equal(have, names) {
			continue
		}
		if err := reindex(ctx, s, t); err != nil {
			return fmt.Errorf("reindex %s: %w", kind, err)
		}
		indexSets.Put(note, "", "", kind.String(), &names)
	}
	_, err = note.Commit(ctx, s)
	return err
}

func reindex(ctx context.Context, s Store, t Indexed) error {
	records, _, err := s.List(ctx, Query{Kind: t.Kind()})
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(records, reindexBatch) {
		var conds []Condition
		var ops []Op
		for _, r := range batch {
			op, err := t.again(r)
			if err != nil {
				return err
			}
			conds = append(conds, Condition{Key: r.Key, Modified: r.Modified})
			ops = append(ops, op)
		}
		if _, err := s.Commit(ctx, conds, ops); err != nil {
			return err
		}
	}
	return nil
}

// IndexNames implements Indexed.
func (t *Table[T]) IndexNames() []string { return slices.Sorted(maps.Keys(t.indexes)) }

func (t *Table[T]) again(r Record) (Op, error) {
	row, err := t.Row(r)
	if err != nil {
		return Op{}, err
	}
	if row.V == nil {
		return Op{}, errors.New("record without a value")
	}
	return Op{Key: r.Key, Value: r.Value, Indexes: t.indexesOf(row.V)}, nil
}
