package metricstore

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// gamma is the ratio of a sketch's bucket boundaries: what is read from one is
// wrong by 1 % at most.
const gamma = 1.02

var logGamma = math.Log(gamma)

// sketch is a mergeable histogram with boundaries that grow exponentially:
// how many values there are by bucket.
type sketch struct {
	zero               float64
	positive, negative map[int32]float64
}

func (s *sketch) add(value, count float64) {
	switch {
	case value == 0:
		s.zero += count
	case value > 0:
		if s.positive == nil {
			s.positive = map[int32]float64{}
		}
		s.positive[index(value)] += count
	default:
		if s.negative == nil {
			s.negative = map[int32]float64{}
		}
		s.negative[index(-value)] += count
	}
}

func index(v float64) int32 { return int32(math.Ceil(math.Log(v) / logGamma)) }

// middle is the value in the middle of a bucket.
func middle(i int32) float64 { return 2 * math.Exp(float64(i)*logGamma) / (gamma + 1) }

func (s *sketch) merge(o *sketch) {
	s.zero += o.zero
	for i, n := range o.positive {
		s.add(middle(i), n)
	}
	for i, n := range o.negative {
		s.add(-middle(i), n)
	}
}

// weighted is a value and how often it came.
type weighted struct{ value, count float64 }

// values lists the buckets in ascending order.
func (s *sketch) values() []weighted {
	out := make([]weighted, 0, len(s.positive)+len(s.negative)+1)
	for _, i := range slices.Backward(slices.Sorted(maps.Keys(s.negative))) {
		out = append(out, weighted{-middle(i), s.negative[i]})
	}
	if s.zero > 0 {
		out = append(out, weighted{0, s.zero})
	}
	for _, i := range slices.Sorted(maps.Keys(s.positive)) {
		out = append(out, weighted{middle(i), s.positive[i]})
	}
	return out
}

func (s *sketch) append(b []byte) []byte {
	b = appendFloat(b, s.zero)
	for _, m := range [2]map[int32]float64{s.positive, s.negative} {
		b = binary.AppendUvarint(b, uint64(len(m)))
		last := int64(0)
		for _, i := range slices.Sorted(maps.Keys(m)) {
			b = binary.AppendVarint(b, int64(i)-last)
			last = int64(i)
			b = appendFloat(b, m[i])
		}
	}
	return b
}

var errCorrupt = errors.New("corrupt statistics")

func decodeSketch(b []byte) (*sketch, error) {
	s := &sketch{}
	var ok bool
	if s.zero, b, ok = cutFloat(b); !ok {
		return nil, errCorrupt
	}
	for i := range 2 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)) {
			return nil, errCorrupt
		}
		b = b[size:]
		m := make(map[int32]float64, n)
		last := int64(0)
		for range n {
			d, size := binary.Varint(b)
			if size <= 0 {
				return nil, errCorrupt
			}
			last += d
			if last < math.MinInt32 || last > math.MaxInt32 {
				return nil, errCorrupt
			}
			var count float64
			if count, b, ok = cutFloat(b[size:]); !ok {
				return nil, errCorrupt
			}
			m[int32(last)] = count
		}
		if i == 0 {
			s.positive = m
		} else {
			s.negative = m
		}
	}
	return s, nil
}

func appendFloat(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(f))
}

func cutFloat(b []byte) (float64, []byte, bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:], true
}
