package bolt

import (
	"bytes"
	"slices"
	"testing"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

var fuzzKey = store.Key{Account: "1", Region: "r", Kind: store.Kind{Service: "s", Name: "K"}, ID: "a/b"}

func fuzzEntry() *local.Entry {
	return &local.Entry{
		Record:  store.Record{Key: fuzzKey, Value: []byte("{}"), Created: 1, Modified: 300},
		Indexes: []store.Index{{Name: "n", Value: "v"}, {Name: "", Value: ""}},
	}
}

func same(a, b *local.Entry) bool {
	return a.Record.Key == b.Record.Key && bytes.Equal(a.Record.Value, b.Record.Value) &&
		a.Record.Created == b.Record.Created && a.Record.Modified == b.Record.Modified && slices.Equal(a.Indexes, b.Indexes)
}

func FuzzDecodeEntry(f *testing.F) {
	k := encodeKey(fuzzKey)
	f.Add(k, appendEntry(nil, fuzzEntry()))
	f.Add(k, []byte{})
	f.Add([]byte("a\x00b"), []byte{1, 1, 0})
	f.Add(k, []byte{1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		key, err := decodeKey(k)
		if err != nil {
			return
		}
		if !bytes.Equal(encodeKey(key), k) {
			t.Errorf("%q became %q", k, encodeKey(key))
		}
		e, err := decodeEntry(key, v)
		if err != nil {
			return
		}
		again, err := decodeSummed(key, k, encodeSummed(k, e))
		if err != nil || !same(e, again) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}

func FuzzDecodeChanges(f *testing.F) {
	f.Add(appendChanges(nil, []local.Change{{Key: fuzzKey, Entry: fuzzEntry()}, {Key: fuzzKey}}))
	f.Add([]byte{})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		changes, err := decodeChanges(b)
		if err != nil {
			return
		}
		again, err := decodeChanges(appendChanges(nil, changes))
		if err != nil || len(again) != len(changes) {
			t.Fatalf("%d changes became %d, %v", len(changes), len(again), err)
		}
		for i, c := range changes {
			if c.Key != again[i].Key || (c.Entry == nil) != (again[i].Entry == nil) || c.Entry != nil && !same(c.Entry, again[i].Entry) {
				t.Errorf("%+v became %+v", c, again[i])
			}
		}
	})
}

// TestDecodeSummed: a byte that changed is noticed, wherever it is.
func TestDecodeSummed(t *testing.T) {
	k := encodeKey(fuzzKey)
	whole := encodeSummed(k, fuzzEntry())
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 4
		if e, err := decodeSummed(fuzzKey, k, b); err == nil {
			t.Errorf("byte %d changed: %+v", i, e)
		}
	}
}
