package insights

import (
	"math"
	"regexp"
	"strings"
	"time"
)

// expr gives a value for a row. name is how its column is called.
type expr struct {
	eval func(*row) value
	name string
	// field is set when the expression is a field and nothing else.
	field string
}

func fieldRef(name string) expr {
	return expr{eval: func(r *row) value { return r.get(name) }, name: name, field: name}
}

func constant(v value) expr { return expr{eval: func(*row) value { return v }, name: v.text()} }

// arithmetic is an operation on numbers; what are none give nothing.
func arithmetic(op string, a, b expr) func(*row) value {
	return func(r *row) value {
		x, ok1 := a.eval(r).number()
		y, ok2 := b.eval(r).number()
		if !ok1 || !ok2 {
			return value{}
		}
		var n float64
		switch op {
		case "+":
			n = x + y
		case "-":
			n = x - y
		case "*":
			n = x * y
		case "/":
			n = x / y
		case "%":
			n = math.Mod(x, y)
		case "^":
			n = math.Pow(x, y)
		}
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return value{}
		}
		return numberOf(n)
	}
}

func comparison(op string, a, b expr) func(*row) value {
	return func(r *row) value {
		x, y := a.eval(r), b.eval(r)
		if x.null() || y.null() {
			return boolOf(op == "!=" && x.null() != y.null())
		}
		c := compare(x, y)
		switch op {
		case "=":
			return boolOf(c == 0)
		case "!=":
			return boolOf(c != 0)
		case "<":
			return boolOf(c < 0)
		case "<=":
			return boolOf(c <= 0)
		case ">":
			return boolOf(c > 0)
		}
		return boolOf(c >= 0)
	}
}

func like(a expr, re *regexp.Regexp, negated bool) func(*row) value {
	return func(r *row) value {
		v := a.eval(r)
		return boolOf(!v.null() && re.MatchString(v.text()) != negated)
	}
}

// function is a function of Insights': how many arguments it takes, and what
// it gives. max is -1 where there is no bound.
type function struct {
	min, max int
	call     func(args []value) value
}

func ofText(f func(string) value) function {
	return function{1, 1, func(a []value) value {
		if a[0].null() {
			return value{}
		}
		return f(a[0].text())
	}}
}

func ofNumber(f func(float64) float64) function {
	return function{1, 1, func(a []value) value {
		n, ok := a[0].number()
		if n = f(n); !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return value{}
		}
		return numberOf(n)
	}}
}

// extreme is the least (sign -1) or the greatest (1) of numbers.
func extreme(sign int) function {
	return function{1, -1, func(a []value) value {
		var best value
		for _, v := range a {
			if _, ok := v.number(); ok && (best.null() || sign*compare(v, best) > 0) {
				best = v
			}
		}
		return best
	}}
}

func trim(f func(s, cut string) string) function {
	return function{1, 2, func(a []value) value {
		cut := " \t\r\n"
		if len(a) == 2 {
			cut = a[1].text()
		}
		return textOf(f(a[0].text(), cut))
	}}
}

var functions = map[string]function{
	"abs":        ofNumber(math.Abs),
	"ceil":       ofNumber(math.Ceil),
	"floor":      ofNumber(math.Floor),
	"log":        ofNumber(math.Log),
	"sqrt":       ofNumber(math.Sqrt),
	"greatest":   extreme(1),
	"least":      extreme(-1),
	"strlen":     ofText(func(s string) value { return numberOf(float64(len([]rune(s)))) }),
	"toupper":    ofText(func(s string) value { return textOf(strings.ToUpper(s)) }),
	"tolower":    ofText(func(s string) value { return textOf(strings.ToLower(s)) }),
	"trim":       trim(strings.Trim),
	"ltrim":      trim(strings.TrimLeft),
	"rtrim":      trim(strings.TrimRight),
	"frommillis": {1, 1, func(a []value) value { return millis(a[0], timeOf) }},
	"tomillis":   {1, 1, func(a []value) value { return millis(a[0], func(ms int64) value { return numberOf(float64(ms)) }) }},
	"ispresent":  {1, 1, func(a []value) value { return boolOf(!a[0].null()) }},
	"isempty":    {1, 1, func(a []value) value { return boolOf(a[0].text() == "") }},
	"isblank":    {1, 1, func(a []value) value { return boolOf(strings.TrimSpace(a[0].text()) == "") }},
	"coalesce": {1, -1, func(a []value) value {
		for _, v := range a {
			if !v.null() {
				return v
			}
		}
		return value{}
	}},
	"concat": {1, -1, func(a []value) value {
		var b strings.Builder
		for _, v := range a {
			b.WriteString(v.text())
		}
		return textOf(b.String())
	}},
	"strcontains": {2, 2, func(a []value) value {
		return numberOf(float64(boolInt(strings.Contains(a[0].text(), a[1].text()))))
	}},
	"replace": {3, 3, func(a []value) value {
		if a[1].text() == "" {
			return a[0]
		}
		return textOf(strings.ReplaceAll(a[0].text(), a[1].text(), a[2].text()))
	}},
	"substr": {2, 3, func(a []value) value {
		s := []rune(a[0].text())
		from, ok := a[1].number()
		if !ok || from < 0 || int(from) > len(s) {
			return textOf("")
		}
		s = s[int(from):]
		if len(a) == 3 {
			if n, ok := a[2].number(); ok && n >= 0 && int(n) < len(s) {
				s = s[:int(n)]
			}
		}
		return textOf(string(s))
	}},
}

func millis(v value, f func(int64) value) value {
	n, ok := v.number()
	if !ok {
		return value{}
	}
	return f(int64(n))
}

// units are those of periods, in bin(5m).
var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// truncated is a time cut to a period, or with up, the end of the period.
func truncated(at expr, period time.Duration, up bool) func(*row) value {
	step := period.Milliseconds()
	return func(r *row) value {
		n, ok := at.eval(r).number()
		if !ok {
			return value{}
		}
		ms := int64(n)
		cut := ms - ((ms%step)+step)%step
		if up && cut < ms {
			cut += step
		}
		return timeOf(cut)
	}
}
