package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// A key is its parts with zero bytes between them, which no part holds. The
// kind comes first, so that records of a kind share pages.

func encodeKey(k store.Key) []byte {
	return []byte(strings.Join([]string{k.Kind.Service, k.Kind.Name, k.Account, k.Region, k.ID}, "\x00"))
}

func decodeKey(b []byte) (store.Key, error) {
	p := strings.Split(string(b), "\x00")
	if len(p) != 5 || p[4] == "" {
		return store.Key{}, errors.New("a key has not five parts")
	}
	return store.Key{Kind: store.Kind{Service: p[0], Name: p[1]}, Account: p[2], Region: p[3], ID: p[4]}, nil
}

// An entry is: created, modified, the number of indexes, each index's name and
// value with their lengths, and then the value, to the end. Numbers are
// uvarints.

func encodeEntry(e *local.Entry) []byte {
	size := len(e.Record.Value) + 3*binary.MaxVarintLen64
	for _, i := range e.Indexes {
		size += len(i.Name) + len(i.Value) + 2*binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	b = binary.AppendUvarint(b, e.Record.Created)
	b = binary.AppendUvarint(b, e.Record.Modified)
	b = binary.AppendUvarint(b, uint64(len(e.Indexes)))
	for _, i := range e.Indexes {
		b = appendString(b, i.Name)
		b = appendString(b, i.Value)
	}
	return append(b, e.Record.Value...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeEntry copies all that it keeps: k and v belong to a transaction.
func decodeEntry(k, v []byte) (*local.Entry, error) {
	key, err := decodeKey(k)
	if err != nil {
		return nil, err
	}
	d := decoder{rest: v}
	e := &local.Entry{Record: store.Record{Key: key, Created: d.number(), Modified: d.number(), Decoded: new(store.Decoded)}}
	n := d.number()
	if n > uint64(len(v)) {
		d.failed = true
	}
	for range n {
		if d.failed {
			break
		}
		e.Indexes = append(e.Indexes, store.Index{Name: d.string(), Value: d.string()})
	}
	if d.failed {
		return nil, errors.New("record " + key.String() + " is cut short")
	}
	e.Record.Value = bytes.Clone(d.rest)
	return e, nil
}

type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) string() string {
	n := d.number()
	if d.failed || n > uint64(len(d.rest)) {
		d.failed = true
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}
