package hostile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"roadstead.dev/internal/api"
)

// want is what a case must be answered with.
type want uint8

const (
	// anything but a failure: the case may mean something.
	anything want = iota
	// refused: any 4xx.
	refused
	// unreadable: the protocol's code for what cannot be decoded.
	unreadable
)

// brokenCase is one request of an operation.
type brokenCase struct {
	name        string
	body        []byte
	contentType string
	want        want
}

// Every operation gets every kind of broken input.
func TestBroken(t *testing.T) {
	failures := new(failures)
	g, ctx := errgroup.WithContext(t.Context())
	work := make(chan *api.Operation)
	g.Go(func() error {
		defer close(work)
		for _, svc := range services {
			for i := range svc.Operations {
				select {
				case work <- &svc.Operations[i]:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range 4 {
		g.Go(func() error {
			for op := range work {
				r := rand.New(rand.NewPCG(*seed, uint64(len(op.Name))))
				cases := brokenCases(r, op)
				if !*exhaustive {
					cases = some(r, cases, 12)
				}
				for _, c := range cases {
					if err := broken(ctx, op, c); err != nil {
						failures.add(t, err)
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// some picks n cases.
func some(r *rand.Rand, cases []brokenCase, n int) []brokenCase {
	r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	return cases[:min(n, len(cases))]
}

func broken(ctx context.Context, op *api.Operation, c brokenCase) error {
	req := request(ctx, op, c.body)
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	sign(req, op.Service(), c.body)
	name := op.Service().Name + "." + op.Name + " " + c.name
	a, err := send(name, op, req)
	if err != nil {
		return fmt.Errorf("%w; sent %s", err, cut(string(c.body)))
	}
	got := fmt.Errorf("%s: %d %s; sent %s", name, a.status, cut(string(a.body)), cut(string(c.body)))
	switch {
	case c.want != anything && a.status < 400:
		return got
	case c.want == unreadable && op.Service().Protocol == api.JSON && a.code != "SerializationException":
		return got
	}
	return nil
}

func brokenCases(r *rand.Rand, op *api.Operation) []brokenCase {
	m := &maker{r: r, members: 30}
	full := body(op, m.input(op))
	cases := wholeBodies(op, full)
	constrained := func(name string, in any) {
		cases = append(cases, brokenCase{name: name, body: body(op, in), want: refused})
	}
	for _, p := range places(op) {
		if p.member != nil && p.member.Required {
			constrained(p.String()+" missing", m.with(op.InputShape(), p.path, nil))
			if op.Service().Protocol == api.JSON {
				constrained(p.String()+" null", m.with(op.InputShape(), p.path, raw("null")))
			}
		}
		if p.member == nil || !p.member.IdempotencyToken {
			for name, v := range beyond(p.shape) {
				if v == "" && op.Service().Protocol != api.JSON && p.member != nil && !p.member.Required {
					continue // an empty parameter may be none
				}
				constrained(p.String()+" "+name, m.with(op.InputShape(), p.path, v))
			}
			for name, v := range m.tooMany(p.shape) {
				if name == "too few" && op.Service().Protocol != api.JSON {
					continue // an empty list cannot be said
				}
				constrained(p.String()+" "+name, m.with(op.InputShape(), p.path, v))
			}
		}
		if op.Service().Protocol == api.JSON {
			cases = append(cases, wrongTypes(m, op, &p)...)
		} else {
			cases = append(cases, wrongParameters(m, op, &p)...)
		}
	}
	slices.SortFunc(cases, func(a, b brokenCase) int { return strings.Compare(a.name, b.name) })
	return cases
}

func wrongTypes(m *maker, op *api.Operation, p *place) []brokenCase {
	var cases []brokenCase
	for name, v := range wrongJSON(p.shape.Kind) {
		c := brokenCase{name: p.String() + " is " + name, want: anything}
		if name[0] == '!' && (name != "!nothing" || p.path[len(p.path)-1] != "[]") {
			c.want = unreadable
		}
		c.body = body(op, m.with(op.InputShape(), p.path, v))
		cases = append(cases, c)
	}
	// Twice, the second time of another kind.
	once := string(body(op, m.with(op.InputShape(), p.path, raw(`null`))))
	if p.member != nil {
		key := `"` + p.member.Wire() + `":`
		cases = append(cases, brokenCase{name: p.String() + " twice", body: []byte(strings.Replace(once, key, key+`null,`+key, 1))})
	}
	return cases
}

func wrongParameters(m *maker, op *api.Operation, p *place) []brokenCase {
	var cases []brokenCase
	name := parameter(op, p)
	base := func(v any) url.Values {
		form, err := url.ParseQuery(string(body(op, m.with(op.InputShape(), p.path, v))))
		if err != nil {
			panic(err)
		}
		return form
	}
	plain := base("x")
	add := func(what, key, value string, w want) {
		form := make(url.Values, len(plain)+1)
		for k, v := range plain {
			if k != name {
				form[k] = v
			}
		}
		form.Set(key, value)
		cases = append(cases, brokenCase{name: p.String() + " " + what, body: []byte(form.Encode()), want: w})
	}
	number := p.shape.Kind == api.Integer || p.shape.Kind == api.Long
	for _, text := range wrongText {
		w := anything
		if (text == "x" || text == "1.5" || text == "9223372036854775808" || text == "\x00") && (number || p.shape.Kind == api.Boolean) && (text != "1.5" || number) {
			w = refused
		}
		add(fmt.Sprintf("is %q", text), name, text, w)
	}
	add("has a member", name+".Nonsense", "1", anything)
	add("has an index", name+".1", "1", anything)
	add("has a huge index", name+".999999999.X", "1", anything)
	add("has a huge member", name+".member.2147483647", "1", anything)
	add("has a negative index", name+".-1", "1", anything)
	add("has index 0", name+".0", "1", anything)
	add("has an overflowing index", name+".99999999999999999999999", "1", anything)
	add("has dots", name+"...", "1", anything)
	add("is deep", name+strings.Repeat(".1", 5000), "1", refused)
	return cases
}

// wholeBodies are bodies that are broken as a whole.
func wholeBodies(op *api.Operation, full []byte) []brokenCase {
	var cases []brokenCase
	add := func(name, body string, w want) {
		cases = append(cases, brokenCase{name: name, body: []byte(body), want: w})
	}
	typed := func(name, contentType string, w want) {
		cases = append(cases, brokenCase{name: name, body: full, contentType: contentType, want: w})
	}
	for _, ct := range []string{"text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json", "application/x-amz-json-1.0", "application/cbor", ";;;", strings.Repeat("a", 4000)} {
		typed("content type "+ct[:min(len(ct), 30)], ct, anything)
	}
	if op.Service().Protocol != api.JSON {
		head := "Action=" + op.Name + "&Version=" + op.Service().APIVersion
		add("no body", "", refused)
		add("no version", "Action="+op.Name, anything)
		add("another version", "Action="+op.Name+"&Version=1999-01-01", anything)
		add("two actions", "Action="+op.Name+"&Action=Nonsense&Version="+op.Service().APIVersion, anything)
		add("a bad escape", head+"&X=%zz", anything)
		add("a cut escape", head+"&X=%4", anything)
		add("not UTF-8", head+"&X=%ff%fe", anything)
		add("a NUL", head+"&X%00=%00", anything)
		add("semicolons", head+";X=1;Y=2", anything)
		add("only separators", head+strings.Repeat("&", 100_000), anything)
		add("many equal signs", head+"&"+strings.Repeat("=", 100_000), anything)
		add("many parameters", head+manyParameters(30_000), refused)
		add("many indices", head+manyIndices(15_000), anything)
		add("a long name", head+"&"+strings.Repeat("a", 1<<20)+"=1", anything)
		add("a deep name", head+"&A"+strings.Repeat(".1.B", 50_000)+"=1", refused)
		add("truncated", string(full[:len(full)*2/3]), anything)
		add("JSON", "{}", refused)
		add("a parameter twice", string(full)+"&"+string(full), anything)
		return cases
	}
	text := string(full)
	for i, n := range []int{1, len(text) / 3, len(text) / 2, len(text) - 1} {
		if n > 0 && n < len(text) {
			add(fmt.Sprintf("truncated %d", i), text[:n], unreadable)
		}
	}
	add("no body", "", anything)
	add("a space", " ", anything)
	add("null", "null", anything)
	for _, s := range []string{"[]", `"x"`, "5", "true", "{", "}", "{}}", "{} {}", "[{}", `{"a"`, `{"a":`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, "\xef\xbb\xbf{}", "\x00", "<a/>", "Action=" + op.Name, text + "x", text + text} {
		add("body "+cut(s)[:min(len(cut(s)), 20)], s, unreadable)
	}
	add("a million brackets", strings.Repeat("[", 1_000_000), unreadable)
	add("a million objects", strings.Repeat(`{"a":`, 200_000), unreadable)
	add("deep in an unknown member", `{"Nonsense":`+strings.Repeat("[", 500_000)+strings.Repeat("]", 500_000)+"}", unreadable)
	add("unknown members", strings.Replace(text, "{", `{"Nonsense":{"a":[1,null,{"b":"c"}]},"":"","\u0000":1,`, 1), anything)
	add("many members", `{`+strings.Repeat(`"a":1,`, 200_000)+`"b":1}`, anything)
	add("a long key", `{"`+strings.Repeat("k", 1<<20)+`":1}`, anything)
	add("not UTF-8 in a key", "{\"\xff\":1}", unreadable)
	add("a lone surrogate in a key", `{"\ud800":1}`, anything)
	add("a prototype", `{"__proto__":{"a":1},"constructor":{}}`, anything)
	return cases
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&P%d=1", i)
	}
	return b.String()
}

func manyIndices(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&Filter.%d.Name=x", i)
	}
	return b.String()
}
