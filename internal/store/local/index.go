package local

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/btree"

	"roadstead.dev/internal/store"
)

// Entry is a record together with its secondary entries: what a Log keeps.
type Entry struct {
	Record  store.Record
	Indexes []store.Index
	// deleted marks that the record is gone, over a Base that may hold it.
	deleted bool
}

// layer holds records in memory, ordered, with their secondary entries, and
// marks of deletion where a Base lies below. Its user locks it.
type layer struct {
	kinds map[store.Kind]*kindLayer
}

// kindLayer orders the records of one kind by account, region and id.
type kindLayer struct {
	primary *btree.BTreeG[*Entry]
	// byPlace finds what primary orders.
	byPlace map[place]*Entry
	// secondary orders the entries of an index name by value, account, region
	// and id.
	secondary map[string]*btree.BTreeG[secondary]
}

// place is what tells the keys of a kind apart.
type place struct{ account, region, id string }

func placeOf(k *store.Key) place { return place{k.Account, k.Region, k.ID} }

type secondary struct {
	value string
	entry *Entry
}

// degree of the trees: nodes of a few cache lines.
const degree = 32

func newLayer() *layer { return &layer{kinds: map[store.Kind]*kindLayer{}} }

func compareKeys(a, b *store.Key) int {
	if c := cmp.Compare(a.Account, b.Account); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Region, b.Region); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

func (l *layer) kind(k store.Kind) *kindLayer {
	kl := l.kinds[k]
	if kl == nil {
		kl = &kindLayer{
			primary: btree.NewG(degree, func(a, b *Entry) bool {
				return compareKeys(&a.Record.Key, &b.Record.Key) < 0
			}),
			byPlace:   map[place]*Entry{},
			secondary: map[string]*btree.BTreeG[secondary]{},
		}
		l.kinds[k] = kl
	}
	return kl
}

// get finds an entry, which may be a mark of deletion; nil when the layer
// knows nothing of the key. A nil layer knows nothing.
func (l *layer) get(key *store.Key) *Entry {
	if l == nil {
		return nil
	}
	kl := l.kinds[key.Kind]
	if kl == nil {
		return nil
	}
	return kl.byPlace[placeOf(key)]
}

func (l *layer) put(e *Entry) {
	kl := l.kind(e.Record.Key.Kind)
	if old, had := kl.primary.ReplaceOrInsert(e); had {
		// An entry that stays takes the old one's place below.
		kl.unlink(old, e)
	}
	kl.byPlace[placeOf(&e.Record.Key)] = e
	for _, i := range e.Indexes {
		tree := kl.secondary[i.Name]
		if tree == nil {
			tree = btree.NewG(degree, func(a, b secondary) bool {
				if c := cmp.Compare(a.value, b.value); c != 0 {
					return c < 0
				}
				return compareKeys(&a.entry.Record.Key, &b.entry.Record.Key) < 0
			})
			kl.secondary[i.Name] = tree
		}
		tree.ReplaceOrInsert(secondary{i.Value, e})
	}
}

func (l *layer) remove(key *store.Key) {
	if kl := l.kinds[key.Kind]; kl != nil {
		if old, had := kl.primary.Delete(&Entry{Record: store.Record{Key: *key}}); had {
			kl.unlink(old, nil)
			delete(kl.byPlace, placeOf(key))
		}
	}
}

// unlink removes the secondary entries of e but those that next, the entry
// that follows it, has too.
func (kl *kindLayer) unlink(e, next *Entry) {
	for _, i := range e.Indexes {
		if next == nil || !slices.Contains(next.Indexes, i) {
			kl.secondary[i.Name].Delete(secondary{i.Value, e})
		}
	}
}

// changes are what the layer holds, as a Base takes them.
func (l *layer) changes() []Change {
	var out []Change
	for _, kl := range l.kinds {
		kl.primary.Ascend(func(e *Entry) bool {
			c := Change{Key: e.Record.Key, Entry: e}
			if e.deleted {
				c.Entry = nil
			}
			out = append(out, c)
			return true
		})
	}
	return out
}

// list returns the entries that q selects and that a layer above it, which may
// be nil, says nothing of.
func (l *layer) list(q *store.Query, above *layer) []*Entry {
	if l == nil {
		return nil
	}
	kl := l.kinds[q.Kind]
	if kl == nil {
		return nil
	}
	var out []*Entry
	visit := func(e *Entry) bool {
		take, on := Match(q, &e.Record.Key)
		if take && !e.deleted && above.get(&e.Record.Key) == nil {
			out = append(out, e)
			return q.Limit <= 0 || len(out) < q.Limit
		}
		return on
	}
	start := &Entry{Record: store.Record{Key: Start(q)}}
	if q.Index.Name == "" {
		kl.primary.AscendGreaterOrEqual(start, visit)
		return out
	}
	if tree := kl.secondary[q.Index.Name]; tree != nil {
		tree.AscendGreaterOrEqual(secondary{q.Index.Value, start}, func(s secondary) bool {
			return s.value == q.Index.Value && visit(s.entry)
		})
	}
	return out
}

// Start is the least key that q can select.
func Start(q *store.Query) store.Key {
	return store.Key{Account: q.Account, Region: q.Region, Kind: q.Kind, ID: max(q.Prefix, q.After)}
}

// Match tells of a key of q's kind, met on the way up from Start, whether q
// selects it, and whether q can select one behind it.
func Match(q *store.Query, k *store.Key) (take, on bool) {
	switch {
	case q.Account != "" && k.Account != q.Account,
		q.Region != "" && k.Region != q.Region:
		return false, false
	case q.After != "" && k.Region == q.Region && k.ID <= q.After:
		return false, true
	case !strings.HasPrefix(k.ID, q.Prefix):
		// Ids with a prefix stand together, within one region.
		return false, q.Region == "" || k.ID < q.Prefix
	}
	return true, true
}
