package metricstore

import (
	"math"
	"slices"
)

// Set is the statistics of the values of a period.
type Set struct {
	Count, Sum, Min, Max float64
	// blurred sets know nothing of how values are distributed, since somebody
	// told statistics alone.
	blurred bool
	// sketch is nil where all values are Min.
	sketch *sketch
}

// Add adds a value that came count times.
func (s *Set) Add(value, count float64) {
	s.Merge(&Set{Count: count, Sum: value * count, Min: value, Max: value})
}

// Statistics makes a set that only its statistics are known of. The values'
// distribution is known where they must all be equal.
func Statistics(count, sum, low, high float64) Set {
	return Set{Count: count, Sum: sum, Min: low, Max: high, blurred: low != high}
}

// Merge adds what is in o.
func (s *Set) Merge(o *Set) {
	if o.Count == 0 {
		return
	}
	if s.Count == 0 {
		*s = *o
		if o.sketch != nil {
			s.sketch = &sketch{}
			s.sketch.merge(o.sketch)
		}
		return
	}
	s.blurred = s.blurred || o.blurred
	if !s.blurred && (s.sketch != nil || o.sketch != nil || s.Min != o.Min) {
		all := &sketch{}
		for _, x := range [2]*Set{s, o} {
			if x.sketch == nil {
				all.add(x.Min, x.Count)
			} else {
				all.merge(x.sketch)
			}
		}
		s.sketch = all
	}
	if s.blurred {
		s.sketch = nil
	}
	s.Count += o.Count
	s.Sum += o.Sum
	s.Min, s.Max = min(s.Min, o.Min), max(s.Max, o.Max)
}

// Average of the values.
func (s *Set) Average() float64 { return s.Sum / s.Count }

// values are the values in ascending order as far as they are known; none when
// their distribution is not.
func (s *Set) values() []weighted {
	if s.blurred || s.Count == 0 {
		return nil
	}
	if s.sketch == nil {
		return []weighted{{s.Min, s.Count}}
	}
	vs := s.sketch.values()
	for i := range vs {
		vs[i].value = min(max(vs[i].value, s.Min), s.Max)
	}
	return vs
}

// Percentile is the value below which p of 100 values are. ok is false when
// the distribution is not known.
func (s *Set) Percentile(p float64) (v float64, ok bool) {
	vs := s.values()
	if len(vs) == 0 {
		return 0, false
	}
	rank := p / 100 * s.Count
	for _, x := range vs {
		if rank -= x.count; rank <= 0 {
			return x.value, true
		}
	}
	return vs[len(vs)-1].value, true
}

// Trim is the part of the values between two percentiles, and what part of
// them that is.
func (s *Set) Trim(low, high float64) (part Set, ok bool) {
	vs := s.values()
	if len(vs) == 0 {
		return Set{}, false
	}
	from, to := low/100*s.Count, high/100*s.Count
	at := 0.0
	for _, x := range vs {
		n := min(at+x.count, to) - max(at, from)
		at += x.count
		if n > 0 {
			part.Add(x.value, n)
		}
	}
	return part, true
}

// Between is the part of the values that are above low and not above high.
func (s *Set) Between(low, high float64) (part Set, ok bool) {
	vs := s.values()
	if len(vs) == 0 {
		return Set{}, false
	}
	for _, x := range vs {
		if x.value > low && x.value <= high {
			part.Add(x.value, x.count)
		}
	}
	return part, true
}

// Winsorized replaces the values outside two percentiles by those percentiles.
func (s *Set) Winsorized(low, high float64) (all Set, ok bool) {
	bottom, ok := s.Percentile(low)
	if !ok {
		return Set{}, false
	}
	top, _ := s.Percentile(high)
	for _, x := range s.values() {
		all.Add(min(max(x.value, bottom), top), x.count)
	}
	return all, true
}

// The forms of a set on disk.
const (
	formBlurred byte = iota
	formEqual
	formSketch
)

func (s *Set) encode() []byte {
	form := formEqual
	switch {
	case s.blurred:
		form = formBlurred
	case s.sketch != nil:
		form = formSketch
	}
	b := make([]byte, 0, 64)
	b = append(b, form)
	for _, f := range [4]float64{s.Count, s.Sum, s.Min, s.Max} {
		b = appendFloat(b, f)
	}
	if form == formSketch {
		b = s.sketch.append(b)
	}
	return b
}

func decodeSet(b []byte) (Set, error) {
	var s Set
	if len(b) < 1+4*8 {
		return s, errCorrupt
	}
	form := b[0]
	b = b[1:]
	for _, f := range [4]*float64{&s.Count, &s.Sum, &s.Min, &s.Max} {
		*f, b, _ = cutFloat(b)
		if math.IsNaN(*f) {
			return s, errCorrupt
		}
	}
	switch form {
	case formBlurred:
		s.blurred = true
	case formEqual:
	case formSketch:
		var err error
		if s.sketch, err = decodeSketch(b); err != nil {
			return s, err
		}
	default:
		return s, errCorrupt
	}
	return s, nil
}

// Dimension is a name and a value that a metric has.
type Dimension struct{ Name, Value string }

// Metric names a metric.
type Metric struct {
	Account, Region, Namespace, Name string
	// Dimensions in the order of their names.
	Dimensions []Dimension
}

// NewMetric names a metric; dimensions may have any order.
func NewMetric(account, region, namespace, name string, dimensions ...Dimension) Metric {
	ds := slices.Clone(dimensions)
	slices.SortFunc(ds, func(a, b Dimension) int {
		if a.Name < b.Name {
			return -1
		}
		if a.Name > b.Name {
			return 1
		}
		return 0
	})
	return Metric{Account: account, Region: region, Namespace: namespace, Name: name, Dimensions: ds}
}
