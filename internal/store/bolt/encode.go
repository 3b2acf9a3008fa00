package bolt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// A key is its parts with zero bytes between them, which no part holds. The
// kind comes first, so that records of a kind share pages; keys of a kind are
// ordered as store.Query asks.

func appendKey(b []byte, k *store.Key) []byte {
	b = append(append(b, k.Kind.Service...), 0)
	b = append(append(b, k.Kind.Name...), 0)
	return appendPlace(b, k)
}

// appendPlace adds what a key says besides the kind.
func appendPlace(b []byte, k *store.Key) []byte {
	b = append(append(b, k.Account...), 0)
	b = append(append(b, k.Region...), 0)
	return append(b, k.ID...)
}

func encodeKey(k store.Key) []byte { return appendKey(nil, &k) }

func decodeKey(b []byte) (store.Key, error) {
	s := string(b)
	service, s, ok1 := strings.Cut(s, "\x00")
	name, s, ok2 := strings.Cut(s, "\x00")
	k, err := decodePlace(store.Kind{Service: service, Name: name}, s)
	if !ok1 || !ok2 {
		err = errKey
	}
	return k, err
}

var errKey = errors.New("a key has not five parts")

func decodePlace(kind store.Kind, s string) (store.Key, error) {
	account, s, ok1 := strings.Cut(s, "\x00")
	region, id, ok2 := strings.Cut(s, "\x00")
	if !ok1 || !ok2 || id == "" || strings.IndexByte(id, 0) >= 0 {
		return store.Key{}, errKey
	}
	return store.Key{Kind: kind, Account: account, Region: region, ID: id}, nil
}

// longValue is the length from which on the value of an index is kept as its
// hash: keys of the file have a limit, and values are compared for equality
// only.
const longValue = 256

// appendIndex is the beginning of the keys of what an index has under a value.
func appendIndex(b []byte, kind store.Kind, i store.Index) []byte {
	b = append(append(b, kind.Service...), 0)
	b = append(append(b, kind.Name...), 0)
	b = append(append(b, i.Name...), 0)
	if len(i.Value) >= longValue || strings.IndexByte(i.Value, 0) >= 0 {
		sum := sha256.Sum256([]byte(i.Value))
		return append(append(b, 2), sum[:]...)
	}
	b = append(append(b, 1), i.Value...)
	return append(b, 0)
}

func indexKey(k *store.Key, i store.Index) []byte {
	return appendPlace(appendIndex(nil, k.Kind, i), k)
}

// An entry is: created, modified, the number of indexes, each index's name and
// value with their lengths, and then the value, to the end. Numbers are
// uvarints. In the file of pages a checksum over key and entry stands before it.

func appendEntry(b []byte, e *local.Entry) []byte {
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

const sumSize = 4

func encodeSummed(key []byte, e *local.Entry) []byte {
	size := sumSize + len(e.Record.Value) + 3*binary.MaxVarintLen64
	for _, i := range e.Indexes {
		size += len(i.Name) + len(i.Value) + 2*binary.MaxVarintLen32
	}
	b := appendEntry(make([]byte, sumSize, size), e)
	binary.LittleEndian.PutUint32(b, entrySum(key, b[sumSize:]))
	return b
}

func entrySum(key, entry []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, entry)
}

// decodeSummed copies all that it keeps of v, which belongs to a transaction.
func decodeSummed(key store.Key, k, v []byte) (*local.Entry, error) {
	if len(v) < sumSize || binary.LittleEndian.Uint32(v) != entrySum(k, v[sumSize:]) {
		return nil, errors.New("record " + key.String() + " has another checksum")
	}
	return decodeEntry(key, v[sumSize:])
}

func decodeEntry(key store.Key, v []byte) (*local.Entry, error) {
	d := decoder{rest: v}
	e := &local.Entry{Record: store.Record{Key: key, Created: d.number(), Modified: d.number(), Decoded: new(store.Decoded)}}
	n := d.number()
	if n > uint64(len(d.rest))/2 {
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
	if e.Record.Value == nil {
		e.Record.Value = []byte{}
	}
	return e, nil
}

// The payload of a frame is the number of changes and, for each, its key and
// its entry with their lengths. An entry of no length is a deletion.

func appendChanges(b []byte, changes []local.Change) []byte {
	b = binary.AppendUvarint(b, uint64(len(changes)))
	var key, entry []byte
	for _, c := range changes {
		key = appendKey(key[:0], &c.Key)
		entry = entry[:0]
		if c.Entry != nil {
			entry = appendEntry(entry, c.Entry)
		}
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
		b = append(binary.AppendUvarint(b, uint64(len(entry))), entry...)
	}
	return b
}

func decodeChanges(b []byte) ([]local.Change, error) {
	d := decoder{rest: b}
	n := d.number()
	if n > uint64(len(b)) {
		d.failed = true
	}
	var out []local.Change
	for range n {
		k, v := d.bytes(), d.bytes()
		if d.failed {
			break
		}
		key, err := decodeKey(k)
		if err != nil {
			return nil, err
		}
		c := local.Change{Key: key}
		if len(v) > 0 {
			if c.Entry, err = decodeEntry(key, v); err != nil {
				return nil, err
			}
		}
		out = append(out, c)
	}
	// Behind the last change there is padding at the most.
	if d.failed || slices.ContainsFunc(d.rest, func(c byte) bool { return c != 0 }) || len(d.rest) >= align {
		return nil, errors.New("a batch is cut short")
	}
	return out, nil
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

func (d *decoder) bytes() []byte {
	n := d.number()
	if d.failed || n > uint64(len(d.rest)) {
		d.failed = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }
