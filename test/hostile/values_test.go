package hostile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"

	"roadstead.dev/internal/api"
)

// maker makes values that fit a model's shapes.
type maker struct {
	r *rand.Rand
	// odd is how often, out of 100, a value is one that fits and that nobody
	// sends.
	odd int
	// members is how often, out of 100, an optional member is there.
	members int
	pool    *pool
}

// maxNesting is how deep optional members go; models recurse.
const maxNesting = 5

func (m *maker) chance(percent int) bool { return m.r.IntN(100) < percent }

func (m *maker) input(op *api.Operation) map[string]any {
	if op.InputShape() == nil {
		return map[string]any{}
	}
	return m.structure(op.InputShape(), 0)
}

func (m *maker) structure(s *api.Shape, depth int) map[string]any {
	out := make(map[string]any)
	one := -1
	if s.Union && len(s.Members) > 0 {
		one = m.r.IntN(len(s.Members))
	}
	for i := range s.Members {
		mem := &s.Members[i]
		if !mem.Required && i != one && (s.Union || depth >= maxNesting || !m.chance(m.members)) {
			continue
		}
		if mem.Name == "DryRun" {
			continue // it would hide the handler
		}
		out[mem.Name] = m.value(mem.Name, mem.Type(), depth+1)
	}
	return out
}

func (m *maker) value(name string, s *api.Shape, depth int) any {
	switch s.Kind {
	case api.Structure:
		return m.structure(s, depth)
	case api.List:
		n := m.length(s, 3)
		if depth > maxNesting+2 {
			n = int(s.Min)
		}
		out := make([]any, n)
		for i := range out {
			out[i] = m.value(strings.TrimSuffix(name, "s"), s.ElementShape(), depth+1)
		}
		return out
	case api.Map:
		out := make(map[string]any)
		for range m.length(s, 3) {
			out[m.text(name+"Key", s.KeyShape())] = m.value(name, s.ElementShape(), depth+1)
		}
		return out
	case api.String:
		return m.text(name, s)
	case api.Boolean:
		return m.chance(50)
	case api.Integer:
		if name == "desiredCount" {
			// Tasks that run cost memory, as they may: a few, or too many.
			return json.Number(pick(m.r, "0", "1", "2", "3", "-1", "5001", "2147483647"))
		}
		return m.number(s, -1<<31, 1<<31-1)
	case api.Long:
		return m.number(s, -1<<63, 1<<63-1)
	case api.Float, api.Double:
		return json.Number(strconv.FormatFloat(m.r.NormFloat64()*100, 'f', 3, 64))
	case api.Blob:
		return "aGVsbG8="
	case api.Timestamp:
		return json.Number(pick(m.r, "0", "-1", "1", "1700000000", "1700000000.123", "4102444800", "253402300799", "-62135596800"))
	default:
		return map[string]any{"a": []any{json.Number("1"), nil, "x"}}
	}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// length is how many elements a list or map gets: the fewest, a few, rarely as
// many as may be.
func (m *maker) length(s *api.Shape, few int) int {
	low, high := 0, few
	if s.HasMin {
		low = int(s.Min)
	}
	if m.chance(m.odd / 4) {
		high = 40
	}
	if s.HasMax {
		high = min(high, int(s.Max))
	}
	if high <= low {
		return low
	}
	if !m.chance(m.odd) {
		low = max(low, min(1, high))
	}
	return low + m.r.IntN(high-low+1)
}

func (m *maker) number(s *api.Shape, low, high float64) any {
	if s.HasMin {
		low = max(low, s.Min)
	}
	if s.HasMax {
		high = min(high, s.Max)
	}
	if m.chance(m.odd) {
		f := pick(m.r, low, high, low+1, high-1, 0, 1, -1)
		f = min(max(f, low), high)
		if f >= 1<<63 {
			return json.Number("9223372036854775807")
		}
		return json.Number(strconv.FormatInt(int64(f), 10))
	}
	n := pick(m.r, 0.0, 1, 2, 3, 5, 8, 64, 80, 100, 256, 443, 512, 1024, 8080)
	return json.Number(strconv.FormatInt(int64(min(max(n, low), high)), 10))
}

// strange are strings that handlers meet rarely.
var strange = []string{
	"", " ", "-", "0", "-1", "a", "*", "null", "true", "%", "%00", "%2e%2e%2f", "../../etc/passwd", "/", "//", "a/b", "a:b", ":", "::", "arn:", "arn:aws:::::",
	"arn:aws:ecs:us-east-1:111122223333:cluster/other", "arn:aws:iam::111122223333:role/other", "arn:aws:ecs:eu-west-1:000000000000:service/a/b",
	"arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/x/0123456789abcdef", "arn:aws:ecr:us-east-1:111122223333:repository/x",
	"arn:aws:iam::000000000000:root", "arn:aws:s3:::bucket/key", "arn:aws-cn:iam::000000000000:user/x", "arn:aws:secretsmanager:us-east-1:000000000000:secret:x-AbCdEf",
	"Ünïcödé", "日本語", "😀", "a\u0000b", "a\nb", "\u202e", "\ufeff", "a b", "'; DROP TABLE x; --", "${jndi:ldap://x}", "<script>", "&amp;", "]]>",
	"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/33", "::/0", "10.0.1.5", "999.1.1.1", "fe80::1", "127.0.0.1", "169.254.169.254", "2001:db8::/32",
	"vpc-00000000000000000", "subnet-0", "sg-zzz", "i-0123456789abcdef0", "eni-", "ami-1", "igw-0a", "1", "65536", "4294967296", "1e9", "NaN", "1.5",
	"{}", "[]", "{\"Version\":\"2012-10-17\",\"Statement\":[]}", "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}",
	"{\"rules\":[{\"rulePriority\":1,\"selection\":{\"tagStatus\":\"any\",\"countType\":\"imageCountMoreThan\",\"countNumber\":1},\"action\":{\"type\":\"expire\"}}]}",
	"2026-01-01T00:00:00Z", "rate(1 minute)", "us-east-1", "us-east-1a", "mars-west-9", "FARGATE", "default", "aws:reserved", "Name", "tag:Name", "eyJhIjoxfQ==",
	"sha256:0000000000000000000000000000000000000000000000000000000000000000", "$LATEST", "AWSCURRENT", "AKIAIOSFODNN7EXAMPLE",
}

// text makes a string of a shape: one that an answer held under a like name,
// a strange one, or one that the pattern allows.
func (m *maker) text(name string, s *api.Shape) string {
	if len(s.Enum) > 0 {
		return pick(m.r, s.Enum...)
	}
	if m.pool != nil && m.chance(60) {
		if v, ok := m.pool.get(m.r, name); ok && fits(s, v) {
			return v
		}
	}
	if m.chance(m.odd) {
		v := pick(m.r, strange...)
		if m.chance(5) {
			n := 200
			if s.HasMax {
				n = int(min(s.Max, 3000))
			}
			v = strings.Repeat(pick(m.r, "a", "é", "/", "."), n)
		}
		if fits(s, v) {
			return v
		}
	}
	if re := s.Regexp(); re != nil {
		for range 5 {
			if v, ok := matching(m.r, re.String()); ok && fits(s, v) {
				return v
			}
		}
	}
	n := 8
	if s.HasMin {
		n = max(n, int(s.Min))
	}
	if s.HasMax {
		n = min(n, int(s.Max))
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghij0123456789"[m.r.IntN(20)]
	}
	if n > 0 {
		b[0] = 'a'
	}
	return string(b)
}

// fits tells whether a string satisfies a shape.
func fits(s *api.Shape, v string) bool {
	n := float64(len([]rune(v)))
	if s.HasMin && n < s.Min || s.HasMax && n > s.Max {
		return false
	}
	re := s.Regexp()
	return re == nil || re.MatchString(v)
}

// matching makes a string that a pattern matches.
func matching(r *rand.Rand, pattern string) (string, bool) {
	re, err := syntax.Parse(pattern, syntax.Perl|syntax.DotNL)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	generate(&b, r, re)
	return b.String(), b.Len() < 5000
}

func generate(b *strings.Builder, r *rand.Rand, re *syntax.Regexp) {
	if b.Len() > 5000 {
		return
	}
	repeat := func(low, high int) {
		if high < 0 {
			high = low + 6
		}
		for range low + r.IntN(min(high-low, 12)+1) {
			generate(b, r, re.Sub[0])
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			b.WriteRune(c)
		}
	case syntax.OpCharClass:
		if len(re.Rune) == 0 {
			return
		}
		i := r.IntN(len(re.Rune)/2) * 2
		low, high := re.Rune[i], re.Rune[i+1]
		if low < 0x7f && high >= 0x20 {
			low, high = max(low, 0x20), min(high, 0x7e)
		}
		b.WriteRune(low + rune(r.IntN(int(high-low)+1)))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte("abcxyz019-_ /."[r.IntN(14)])
	case syntax.OpCapture, syntax.OpConcat:
		for _, s := range re.Sub {
			generate(b, r, s)
		}
	case syntax.OpAlternate:
		generate(b, r, re.Sub[r.IntN(len(re.Sub))])
	case syntax.OpStar:
		repeat(0, -1)
	case syntax.OpPlus:
		repeat(1, -1)
	case syntax.OpQuest:
		repeat(0, 1)
	case syntax.OpRepeat:
		repeat(re.Min, re.Max)
	default:
		// Anchors and the empty match write nothing.
	}
}

// pool holds what answers held, by name, so that later requests name what is
// there.
type pool struct {
	mu sync.Mutex
	m  map[string][]string
}

// Of each name the first few values stay.
const (
	poolSize = 24
	firsts   = 4
)

func (p *pool) put(r *rand.Rand, name, value string) {
	if value == "" || len(value) > 2048 {
		return
	}
	name = canonicalName(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = make(map[string][]string)
	}
	if slices.Contains(p.m[name], value) {
		return
	}
	if l := p.m[name]; len(l) < poolSize {
		p.m[name] = append(l, value)
	} else {
		l[firsts+r.IntN(poolSize-firsts)] = value
	}
}

// at is what the i-th answer called so, of the first few.
func (p *pool) at(name string, i int) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.m[canonicalName(name)]
	if i < 0 || i >= min(firsts, len(l)) {
		return "", false
	}
	return l[i], true
}

func (p *pool) get(r *rand.Rand, name string) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range []string{canonicalName(name), canonicalName(strings.TrimSuffix(name, "s")), aliases[canonicalName(name)]} {
		if l := p.m[n]; len(l) > 0 {
			return l[r.IntN(len(l))], true
		}
	}
	return "", false
}

func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, "Name")) }

// aliases are names under which inputs ask for what outputs call otherwise.
var aliases = map[string]string{
	"cluster": "clusterarn", "service": "servicearn", "task": "taskarn", "resourcearn": "arn", "resource": "arn", "taskdefinition": "taskdefinitionarn",
	"secretid": "arn", "resourceid": "vpcid", "targetgrouparn": "targetgrouparn", "subnet": "subnetid", "securitygroup": "groupid", "group": "groupname",
	"loadbalancerarn": "loadbalancerarn", "rolearn": "arn", "policyarn": "arn", "allocationid": "allocationid", "executionrolearn": "arn",
}

// harvest reads the names and values of a JSON answer.
func (p *pool) harvest(r *rand.Rand, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			p.harvest(r, k, e)
		}
	case []any:
		for _, e := range v {
			p.harvest(r, strings.TrimSuffix(name, "s"), e)
		}
	case string:
		p.put(r, name, v)
	case float64:
		p.put(r, name, fmt.Sprint(v))
	}
}
