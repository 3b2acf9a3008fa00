package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Samples are measurements of one thing. The zero value is ready.
type Samples[T cmp.Ordered] struct{ values []T }

// Durations are measured times.
type Durations = Samples[time.Duration]

// Add notes a measurement.
func (s *Samples[T]) Add(v T) { s.values = append(s.values, v) }

// N is how many there are.
func (s *Samples[T]) N() int { return len(s.values) }

// Quantile is the smallest measurement that a share of q (0 to 1) of all do
// not exceed; the zero value when there are none.
func (s *Samples[T]) Quantile(q float64) T {
	if len(s.values) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(s.values))
	at := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

// Min is the smallest measurement.
func (s *Samples[T]) Min() T { return s.Quantile(0) }

// Median is the middle one, the lower of two.
func (s *Samples[T]) Median() T { return s.Quantile(0.5) }

// Max is the largest.
func (s *Samples[T]) Max() T { return s.Quantile(1) }

// Columns are the headings of what Cells makes.
func Columns() []string { return []string{"n", "min", "median", "p95", "max"} }

// Cells are the columns of a table's row for the measurements.
func Cells[T cmp.Ordered](s *Samples[T], format func(T) string) []string {
	return []string{fmt.Sprint(s.N()), format(s.Min()), format(s.Median()), format(s.Quantile(0.95)), format(s.Max())}
}

// Milliseconds formats a duration.
func Milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// Megabytes formats a number of bytes.
func Megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// Ratio is how many times b goes into a.
func Ratio[T ~int | ~int64 | ~float64](a, b T) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
