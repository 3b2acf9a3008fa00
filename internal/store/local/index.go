package local

import (
	"cmp"
	"strings"

	"github.com/google/btree"

	"roadstead.dev/internal/store"
)

// Entry is a record together with its secondary entries: what a Log keeps.
type Entry struct {
	Record  store.Record
	Indexes []store.Index
}

// index holds all records in memory, ordered, with their secondary entries.
// Its user locks it.
type index struct {
	kinds map[store.Kind]*kindIndex
}

// kindIndex orders the records of one kind by account, region and id.
type kindIndex struct {
	primary *btree.BTreeG[*Entry]
	// secondary orders the entries of an index name by value, account, region
	// and id.
	secondary map[string]*btree.BTreeG[secondary]
}

type secondary struct {
	value string
	entry *Entry
}

// degree of the trees: nodes of a few cache lines.
const degree = 32

func newIndex() *index { return &index{kinds: map[store.Kind]*kindIndex{}} }

func compareKeys(a, b *store.Key) int {
	if c := cmp.Compare(a.Account, b.Account); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Region, b.Region); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

func (x *index) kind(k store.Kind) *kindIndex {
	ki := x.kinds[k]
	if ki == nil {
		ki = &kindIndex{
			primary: btree.NewG(degree, func(a, b *Entry) bool {
				return compareKeys(&a.Record.Key, &b.Record.Key) < 0
			}),
			secondary: map[string]*btree.BTreeG[secondary]{},
		}
		x.kinds[k] = ki
	}
	return ki
}

func (x *index) get(key *store.Key) *Entry {
	ki := x.kinds[key.Kind]
	if ki == nil {
		return nil
	}
	e, _ := ki.primary.Get(&Entry{Record: store.Record{Key: *key}})
	return e
}

func (x *index) put(e *Entry) {
	ki := x.kind(e.Record.Key.Kind)
	if old, had := ki.primary.ReplaceOrInsert(e); had {
		ki.unlink(old)
	}
	for _, i := range e.Indexes {
		tree := ki.secondary[i.Name]
		if tree == nil {
			tree = btree.NewG(degree, func(a, b secondary) bool {
				if c := cmp.Compare(a.value, b.value); c != 0 {
					return c < 0
				}
				return compareKeys(&a.entry.Record.Key, &b.entry.Record.Key) < 0
			})
			ki.secondary[i.Name] = tree
		}
		tree.ReplaceOrInsert(secondary{i.Value, e})
	}
}

func (x *index) remove(key *store.Key) {
	if ki := x.kinds[key.Kind]; ki != nil {
		if old, had := ki.primary.Delete(&Entry{Record: store.Record{Key: *key}}); had {
			ki.unlink(old)
		}
	}
}

func (ki *kindIndex) unlink(e *Entry) {
	for _, i := range e.Indexes {
		ki.secondary[i.Name].Delete(secondary{i.Value, e})
	}
}

// list returns the records that q selects.
func (x *index) list(q *store.Query) []store.Record {
	ki := x.kinds[q.Kind]
	if ki == nil {
		return nil
	}
	var out []store.Record
	// start is the least key that can match; the walk ends where nothing
	// behind can match any more.
	start := &Entry{Record: store.Record{Key: store.Key{Account: q.Account, Region: q.Region, ID: max(q.Prefix, q.After)}}}
	visit := func(e *Entry) bool {
		k := &e.Record.Key
		switch {
		case q.Account != "" && k.Account != q.Account,
			q.Region != "" && k.Region != q.Region:
			return false
		case q.After != "" && k.Region == q.Region && k.ID <= q.After:
			return true
		case !strings.HasPrefix(k.ID, q.Prefix):
			// Ids with a prefix stand together, within one region.
			return q.Region == "" || k.ID < q.Prefix
		}
		out = append(out, e.Record)
		return q.Limit <= 0 || len(out) < q.Limit
	}
	if q.Index.Name == "" {
		ki.primary.AscendGreaterOrEqual(start, visit)
		return out
	}
	if tree := ki.secondary[q.Index.Name]; tree != nil {
		tree.AscendGreaterOrEqual(secondary{q.Index.Value, start}, func(s secondary) bool {
			return s.value == q.Index.Value && visit(s.entry)
		})
	}
	return out
}
