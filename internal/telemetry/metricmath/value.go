// Package metricmath evaluates CloudWatch's metric math.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
package metricmath

import (
	"slices"
	"time"
)

// Series is values by time, in ascending order. Period is how far apart they
// are meant to be.
type Series struct {
	Period time.Duration
	Times  []time.Time
	Values []float64
}

// at is the value at a time.
func (s *Series) at(t time.Time) (float64, bool) {
	i, ok := slices.BinarySearchFunc(s.Times, t, time.Time.Compare)
	if !ok {
		return 0, false
	}
	return s.Values[i], true
}

// each makes a series of the same times.
func (s *Series) each(f func(float64) float64) Series {
	out := Series{Period: s.Period, Times: s.Times, Values: make([]float64, len(s.Values))}
	for i, v := range s.Values {
		out.Values[i] = f(v)
	}
	return out
}

// Value is a number, a series, or several series: the one that Kind says.
type Value struct {
	Kind   Kind
	Number float64
	Series Series
	List   []Series
}

// Kind of a Value.
type Kind uint8

// The kinds.
const (
	Scalar Kind = iota
	TimeSeries
	Array
)

func (k Kind) String() string {
	switch k {
	case TimeSeries:
		return "TimeSeries"
	case Array:
		return "TimeSeries[]"
	case Scalar:
	}
	return "Scalar"
}

func scalar(f float64) Value    { return Value{Kind: Scalar, Number: f} }
func timeSeries(s Series) Value { return Value{Kind: TimeSeries, Series: s} }

// combine is f of two values, point by point. Of two series the times count
// that both have.
func combine(a, b Value, f func(x, y float64) float64) (Value, error) {
	switch {
	case a.Kind == Array && b.Kind == Array:
		return Value{}, errorf("Unsupported operand type(s) for %s and %s", a.Kind, b.Kind)
	case a.Kind == Array:
		return b.over(a.List, func(s, other Value) (Value, error) { return combine(s, other, f) })
	case b.Kind == Array:
		return a.over(b.List, func(s, other Value) (Value, error) { return combine(other, s, f) })
	case a.Kind == Scalar && b.Kind == Scalar:
		return scalar(f(a.Number, b.Number)), nil
	case b.Kind == Scalar:
		return timeSeries(a.Series.each(func(x float64) float64 { return f(x, b.Number) })), nil
	case a.Kind == Scalar:
		return timeSeries(b.Series.each(func(y float64) float64 { return f(a.Number, y) })), nil
	}
	out := Series{Period: max(a.Series.Period, b.Series.Period)}
	for i, t := range a.Series.Times {
		if y, ok := b.Series.at(t); ok {
			out.Times = append(out.Times, t)
			out.Values = append(out.Values, f(a.Series.Values[i], y))
		}
	}
	return timeSeries(out), nil
}

// over applies f to each series of a list and v.
func (v Value) over(list []Series, f func(s, other Value) (Value, error)) (Value, error) {
	out := Value{Kind: Array}
	for _, s := range list {
		r, err := f(timeSeries(s), v)
		if err != nil {
			return Value{}, err
		}
		out.List = append(out.List, r.Series)
	}
	return out, nil
}

// across reduces several series to one: f of the values that there are at each
// time.
func across(list []Series, f func([]float64) float64) Series {
	byTime := map[int64][]float64{}
	var out Series
	for i := range list {
		out.Period = max(out.Period, list[i].Period)
		for j, t := range list[i].Times {
			byTime[t.UnixNano()] = append(byTime[t.UnixNano()], list[i].Values[j])
		}
	}
	keys := make([]int64, 0, len(byTime))
	for k := range byTime {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out.Times = append(out.Times, time.Unix(0, k).UTC())
		out.Values = append(out.Values, f(byTime[k]))
	}
	return out
}
