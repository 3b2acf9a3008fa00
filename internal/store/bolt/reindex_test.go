package bolt_test

import (
	"path/filepath"
	"testing"

	"roadstead.dev/internal/store"
)

type painted struct{ Color, Size string }

// TestReindex: an index that a table got after its records were written finds
// them, one that it lost is gone, and a start without a change writes nothing.
func TestReindex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	table := func() *store.Table[painted] { return store.NewTable[painted]("test", "Painted") }
	byColor := func(v *painted) []string { return []string{v.Color} }
	bySize := func(v *painted) []string { return []string{v.Size} }
	const records = 1200
	count := func(s store.Store, name, value string) int {
		t.Helper()
		rows, err := table().List(t.Context(), s, store.Query{Account: "1", Region: "r", Index: store.Index{Name: name, Value: value}})
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	start := func(tables ...store.Indexed) store.Store {
		t.Helper()
		s := open(t, path)
		if err := store.Reindex(t.Context(), s, tables...); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := table().WithIndex("color", byColor)
	s := start(before)
	tx := store.NewTxn()
	for i := range records {
		v := &painted{Color: "red", Size: "small"}
		if i%3 == 0 {
			v.Size = "large"
		}
		before.Create(tx, "1", "r", string(rune('a'+i%26))+string(rune('0'+i/26)), v)
	}
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if n := count(s, "color", "red"); n != records {
		t.Fatalf("%d are red", n)
	}
	_ = s.Close()

	after := table().WithIndex("size", bySize)
	s = start(after)
	if large, small, red := count(s, "size", "large"), count(s, "size", "small"), count(s, "color", "red"); large != records/3 || small != records-large || red != 0 {
		t.Errorf("%d large, %d small, %d red", large, small, red)
	}
	revision := s.Revision()
	_ = s.Close()

	s = start(after)
	defer s.Close()
	if s.Revision() != revision || count(s, "size", "large") != records/3 {
		t.Errorf("a start that changes nothing wrote: revision %d, then %d", revision, s.Revision())
	}
}
