package rules

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/model"
)

// The index finds the rule that trying all of them finds.
func TestIndexIsScan(t *testing.T) {
	text := func(alphabet string, least, most int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.RuneFrom([]rune(alphabet)), least, most, -1)
	}
	matched, missed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		values := func(alphabet string) []string {
			return rapid.SliceOfN(text(alphabet, 0, 5), 1, 3).Draw(t, "values")
		}
		condition := func() model.RuleCondition {
			switch rapid.IntRange(0, 7).Draw(t, "field") {
			case 6:
				return model.RuleCondition{Field: model.ConditionHostHeader, RegexValues: expressions(t)}
			case 7:
				return model.RuleCondition{Field: model.ConditionPathPattern, RegexValues: expressions(t)}
			case 0, 1:
				return model.RuleCondition{Field: model.ConditionHostHeader, Values: values("aA.*?")}
			case 2, 3:
				v := values("aA/*?")
				for i := range v {
					v[i] = "/" + v[i]
				}
				return model.RuleCondition{Field: model.ConditionPathPattern, Values: v}
			case 4:
				return model.RuleCondition{Field: model.ConditionRequestMethod, Values: []string{"POST"}}
			default:
				return model.RuleCondition{Field: model.ConditionSourceIP, Values: []string{"192.0.2.0/24"}}
			}
		}
		rs := make([]Rule, rapid.IntRange(0, 20).Draw(t, "rules"))
		for i := range rs {
			rs[i].Priority = int32(i)
			for range rapid.IntRange(1, 3).Draw(t, "conditions") {
				rs[i].Conditions = append(rs[i].Conditions, condition())
			}
		}
		if rapid.Bool().Draw(t, "default") {
			rs = append(rs, Rule{Default: true})
		}
		table, err := Compile(rs)
		if err != nil {
			t.Fatal(err)
		}
		x := newIndex(rs)
		for range 10 {
			head := fmt.Sprintf("%s /%s HTTP/1.1\r\nHost: %s%s\r\n\r\n",
				rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"),
				text("aA/?", 0, 6).Draw(t, "target"),
				text("aA.", 0, 5).Draw(t, "host"),
				rapid.SampledFrom([]string{"", ":80"}).Draw(t, "port"))
			var r h1.Request
			if err := r.Parse([]byte(head)); err != nil {
				t.Fatal(err)
			}
			source := netip.AddrFrom4([4]byte{192, 0, rapid.Byte().Draw(t, "source") % 4, 1})
			want, got := table.scan(&r, source), x.match(table, &r, source)
			if want != got {
				t.Fatalf("%q of %+v: rule %d, all tried %d", head, rs, got, want)
			}
			if want >= 0 {
				matched++
			} else {
				missed++
			}
		}
	})
	if matched == 0 || missed == 0 {
		t.Errorf("%d matched and %d did not: nothing was compared", matched, missed)
	}
}

func expressions(t *rapid.T) []string {
	part := rapid.SampledFrom([]string{"a", "A", `\.`, "/", "a?", "(a|/)", ".*", ":80"})
	var out []string
	for range rapid.IntRange(1, 2).Draw(t, "expressions") {
		out = append(out, rapid.SampledFrom([]string{"", "^", "^/"}).Draw(t, "begin")+
			strings.Join(rapid.SliceOfN(part, 0, 3).Draw(t, "parts"), "")+rapid.SampledFrom([]string{"", "$"}).Draw(t, "end"))
	}
	return out
}

// A host that no name can be is looked for among all rules.
func TestIndexLongHost(t *testing.T) {
	rs := []Rule{
		{Priority: 1, Conditions: []model.RuleCondition{{Field: model.ConditionHostHeader, Values: []string{"b"}}}},
		{Priority: 2, Conditions: []model.RuleCondition{{Field: model.ConditionHostHeader, Values: []string{"*c"}}}},
	}
	table, err := Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, "GET / HTTP/1.1\r\nHost: "+fmt.Sprintf("%0300d", 0)+"c\r\n\r\n")
	if i := newIndex(rs).match(table, r, netip.Addr{}); i != 1 {
		t.Errorf("rule %d", i)
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		var rs []Rule
		for i := range n - 1 {
			if i%4 == 3 {
				rs = append(rs, Rule{Priority: int32(i), Conditions: []model.RuleCondition{
					{Field: model.ConditionHostHeader, RegexValues: []string{fmt.Sprintf(`^(www|api)\.tenant%d\.example\.com$`, i)}},
					{Field: model.ConditionPathPattern, RegexValues: []string{fmt.Sprintf(`^/service%d/v[0-9]+/`, i)}},
				}})
				continue
			}
			rs = append(rs, Rule{Priority: int32(i), Conditions: []model.RuleCondition{
				{Field: model.ConditionHostHeader, Values: []string{fmt.Sprintf("tenant%d.example.com", i), fmt.Sprintf("*.tenant%d.example.com", i)}},
				{Field: model.ConditionPathPattern, Values: []string{fmt.Sprintf("/service%d/*", i)}},
			}})
		}
		table, err := Compile(append(rs, Rule{Default: true}))
		if err != nil {
			b.Fatal(err)
		}
		var r h1.Request
		if err := r.Parse([]byte("GET /index.html?a=b HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if i := table.Match(&r, netip.Addr{}); i != n-1 {
					b.Fatal(i)
				}
			}
		})
	}
}
