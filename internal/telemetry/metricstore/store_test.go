package metricstore

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func metric(name string, dimensions ...Dimension) Metric {
	return NewMetric("1", "r", "AWS/Test", name, dimensions...)
}

func one(v float64) Set {
	var s Set
	s.Add(v, 1)
	return s
}

func store(t *testing.T, s *Store, ds ...Datum) {
	t.Helper()
	if err := s.Put(t.Context(), ds); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *Store, m Metric, unit string, from, to time.Time, period time.Duration) []Point {
	t.Helper()
	ps, err := s.Read(m, unit, from, to, period)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func TestReadAggregates(t *testing.T) {
	s := open(t)
	m := metric("Latency", Dimension{"B", "2"}, Dimension{"A", "1"})
	for i, v := range []float64{1, 3, 5, 7} {
		store(t, s, Datum{m, "Seconds", epoch.Add(time.Duration(i) * 30 * time.Second), one(v)})
	}
	store(t, s, Datum{m, "Count", epoch, one(100)}, Datum{metric("Latency"), "Seconds", epoch, one(9)}, Datum{metric("Latency", Dimension{"A", "1"}), "Seconds", epoch, one(9)})
	same := metric("Latency", Dimension{"A", "1"}, Dimension{"B", "2"})
	minutes := read(t, s, same, "Seconds", epoch, epoch.Add(time.Hour), time.Minute)
	if len(minutes) != 2 || minutes[0].Sum != 4 || minutes[0].Min != 1 || minutes[0].Max != 3 || minutes[0].Count != 2 || minutes[1].Average() != 6 || !minutes[1].Start.Equal(epoch.Add(time.Minute)) {
		t.Errorf("%+v", minutes)
	}
	if ps := read(t, s, same, "Seconds", epoch, epoch.Add(time.Minute), time.Hour); len(ps) != 1 || ps[0].Sum != 4 {
		t.Errorf("the end does not count: %+v", ps)
	}
	if ps := read(t, s, same, "", epoch, epoch.Add(time.Hour), time.Hour); len(ps) != 2 || ps[0].Unit != "Count" || ps[1].Unit != "Seconds" || ps[1].Sum != 16 {
		t.Errorf("all units: %+v", ps)
	}
	if ps := read(t, s, metric("Latency"), "", epoch, epoch.Add(time.Hour), time.Hour); len(ps) != 1 || ps[0].Sum != 9 {
		t.Errorf("without dimensions: %+v", ps)
	}
}

func TestList(t *testing.T) {
	s := open(t)
	store(t, s, Datum{metric("B"), "None", epoch, one(1)}, Datum{metric("A", Dimension{"x", "y"}), "Count", epoch, one(1)},
		Datum{metric("A", Dimension{"x", "y"}), "None", epoch, one(1)}, Datum{metric("AB"), "None", epoch.Add(-time.Hour), one(1)},
		Datum{NewMetric("1", "r", "Other", "A"), "None", epoch, one(1)}, Datum{NewMetric("2", "r", "AWS/Test", "A"), "None", epoch, one(1)})
	list := func(namespace, name string, since time.Time) (out []string) {
		if err := s.List("1", "r", namespace, name, since, func(l Listed) bool {
			out = append(out, l.Namespace+":"+l.Name)
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, c := range []struct {
		namespace, name string
		since           time.Time
		want            []string
	}{
		{"", "", time.Time{}, []string{"AWS/Test:A", "AWS/Test:AB", "AWS/Test:B", "Other:A"}},
		{"AWS/Test", "", epoch, []string{"AWS/Test:A", "AWS/Test:B"}},
		{"AWS/Test", "A", time.Time{}, []string{"AWS/Test:A"}},
		{"", "A", time.Time{}, []string{"AWS/Test:A", "Other:A"}},
		{"AWS", "", time.Time{}, nil},
	} {
		if got := list(c.namespace, c.name, c.since); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v", c.namespace, c.name, got)
		}
	}
}

func TestSurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	store(t, s, Datum{metric("A"), "None", epoch, one(1)})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	store(t, s, Datum{metric("A"), "None", epoch, one(2)}, Datum{metric("B"), "None", epoch, one(7)})
	if ps := read(t, s, metric("A"), "None", epoch, epoch.Add(time.Minute), time.Minute); len(ps) != 1 || ps[0].Sum != 3 {
		t.Errorf("%+v", ps)
	}
}

// TestAge holds that data grows coarser with age, and that nothing of it is
// lost before its time.
func TestAge(t *testing.T) {
	s := open(t)
	m, other := metric("A"), metric("B")
	for i := range 120 {
		store(t, s, Datum{m, "None", epoch.Add(time.Duration(i) * time.Minute), one(float64(i))}, Datum{other, "None", epoch.Add(time.Duration(i) * time.Minute), one(1)})
	}
	keys := func(bucket int) int {
		n := 0
		tx, err := s.db.Begin(false)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		_ = tx.Bucket(resolutions[bucket].bucket).ForEach(func(_, _ []byte) error { n++; return nil })
		return n
	}
	for _, c := range []struct {
		at   time.Time
		want [3]int
		sum  float64
	}{
		{epoch.Add(time.Hour), [3]int{240, 0, 0}, 7140},
		{epoch.Add(15*day + time.Hour), [3]int{120, 24, 0}, 7140},
		{epoch.Add(16 * day), [3]int{0, 48, 0}, 7140},
		{epoch.Add(64 * day), [3]int{0, 0, 4}, 7140},
		{epoch.Add(456 * day), [3]int{0, 0, 0}, 0},
	} {
		if err := s.Age(t.Context(), c.at); err != nil {
			t.Fatal(err)
		}
		if got := [3]int{keys(0), keys(1), keys(2)}; got != c.want {
			t.Errorf("at %s: %v, not %v", c.at, got, c.want)
		}
		sum := 0.0
		for _, p := range read(t, s, m, "None", epoch, epoch.Add(2*time.Hour), time.Hour) {
			sum += p.Sum
		}
		if sum != c.sum {
			t.Errorf("at %s: sum %g", c.at, sum)
		}
	}
	if err := s.List("1", "r", "", "", time.Time{}, func(l Listed) bool { t.Errorf("%+v is left", l); return true }); err != nil {
		t.Fatal(err)
	}
}

// TestSketch holds, for all values, that percentiles are right but for 1 %,
// however the values were added, merged, written and read.
func TestSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 200).Draw(t, "values")
		if rapid.Bool().Draw(t, "equal") {
			for i := range values {
				values[i] = values[0]
			}
		}
		var parts [3]Set
		for i, v := range values {
			parts[i%3].Add(v, 1)
		}
		var all Set
		for i := range parts {
			if parts[i].Count == 0 {
				continue
			}
			back, err := decodeSet(parts[i].encode())
			if err != nil {
				t.Fatal(err)
			}
			all.Merge(&back)
		}
		slices.Sort(values)
		if all.Count != float64(len(values)) || all.Min != values[0] || all.Max != values[len(values)-1] {
			t.Fatalf("%+v", all)
		}
		for _, p := range []float64{0, 1, 50, 90, 99, 100} {
			want := values[max(int(math.Ceil(p/100*float64(len(values))))-1, 0)]
			got, ok := all.Percentile(p)
			if !ok || math.Abs(got-want) > 0.011*math.Abs(want)+1e-9 {
				t.Fatalf("p%g of %v: %g, not %g", p, values, got, want)
			}
		}
	})
}

func TestDistribution(t *testing.T) {
	var s Set
	for v := range 100 {
		s.Add(float64(v+1), 1)
	}
	near := func(what string, got, want float64, ok bool) {
		t.Helper()
		if !ok || math.Abs(got-want) > 0.03*want {
			t.Errorf("%s: %g, not %g", what, got, want)
		}
	}
	trimmed, ok := s.Trim(10, 90)
	near("tm", trimmed.Average(), 50.5, ok)
	near("tc", trimmed.Count, 80, ok)
	between, ok := s.Between(20, 60)
	near("pr", between.Count, 40, ok)
	w, ok := s.Winsorized(0, 50)
	near("wm", w.Average(), (25.5*50+50*50)/100, ok)
	b := Statistics(10, 100, 1, 20)
	if _, ok := b.Percentile(50); ok {
		t.Error("a percentile of mere statistics")
	}
	b.Add(3, 1)
	if _, ok := b.Percentile(50); ok || b.Count != 11 || b.Sum != 103 {
		t.Errorf("%+v", b)
	}
	e := Statistics(10, 50, 5, 5)
	if v, ok := e.Percentile(50); !ok || v != 5 {
		t.Error("equal values have percentiles")
	}
}

func FuzzDecodeSet(f *testing.F) {
	var s Set
	s.Add(1, 2)
	f.Add(s.encode())
	s.Add(-3, 1)
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSet(b)
		if err != nil {
			return
		}
		again, err := decodeSet(s.encode())
		if err != nil || again.Count != s.Count || again.Min != s.Min {
			t.Errorf("%+v, then %+v %v", s, again, err)
		}
	})
}
