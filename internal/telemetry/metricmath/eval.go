package metricmath

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Env is what an expression is evaluated with.
type Env struct {
	// Of finds the value with an id.
	Of func(id string) (Value, bool)
	// Metrics are the values of METRICS(), those that are no expressions, with
	// their ids.
	Metrics []Named
}

// Named is a series with its id.
type Named struct {
	ID string
	Series
}

// Eval evaluates the expression.
func (e *Expression) Eval(env Env) (Value, error) { return env.eval(&e.root) }

func (env Env) eval(n *node) (Value, error) {
	switch n.kind {
	case nodeNumber:
		return scalar(n.num), nil
	case nodeID:
		if v, ok := env.Of(n.text); ok {
			return v, nil
		}
		return Value{}, errorf("Undefined variable: %s", n.text)
	case nodeList:
		out := Value{Kind: Array}
		for i := range n.args {
			v, err := env.eval(&n.args[i])
			if err != nil {
				return v, err
			}
			switch v.Kind {
			case TimeSeries:
				out.List = append(out.List, v.Series)
			case Array:
				out.List = append(out.List, v.List...)
			case Scalar:
				return Value{}, errorf("An array holds time series alone")
			}
			if len(out.List) > maxSeries {
				return Value{}, errorf("An array cannot hold more than %d time series", maxSeries)
			}
		}
		return out, nil
	case nodeOperator:
		return env.operator(n)
	case nodeCall:
		return env.call(n)
	case nodeString:
	}
	return Value{}, errorf("Unexpected string '%s'", n.text)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var operators = map[string]func(x, y float64) float64{
	"+": func(x, y float64) float64 { return x + y }, "-": func(x, y float64) float64 { return x - y },
	"*": func(x, y float64) float64 { return x * y }, "/": func(x, y float64) float64 { return x / y }, "^": math.Pow,
	"==": func(x, y float64) float64 { return truth(x == y) }, "!=": func(x, y float64) float64 { return truth(x != y) },
	"<": func(x, y float64) float64 { return truth(x < y) }, "<=": func(x, y float64) float64 { return truth(x <= y) },
	">": func(x, y float64) float64 { return truth(x > y) }, ">=": func(x, y float64) float64 { return truth(x >= y) },
	"&&": func(x, y float64) float64 { return truth(x != 0 && y != 0) }, "AND": func(x, y float64) float64 { return truth(x != 0 && y != 0) },
	"||": func(x, y float64) float64 { return truth(x != 0 || y != 0) }, "OR": func(x, y float64) float64 { return truth(x != 0 || y != 0) },
}

func (env Env) operator(n *node) (Value, error) {
	a, err := env.eval(&n.args[0])
	if err != nil {
		return a, err
	}
	if n.text == "neg" {
		return combine(scalar(0), a, operators["-"])
	}
	b, err := env.eval(&n.args[1])
	if err != nil {
		return b, err
	}
	v, err := combine(a, b, operators[n.text])
	return v.finite(), err
}

// finite leaves out what is no number: a division by zero has no value.
func (v Value) finite() Value {
	clean := func(s Series) Series {
		out := Series{Period: s.Period}
		for i, x := range s.Values {
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				out.Times, out.Values = append(out.Times, s.Times[i]), append(out.Values, x)
			}
		}
		return out
	}
	v.Series = clean(v.Series)
	for i := range v.List {
		v.List[i] = clean(v.List[i])
	}
	return v
}

var reductions = map[string]func([]float64) float64{
	"SUM": func(vs []float64) float64 {
		total := 0.0
		for _, v := range vs {
			total += v
		}
		return total
	},
	"AVG": mean, "MIN": slices.Min[[]float64], "MAX": slices.Max[[]float64],
	"STDDEV": func(vs []float64) float64 {
		m, total := mean(vs), 0.0
		for _, v := range vs {
			total += (v - m) * (v - m)
		}
		return math.Sqrt(total / float64(len(vs)))
	},
}

func mean(vs []float64) float64 {
	total := 0.0
	for _, v := range vs {
		total += v
	}
	return total / float64(len(vs))
}

var elementwise = map[string]func(float64) float64{
	"ABS": math.Abs, "CEIL": math.Ceil, "FLOOR": math.Floor, "LOG": math.Log, "LOG10": math.Log10,
}

// along are functions of one series that make another of it.
var along = map[string]func(Series) Series{
	"RATE":        func(s Series) Series { return differences(s, true) },
	"DIFF":        func(s Series) Series { return differences(s, false) },
	"RUNNING_SUM": runningSum,
}

func differences(s Series, each bool) Series {
	out := Series{Period: s.Period}
	for i := 1; i < len(s.Values); i++ {
		d := s.Values[i] - s.Values[i-1]
		if each {
			d /= s.Times[i].Sub(s.Times[i-1]).Seconds()
		}
		out.Times, out.Values = append(out.Times, s.Times[i]), append(out.Values, d)
	}
	return out
}

func runningSum(s Series) Series {
	total := 0.0
	return s.each(func(v float64) float64 {
		total += v
		return total
	})
}

func (env Env) call(n *node) (Value, error) {
	if n.text == "METRICS" {
		return env.metrics(n)
	}
	if n.text == "FILL" {
		return env.fill(n)
	}
	reduce, element, series := reductions[n.text], elementwise[n.text], along[n.text]
	if reduce == nil && element == nil && series == nil && n.text != "PERIOD" && n.text != "IF" {
		return Value{}, errorf("Unsupported function: %s", n.text)
	}
	args := make([]Value, len(n.args))
	for i := range n.args {
		var err error
		if args[i], err = env.eval(&n.args[i]); err != nil {
			return Value{}, err
		}
	}
	count := 1
	if n.text == "IF" {
		count = 3
	}
	if n.text == "IF" && len(args) == 2 {
		args = append(args, Value{Kind: TimeSeries})
	}
	if len(args) != count {
		return Value{}, errorf("The function %s takes %d arguments, not %d", n.text, count, len(args))
	}
	v := args[0]
	switch {
	case n.text == "IF":
		return choose(args)
	case n.text == "PERIOD" && v.Kind == TimeSeries:
		return scalar(v.Series.Period.Seconds()), nil
	case reduce != nil && v.Kind == Array:
		return timeSeries(across(v.List, reduce)), nil
	case reduce != nil && v.Kind == TimeSeries:
		if len(v.Series.Values) == 0 {
			return timeSeries(Series{}), nil
		}
		return scalar(reduce(v.Series.Values)), nil
	case element != nil:
		r, err := combine(v, scalar(0), func(x, _ float64) float64 { return element(x) })
		return r.finite(), err
	case series != nil && v.Kind == TimeSeries:
		return timeSeries(series(v.Series)), nil
	case series != nil && v.Kind == Array:
		return v.over(v.List, func(s, _ Value) (Value, error) { return timeSeries(series(s.Series)), nil })
	default:
		return Value{}, errorf("The function %s does not take a %s", n.text, v.Kind)
	}
}

func (env Env) metrics(n *node) (Value, error) {
	part := ""
	if len(n.args) > 1 || len(n.args) == 1 && n.args[0].kind != nodeString {
		return Value{}, errorf("The function METRICS takes one string")
	}
	if len(n.args) == 1 {
		part = n.args[0].text
	}
	out := Value{Kind: Array}
	for _, m := range env.Metrics {
		if strings.Contains(m.ID, part) {
			out.List = append(out.List, m.Series)
		}
	}
	return out, nil
}

// choose is IF: of a series as condition it is asked at each of its times.
func choose(args []Value) (Value, error) {
	condition := args[0]
	for _, a := range args {
		if a.Kind == Array {
			return Value{}, errorf("The function IF does not take a %s", a.Kind)
		}
	}
	if condition.Kind == Scalar {
		if condition.Number != 0 {
			return args[1], nil
		}
		return args[2], nil
	}
	out := Series{Period: condition.Series.Period}
	for i, t := range condition.Series.Times {
		from := args[2]
		if condition.Series.Values[i] != 0 {
			from = args[1]
		}
		v, ok := from.Number, true
		if from.Kind == TimeSeries {
			v, ok = from.Series.at(t)
		}
		if ok {
			out.Times, out.Values = append(out.Times, t), append(out.Values, v)
		}
	}
	return timeSeries(out), nil
}

// fill is FILL: values for the periods between the first and the last value of
// any of the series that have none.
func (env Env) fill(n *node) (Value, error) {
	if len(n.args) != 2 {
		return Value{}, errorf("The function FILL takes 2 arguments, not %d", len(n.args))
	}
	v, err := env.eval(&n.args[0])
	if err != nil {
		return v, err
	}
	with, mode := 0.0, ""
	if by := &n.args[1]; by.kind == nodeID && isKeyword(strings.ToUpper(by.text)) {
		mode = strings.ToUpper(by.text)
	} else {
		w, err := env.eval(by)
		if err != nil {
			return w, err
		}
		if w.Kind == TimeSeries {
			return Value{}, errorf("The function FILL takes a number, REPEAT or LINEAR")
		}
		with = w.Number
	}
	list := v.List
	switch v.Kind {
	case TimeSeries:
		list = []Series{v.Series}
	case Scalar:
		return Value{}, errorf("The function FILL does not take a %s", v.Kind)
	case Array:
	}
	var first, last time.Time
	for _, s := range list {
		for _, t := range s.Times {
			if first.IsZero() || t.Before(first) {
				first = t
			}
			if t.After(last) {
				last = t
			}
		}
	}
	// The periods around all that is known have values too.
	for _, m := range env.Metrics {
		if n := len(m.Times); n > 0 && !first.IsZero() {
			if m.Times[0].Before(first) {
				first = m.Times[0]
			}
			if m.Times[n-1].After(last) {
				last = m.Times[n-1]
			}
		}
	}
	out := Value{Kind: v.Kind}
	for _, s := range list {
		if s.Period > 0 && last.Sub(first)/s.Period > maxPoints {
			return Value{}, errorf("The function FILL cannot make more than %d values", maxPoints)
		}
		filled := filledWith(s, first, last, with, mode)
		if v.Kind == TimeSeries {
			out.Series = filled
		}
		out.List = append(out.List, filled)
	}
	if v.Kind == TimeSeries {
		out.List = nil
	}
	return out, nil
}

func filledWith(s Series, first, last time.Time, with float64, mode string) Series {
	if s.Period <= 0 || len(s.Times) == 0 {
		return s
	}
	out := Series{Period: s.Period}
	for t := first; !t.After(last); t = t.Add(s.Period) {
		v, ok := s.at(t)
		if !ok {
			i, _ := slices.BinarySearchFunc(s.Times, t, time.Time.Compare)
			switch {
			case mode == "":
				v = with
			case i == 0:
				continue
			case mode == "REPEAT" || i == len(s.Times):
				v = s.Values[i-1]
			default:
				part := float64(t.Sub(s.Times[i-1])) / float64(s.Times[i].Sub(s.Times[i-1]))
				v = s.Values[i-1] + part*(s.Values[i]-s.Values[i-1])
			}
		}
		out.Times, out.Values = append(out.Times, t), append(out.Values, v)
	}
	return out
}
