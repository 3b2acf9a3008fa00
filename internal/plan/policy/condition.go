package policy

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Context holds the values of a request's condition keys, by key in lower
// case: IAM's keys have no case. A key without values is absent.
type Context map[string][]string

// Set gives key one value, or several.
func (c Context) Set(key string, values ...string) { c[strings.ToLower(key)] = values }

type operand uint8

const (
	stringOperand operand = iota
	foldOperand           // strings without case
	likeOperand           // globs
	numberOperand
	dateOperand
	boolOperand
	binaryOperand
	ipOperand
	arnOperand
	nullOperand
)

type comparison uint8

const (
	equal comparison = iota
	less
	lessEqual
	greater
	greaterEqual
)

type quantifier uint8

const (
	plainly quantifier = iota
	forAllValues
	forAnyValue
)

// operator is a condition operator, taken apart.
type operator struct {
	operand  operand
	compare  comparison
	negated  bool
	ifExists bool
	quant    quantifier
}

var operators = map[string]operator{
	"stringequals":              {operand: stringOperand},
	"stringnotequals":           {operand: stringOperand, negated: true},
	"stringequalsignorecase":    {operand: foldOperand},
	"stringnotequalsignorecase": {operand: foldOperand, negated: true},
	"stringlike":                {operand: likeOperand},
	"stringnotlike":             {operand: likeOperand, negated: true},
	"numericequals":             {operand: numberOperand},
	"numericnotequals":          {operand: numberOperand, negated: true},
	"numericlessthan":           {operand: numberOperand, compare: less},
	"numericlessthanequals":     {operand: numberOperand, compare: lessEqual},
	"numericgreaterthan":        {operand: numberOperand, compare: greater},
	"numericgreaterthanequals":  {operand: numberOperand, compare: greaterEqual},
	"dateequals":                {operand: dateOperand},
	"datenotequals":             {operand: dateOperand, negated: true},
	"datelessthan":              {operand: dateOperand, compare: less},
	"datelessthanequals":        {operand: dateOperand, compare: lessEqual},
	"dategreaterthan":           {operand: dateOperand, compare: greater},
	"dategreaterthanequals":     {operand: dateOperand, compare: greaterEqual},
	"bool":                      {operand: boolOperand},
	"binaryequals":              {operand: binaryOperand},
	"ipaddress":                 {operand: ipOperand},
	"notipaddress":              {operand: ipOperand, negated: true},
	"arnequals":                 {operand: arnOperand},
	"arnlike":                   {operand: arnOperand},
	"arnnotequals":              {operand: arnOperand, negated: true},
	"arnnotlike":                {operand: arnOperand, negated: true},
	"null":                      {operand: nullOperand},
}

func parseOperator(s string) (operator, bool) {
	s = strings.ToLower(s)
	q := plainly
	if rest, ok := strings.CutPrefix(s, "forallvalues:"); ok {
		q, s = forAllValues, rest
	} else if rest, ok := strings.CutPrefix(s, "foranyvalue:"); ok {
		q, s = forAnyValue, rest
	}
	s, ifExists := strings.CutSuffix(s, "ifexists")
	op, ok := operators[s]
	op.quant, op.ifExists = q, ifExists
	return op, ok && (op.operand != nullOperand || !ifExists && q == plainly)
}

// condition is one key of a condition block.
type condition struct {
	operator
	name  string // as written
	key   string // in lower case
	texts []string

	patterns []glob // of the string operands
	arns     []resource
	numbers  []float64
	dates    []time.Time
	nets     []netip.Prefix
	blobs    []string
	bools    []bool
}

// wellTyped tells whether all values can be read as the operand asks. Values
// with variables are read when a request comes.
func (c *condition) wellTyped() bool {
	for _, t := range c.texts {
		if strings.Contains(t, "${") {
			continue
		}
		ok := true
		switch c.operand {
		case numberOperand:
			_, err := strconv.ParseFloat(t, 64)
			ok = err == nil
		case dateOperand:
			_, ok = parseDate(t)
		case boolOperand, nullOperand:
			_, ok = parseBool(t)
		case ipOperand:
			_, ok = parsePrefix(t)
		case binaryOperand:
			_, err := base64.StdEncoding.DecodeString(t)
			ok = err == nil
		case stringOperand, foldOperand, likeOperand, arnOperand:
		}
		if !ok {
			return false
		}
	}
	return true
}

func (c *condition) compile(vars bool) {
	for _, t := range c.texts {
		switch c.operand {
		case stringOperand:
			c.patterns = append(c.patterns, literalGlob(t, vars))
		case foldOperand:
			c.patterns = append(c.patterns, literalGlob(t, vars).fold())
		case likeOperand:
			c.patterns = append(c.patterns, compileGlob(t, vars))
		case arnOperand:
			c.arns = append(c.arns, compileResource(t, vars))
		case numberOperand:
			if n, err := strconv.ParseFloat(t, 64); err == nil {
				c.numbers = append(c.numbers, n)
			}
		case dateOperand:
			if d, ok := parseDate(t); ok {
				c.dates = append(c.dates, d)
			}
		case boolOperand, nullOperand:
			if b, ok := parseBool(t); ok {
				c.bools = append(c.bools, b)
			}
		case ipOperand:
			if p, ok := parsePrefix(t); ok {
				c.nets = append(c.nets, p)
			}
		case binaryOperand:
			if b, err := base64.StdEncoding.DecodeString(t); err == nil {
				c.blobs = append(c.blobs, string(b))
			}
		}
	}
}

// holds tells whether the condition is met.
func (c *condition) holds(ctx Context) bool {
	got := ctx[c.key]
	if c.operand == nullOperand {
		return slices.Contains(c.bools, len(got) == 0)
	}
	if len(got) == 0 {
		switch {
		case c.quant == forAllValues, c.ifExists:
			return true
		case c.quant == forAnyValue:
			return false
		}
		return c.negated
	}
	switch c.quant {
	case forAllValues:
		for _, v := range got {
			if c.matches(v, ctx) == c.negated {
				return false
			}
		}
		return true
	case forAnyValue:
		for _, v := range got {
			if c.matches(v, ctx) != c.negated {
				return true
			}
		}
		return false
	case plainly:
	}
	for _, v := range got {
		if c.matches(v, ctx) {
			return !c.negated
		}
	}
	return c.negated
}

// matches tells whether one value of the request fits one of the policy's,
// negation aside.
func (c *condition) matches(v string, ctx Context) bool {
	switch c.operand {
	case stringOperand, likeOperand:
		return matchAny(c.patterns, v, ctx, false)
	case foldOperand:
		return matchAny(c.patterns, strings.ToLower(v), ctx, true)
	case arnOperand:
		for i := range c.arns {
			if c.arns[i].match(v, ctx) {
				return true
			}
		}
	case numberOperand:
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			return false
		}
		for _, want := range c.numbers {
			if c.compare.holds(compareFloat(n, want)) {
				return true
			}
		}
	case dateOperand:
		d, ok := parseDate(v)
		if !ok {
			return false
		}
		for _, want := range c.dates {
			if c.compare.holds(d.Compare(want)) {
				return true
			}
		}
	case boolOperand:
		b, ok := parseBool(v)
		if !ok {
			return false
		}
		return slices.Contains(c.bools, b)
	case ipOperand:
		ip, err := netip.ParseAddr(v)
		if err != nil {
			return false
		}
		ip = ip.Unmap()
		for _, n := range c.nets {
			if n.Contains(ip) {
				return true
			}
		}
	case binaryOperand:
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return false
		}
		return slices.Contains(c.blobs, string(b))
	case nullOperand:
	}
	return false
}

func matchAny(patterns []glob, v string, ctx Context, fold bool) bool {
	for i := range patterns {
		p := &patterns[i]
		if p.vars {
			g, ok := p.expand(ctx)
			if !ok {
				continue
			}
			if fold {
				g = g.fold()
			}
			p = &g
		}
		if p.match(v) {
			return true
		}
	}
	return false
}

func (c comparison) holds(cmp int) bool {
	switch c {
	case equal:
		return cmp == 0
	case less:
		return cmp < 0
	case lessEqual:
		return cmp <= 0
	case greater:
		return cmp > 0
	case greaterEqual:
		return cmp >= 0
	}
	return false
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// dateLayouts are the ISO 8601 forms that the W3C's profile allows.
var dateLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02", "2006-01", "2006",
}

// parseDate reads ISO 8601 or seconds since 1970.
func parseDate(s string) (time.Time, bool) {
	if len(s) != 4 {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0).UTC(), true
		}
	}
	for _, l := range dateLayouts {
		if t, err := time.Parse(l, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}
