package filterpattern

import "testing"

func TestMatch(t *testing.T) {
	const (
		doc  = `{"eventType":"UpdateTrail","ip":"123.123.0.1","n":5,"ok":true,"no":false,"nil":null,"a":{"b":[{"c":"x"},2]},"s":"17"}`
		line = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534`
	)
	tests := []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"ERROR", "[ERROR] it broke", true},
		{"ERROR", "error", false},
		{"ERROR broke", "it broke: ERROR", true},
		{"ERROR broke", "ERROR", false},
		{`"it broke"`, "it broke", true},
		{`"it broke"`, "broke it", false},
		{`"a \"b\""`, `say a "b"`, true},
		{"ERROR -test", "ERROR in test", false},
		{"ERROR -test", "ERROR", true},
		{`-"in test"`, "ERROR in test", false},
		{"?ERROR ?WARN", "WARN", true},
		{"?ERROR ?WARN", "INFO", false},
		{"%ERR[0-9]+%", "ERR12", true},
		{"%ERR[0-9]+%", "ERR", false},
		{`{ $.eventType = "UpdateTrail" }`, doc, true},
		{`{$.eventType="UpdateTrail"}`, doc, true},
		{`{ $.eventType = UpdateTrail }`, doc, true},
		{`{ $.eventType != "UpdateTrail" }`, doc, false},
		{`{ $.missing != "UpdateTrail" }`, doc, false},
		{`{ $.ip = 123.123.* }`, doc, true},
		{`{ $.ip = "*.0.*" }`, doc, true},
		{`{ $.ip = "*.9.*" }`, doc, false},
		{`{ $.ip = %123\.1% }`, doc, true},
		{`{ $.n = 5 }`, doc, true},
		{`{ $.n >= 5 && $.n < 6 }`, doc, true},
		{`{ $.n > 5 }`, doc, false},
		{`{ $.n <= 4e0 || $.ok IS TRUE }`, doc, true},
		{`{ $.n = 1 || $.n = 5 && $.ok IS FALSE }`, doc, false},
		{`{ ($.n = 5 || $.n = 1) && ($.no IS FALSE) }`, doc, true},
		{`{ $.nil IS NULL }`, doc, true},
		{`{ $.missing IS NULL }`, doc, false},
		{`{ $.missing NOT EXISTS }`, doc, true},
		{`{ $.n NOT EXISTS }`, doc, false},
		{`{ $.a.b[0].c = "x" }`, doc, true},
		{`{ $.a.b[1] = 2 }`, doc, true},
		{`{ $.a.b[7] = 2 }`, doc, false},
		{`{ $['a']['b'][1] = 2 }`, doc, true},
		{`{ $.n = 5 }`, "not JSON", false},
		{`{ $.n = 5 }`, "{broken", false},
		{`[ip, id, user, time, request, status, size]`, line, true},
		{`[ip, id, user, time, request, status]`, line, false},
		{`[ip, id, user, time, request, status = 4*, size]`, line, true},
		{`[ip, id, user, time, request = "*html*", status = 404 || status = 410, size > 1000]`, line, true},
		{`[..., status = 404, size]`, line, true},
		{`[..., size < 1000]`, line, false},
		{`[ip, ..., size = 1534]`, line, true},
		{`[ip != 127*, ...]`, line, false},
	}
	for _, tt := range tests {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		if got := p.Match(tt.message); got != tt.want {
			t.Errorf("%s on %s is %v", tt.pattern, tt.message, got)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, s := range []string{
		`"open`, `{ $.a = 1`, `{ a = 1 }`, `{ $.a }`, `{ $.a > x }`, `{ ($.a = 1 }`, `{ $. = 1 }`, `[a, b`, `[a,,b]`, `[..., a, ...]`,
		`[a = 1 || b = 2]`, `%open`, `%(%`, `-`, `{}`, `{ $.a = 1 $.b = 2 }`, `a{b`,
	} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a -b ?c", `"x y"`, `{ $.a[0].b = "x*" && ($.c > 5 || $.d IS NULL) }`, `[a, ..., b = 4*]`, "%re%", "{ $[ = 1}", "{$['}"} {
		f.Add(s, `{"a":[{"b":"xy"}],"c":1}`)
		f.Add(s, `1 [2 3] "4 5"`)
	}
	f.Fuzz(func(_ *testing.T, pattern, message string) {
		if p, err := Parse(pattern); err == nil {
			p.Match(message)
		}
	})
}
