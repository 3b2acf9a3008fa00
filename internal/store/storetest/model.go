package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/store"
)

// testModel runs random transactions and queries against the store and
// against a plain map, which must agree.
func testModel(t *testing.T, open Open) {
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		var s store.Store
		n++
		// A subtest, so that the store is closed before the next run.
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s = open(t, 0)
			m := &modelled{t: rt, ctxOf: t, s: s, records: map[store.Key]modelRecord{}}
			rt.Repeat(map[string]func(*rapid.T){
				"commit": m.commit,
				"list":   m.list,
				"get":    m.get,
			})
		})
	})
}

type modelRecord struct {
	value             string
	created, modified uint64
	indexes           []store.Index
}

type modelled struct {
	t       *rapid.T
	ctxOf   *testing.T
	s       store.Store
	rev     uint64
	records map[store.Key]modelRecord
}

var (
	modelIDs   = rapid.SampledFrom([]string{"a", "a/1", "a/2", "ab", "b", "b/1", "c"})
	modelColor = rapid.SampledFrom([]string{"red", "re", "blue"})
	modelKey   = rapid.Custom(func(t *rapid.T) store.Key {
		return store.Key{
			Account: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "account"),
			Region:  rapid.SampledFrom([]string{"", "eu", "us"}).Draw(t, "region"),
			Kind:    rapid.SampledFrom([]store.Kind{kindA, kindB}).Draw(t, "kind"),
			ID:      modelIDs.Draw(t, "id"),
		}
	})
)

func (m *modelled) commit(t *rapid.T) {
	keys := rapid.SliceOfNDistinct(modelKey, 1, 4, rapid.ID).Draw(t, "keys")
	var ops []store.Op
	for i, k := range keys {
		if rapid.IntRange(0, 2).Draw(t, "delete") == 0 {
			ops = append(ops, store.Op{Key: k})
			continue
		}
		op := put(k, fmt.Sprintf("%d.%d", m.rev, i))
		for _, c := range rapid.SliceOfDistinct(modelColor, rapid.ID).Draw(t, "colors") {
			op.Indexes = append(op.Indexes, store.Index{Name: "color", Value: c})
		}
		ops = append(ops, op)
	}
	var conds []store.Condition
	hold := true
	for _, k := range rapid.SliceOfN(modelKey, 0, 2).Draw(t, "conditions") {
		c := store.Condition{Key: k, Modified: m.records[k].modified}
		if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
			c.Modified++
			hold = false
		}
		conds = append(conds, c)
	}
	rev, err := m.s.Commit(m.ctxOf.Context(), conds, ops)
	if !hold {
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("a condition does not hold, and the commit gave %v", err)
		}
		return
	}
	if err != nil || rev <= m.rev {
		t.Fatalf("commit at %d gave %d, %v", m.rev, rev, err)
	}
	m.rev = rev
	for _, op := range ops {
		if op.Value == nil {
			delete(m.records, op.Key)
			continue
		}
		r := modelRecord{string(op.Value), rev, rev, op.Indexes}
		if old, had := m.records[op.Key]; had {
			r.created = old.created
		}
		m.records[op.Key] = r
	}
}

func (m *modelled) get(t *rapid.T) {
	k := modelKey.Draw(t, "key")
	got, err := m.s.Get(m.ctxOf.Context(), k)
	want, ok := m.records[k]
	if !ok {
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("get of nothing: %v", err)
		}
		return
	}
	if err != nil || string(got.Value) != want.value || got.Created != want.created || got.Modified != want.modified {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
}

func (m *modelled) list(t *rapid.T) {
	q := store.Query{
		Kind:    rapid.SampledFrom([]store.Kind{kindA, kindB}).Draw(t, "kind"),
		Account: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "account"),
		Limit:   rapid.IntRange(0, 3).Draw(t, "limit"),
	}
	if q.Account != "" {
		q.Region = rapid.SampledFrom([]string{"", "eu", "us"}).Draw(t, "region")
	}
	if q.Region != "" {
		q.Prefix = rapid.SampledFrom([]string{"", "a", "a/", "b/", "x"}).Draw(t, "prefix")
		q.After = rapid.SampledFrom([]string{"", "0", "a", "a/1", "b", "z"}).Draw(t, "after")
	}
	if rapid.Bool().Draw(t, "by index") {
		q.Index = store.Index{Name: "color", Value: modelColor.Draw(t, "color")}
	}
	rs, rev, err := m.s.List(m.ctxOf.Context(), q)
	if err != nil || rev != m.rev {
		t.Fatalf("list at %d: revision %d, %v", m.rev, rev, err)
	}
	got := []string{}
	for _, r := range rs {
		got = append(got, r.Key.String())
	}
	if d := cmp.Diff(m.expect(q), got); d != "" {
		t.Fatalf("list %+v:\n%s", q, d)
	}
}

func (m *modelled) expect(q store.Query) []string {
	var keys []store.Key
	for k, r := range m.records {
		if k.Kind == q.Kind && (q.Account == "" || k.Account == q.Account) && (q.Region == "" || k.Region == q.Region) &&
			strings.HasPrefix(k.ID, q.Prefix) && (q.After == "" || k.ID > q.After) &&
			(q.Index.Name == "" || slices.Contains(r.indexes, q.Index)) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b store.Key) int {
		return strings.Compare(a.Account+"\x00"+a.Region+"\x00"+a.ID, b.Account+"\x00"+b.Region+"\x00"+b.ID)
	})
	if q.Limit > 0 && len(keys) > q.Limit {
		keys = keys[:q.Limit]
	}
	out := []string{}
	for _, k := range keys {
		out = append(out, k.String())
	}
	return out
}
