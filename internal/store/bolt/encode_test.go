package bolt

import (
	"bytes"
	"slices"
	"testing"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

func FuzzDecodeEntry(f *testing.F) {
	k := encodeKey(store.Key{Account: "1", Region: "r", Kind: store.Kind{Service: "s", Name: "K"}, ID: "a/b"})
	f.Add(k, encodeEntry(&local.Entry{
		Record:  store.Record{Value: []byte("{}"), Created: 1, Modified: 300},
		Indexes: []store.Index{{Name: "n", Value: "v"}, {Name: "", Value: ""}},
	}))
	f.Add(k, []byte{})
	f.Add([]byte("a\x00b"), []byte{1, 1, 0})
	f.Add(k, []byte{1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		e, err := decodeEntry(k, v)
		if err != nil {
			return
		}
		again, err := decodeEntry(encodeKey(e.Record.Key), encodeEntry(e))
		if err != nil || again.Record.Key != e.Record.Key || !bytes.Equal(again.Record.Value, e.Record.Value) ||
			again.Record.Modified != e.Record.Modified || !slices.Equal(again.Indexes, e.Indexes) {
			t.Errorf("%+v became %+v, %v", e, again, err)
		}
	})
}
