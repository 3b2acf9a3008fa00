package metricmath

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var nan = math.NaN()

// series has a value each minute; NaN stands for none.
func series(values ...float64) Series {
	s := Series{Period: time.Minute}
	for i, v := range values {
		if !math.IsNaN(v) {
			s.Times, s.Values = append(s.Times, time.Unix(int64(60*i), 0).UTC()), append(s.Values, v)
		}
	}
	return s
}

func env() Env {
	m := []Named{{"m1", series(1, 2, 3)}, {"m2", series(10, nan, 30)}, {"errors", series(0, 4, 0)}}
	return Env{Metrics: m, Of: func(id string) (Value, bool) {
		for _, n := range m {
			if n.ID == id {
				return timeSeries(n.Series), true
			}
		}
		return Value{}, false
	}}
}

func TestEval(t *testing.T) {
	for expression, want := range map[string]Value{
		"1 + 2 * 3":                  scalar(7),
		"-2 ^ 2":                     scalar(-4),
		"(1+2)*3 - 4/2":              scalar(7),
		"m1 + 1":                     timeSeries(series(2, 3, 4)),
		"100 - m1*2":                 timeSeries(series(98, 96, 94)),
		"m1 / m2":                    timeSeries(series(0.1, nan, 0.1)),
		"m1 / errors":                timeSeries(series(nan, 0.5, nan)),
		"m1 > 1 AND m1 < 3":          timeSeries(series(0, 1, 0)),
		"SUM(METRICS())":             timeSeries(series(11, 6, 33)),
		"AVG(METRICS('m'))":          timeSeries(series(5.5, 2, 16.5)),
		"MAX([m1, m2])":              timeSeries(series(10, 2, 30)),
		"SUM(m1)":                    scalar(6),
		"STDDEV(m1)":                 scalar(math.Sqrt(2.0 / 3)),
		"FILL(m2, 0)":                timeSeries(series(10, 0, 30)),
		"FILL(m2, REPEAT)":           timeSeries(series(10, 10, 30)),
		"FILL(m2, LINEAR)":           timeSeries(series(10, 20, 30)),
		"m1 + FILL(m2, 5)":           timeSeries(series(11, 7, 33)),
		"PERIOD(m1)":                 scalar(60),
		"m1 / PERIOD(m1) * 60":       timeSeries(series(1, 2, 3)),
		"DIFF(m1)":                   timeSeries(series(nan, 1, 1)),
		"RATE(m1) * 60":              timeSeries(series(nan, 1, 1)),
		"RUNNING_SUM(m1)":            timeSeries(series(1, 3, 6)),
		"IF(errors > 0, m1, 0)":      timeSeries(series(0, 2, 0)),
		"IF(1, m1, m2)":              timeSeries(series(1, 2, 3)),
		"ceil(m1 / 2)":               timeSeries(series(1, 1, 2)),
		"ABS(-m1)":                   timeSeries(series(1, 2, 3)),
		"METRICS('m') * 2":           {Kind: Array, List: []Series{series(2, 4, 6), series(20, nan, 60)}},
		"1e2":                        scalar(100),
		"(m1 >= 2) == (errors != 0)": timeSeries(series(1, 1, 0)),
		"m1 || errors":               timeSeries(series(1, 1, 1)),
		"IF(m1 > 1, errors)":         timeSeries(series(nan, 4, 0)),
	} {
		e, err := Parse(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		got, err := e.Eval(env())
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
		if d := cmp.Diff(want, got, near); d != "" {
			t.Errorf("%s: %s", expression, d)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, expression := range []string{
		"", "1 +", "(1", "m1 m2", "nothing + 1", "SEARCH('{AWS/EC2}', 'Average', 300)", "ANOMALY_DETECTION_BAND(m1)", "SELECT AVG(CPU)",
		"METRICS() + METRICS()", "SUM()", "SUM(m1, m2)", "FILL(m1)", "'text", "'text'", "FILL(1, 2)", "[1]", "1..2", "$", "SUM(1)",
	} {
		e, err := Parse(expression)
		if err == nil {
			_, err = e.Eval(env())
		}
		if _, ok := err.(*Error); !ok { //nolint:errorlint // the very type
			t.Errorf("%q: %v", expression, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"m1+m2", "SUM(METRICS())", "FILL(m2, LINEAR)", "-(-1^2)", "[[]]", "((((", "IF(a,b,c)", "\"", "1e", "1e+"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		e, err := Parse(s)
		if err != nil {
			return
		}
		e.IDs(func(string) {})
		_, _ = e.Eval(env())
	})
}

// TestBounds holds that expressions cannot make more than can be returned.
func TestBounds(t *testing.T) {
	values := map[string]Value{"m": timeSeries(Series{Period: time.Second, Times: []time.Time{time.Unix(0, 0), time.Unix(40_000_000, 0)}, Values: []float64{1, 2}})}
	of := func(expression string) (Value, error) {
		e, err := Parse(expression)
		if err != nil {
			t.Fatal(err)
		}
		return e.Eval(Env{Of: func(id string) (Value, bool) { v, ok := values[id]; return v, ok }})
	}
	var err error
	if values["e1"], err = of("[" + strings.Repeat("m,", 99) + "m]"); err != nil || len(values["e1"].List) != 100 {
		t.Fatalf("%d series, %v", len(values["e1"].List), err)
	}
	if v, err := of("[e1,e1,e1,e1,e1]"); err != nil || len(v.List) != maxSeries {
		t.Errorf("%d series, %v", len(v.List), err)
	}
	for _, expression := range []string{"[e1,e1,e1,e1,e1,m]", "FILL(m, 0)", "FILL(e1, LINEAR)"} {
		if _, err := of(expression); err == nil {
			t.Errorf("%s is not refused", expression)
		}
	}
}
