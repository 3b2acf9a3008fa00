package codec

import (
	"encoding/binary"
	"math"
	"reflect"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// CBOR's major types (RFC 8949, 3.1).
const (
	cborUint byte = iota
	cborNegative
	cborBytes
	cborText
	cborArray
	cborMap
	cborTag
	cborSimple
)

// What stands behind the major type for simple values and floats.
const (
	cborFalse     = 20
	cborTrue      = 21
	cborNull      = 22
	cborUndefined = 23
	cborHalf      = 25
	cborSingle    = 26
	cborDouble    = 27
	cborBreak     = 31
	// cborIndefinite is the additional information of lengths that are not
	// told.
	cborIndefinite = 31
)

// cborEpoch is the tag of seconds since 1970.
const cborEpoch = 1

// cborEncoder appends values to b.
type cborEncoder struct{ b []byte }

func (e *cborEncoder) head(major byte, n uint64) {
	m := major << 5
	switch {
	case n < 24:
		e.b = append(e.b, m|byte(n))
	case n <= math.MaxUint8:
		e.b = append(e.b, m|24, byte(n))
	case n <= math.MaxUint16:
		e.b = binary.BigEndian.AppendUint16(append(e.b, m|25), uint16(n))
	case n <= math.MaxUint32:
		e.b = binary.BigEndian.AppendUint32(append(e.b, m|26), uint32(n))
	default:
		e.b = binary.BigEndian.AppendUint64(append(e.b, m|27), n)
	}
}

func (e *cborEncoder) text(s string) {
	e.head(cborText, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *cborEncoder) double(f float64) {
	e.b = binary.BigEndian.AppendUint64(append(e.b, cborSimple<<5|cborDouble), math.Float64bits(f))
}

// structure writes a structure's members. Lists that are absent are written as
// empty ones where empties is set, as in JSON.
func (e *cborEncoder) structure(n *typed.Node, v reflect.Value, empties bool) {
	present := func(f *typed.Field) bool {
		return !f.Absent(v.Field(f.Index)) || empties && f.Node.Shape.Kind == api.List
	}
	count := 0
	for i := range n.Fields {
		if present(&n.Fields[i]) {
			count++
		}
	}
	e.head(cborMap, uint64(count))
	for i := range n.Fields {
		f := &n.Fields[i]
		if !present(f) {
			continue
		}
		e.text(f.Member.Wire())
		if f.Absent(v.Field(f.Index)) {
			e.head(cborArray, 0)
			continue
		}
		e.value(f.Node, f.Value(v))
	}
}

func (e *cborEncoder) value(n *typed.Node, v reflect.Value) {
	switch n.Shape.Kind {
	case api.String:
		e.text(v.String())
	case api.Boolean:
		b := byte(cborFalse)
		if v.Bool() {
			b = cborTrue
		}
		e.b = append(e.b, cborSimple<<5|b)
	case api.Integer, api.Long:
		if i := v.Int(); i < 0 {
			e.head(cborNegative, uint64(-1-i))
		} else {
			e.head(cborUint, uint64(i))
		}
	case api.Float, api.Double:
		e.double(v.Float())
	case api.Blob:
		e.head(cborBytes, uint64(v.Len()))
		e.b = append(e.b, v.Bytes()...)
	case api.Timestamp:
		e.head(cborTag, cborEpoch)
		e.double(float64(v.Interface().(time.Time).UnixMilli()) / 1000)
	case api.Structure:
		e.structure(n, v, false)
	case api.List:
		e.head(cborArray, uint64(v.Len()))
		for i := range v.Len() {
			e.value(n.Elem, v.Index(i))
		}
	case api.Map:
		keys := sortedKeys(v)
		e.head(cborMap, uint64(len(keys)))
		for _, k := range keys {
			e.text(k.String())
			e.value(n.Elem, v.MapIndex(k))
		}
	case api.Document:
		// The protocol has none.
		e.b = append(e.b, cborSimple<<5|cborNull)
	}
}
