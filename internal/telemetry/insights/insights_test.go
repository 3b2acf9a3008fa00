package insights

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// events are a minute apart, from 12:00 on.
var events = []string{
	`{"level":"INFO","user":{"name":"ann","tags":["a","b"]},"ms":12,"ok":true}`,
	`{"level":"ERROR","user":{"name":"bob"},"ms":250,"ok":false}`,
	`{"level":"ERROR","user":{"name":"ann"},"ms":8}`,
	`GET /items/7 HTTP/1.1 200 user=ann`,
	`POST /items HTTP/1.1 500 user=bob, "quoted"`,
	`GET /health HTTP/1.1 200`,
}

var noon = time.Date(2024, 5, 6, 12, 0, 0, 0, time.UTC)

// run gives a result as lines of columns.
func run(t testing.TB, query string, messages ...string) (string, *Execution) {
	t.Helper()
	q, err := Parse(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	x := q.Run(DefaultLimit)
	for i, m := range messages {
		at := noon.Add(time.Duration(i) * time.Minute).UnixMilli()
		x.Add(Record{Timestamp: at, Ingestion: at + 5, Message: m, Stream: fmt.Sprint("s", i%2), Log: "1:g", Ptr: fmt.Sprint("p", i)})
	}
	var lines []string
	for _, r := range x.Results() {
		var fields []string
		for _, f := range r {
			if f.Name != "@ptr" {
				fields = append(fields, f.Name+"="+f.Value)
			}
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	return strings.Join(lines, "\n"), x
}

func TestQueries(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"fields @timestamp, level | filter ispresent(level) | limit 2", "@timestamp=2024-05-06 12:02:00.000 level=ERROR\n@timestamp=2024-05-06 12:01:00.000 level=ERROR"},
		{"fields ms | filter level = 'ERROR' | sort ms", "ms=8\nms=250"},
		{"fields user.name as who | filter ms > 10 and not (ok = 0)", "who=ann"},
		{"fields user.tags.1 as tag | filter ispresent(user.tags.0)", "tag=b"},
		{"fields @logStream | filter @message like /^GET/ | sort @timestamp asc", "@logStream=s1\n@logStream=s1"},
		{"fields ms * 2 + 1 as x, x / 5 as y | filter ms in [12, 8] | sort ms desc", "x=25 y=5\nx=17 y=3.4"},
		{"fields -ms ^ 2 as p | filter ms = 8", "p=64"},
		{"filter @message like 'quoted' or level not in ['INFO', 'ERROR'] | display @logStream", "@logStream=s1\n@logStream=s0\n@logStream=s1"},
		{"filter level not like /err/i and ispresent(level) | fields level", "level=INFO"},
		{`parse @message "* /* HTTP/1.1 *" as method, path, rest | filter ispresent(method) | display method, path`, "method=GET path=health\nmethod=POST path=items\nmethod=GET path=items/7"},
		{`parse @message /user=(?<who>\w+)/ | filter who = "bob" | fields who`, "who=bob"},
		{`parse 'user=*' as who | filter who like "bob" | display who`, `who=bob, "quoted"`},
		{"stats count(*) as n by level | sort n desc, level", "n=3\nlevel=ERROR n=2\nlevel=INFO n=1"},
		{"stats count(*), avg(ms), max(ms) as worst, sum(ms), min(ms)", "count(*)=6 avg(ms)=90 worst=250 sum(ms)=270 min(ms)=8"},
		{"stats count() by bin(2m) | sort bin(2m)", "bin(2m)=2024-05-06 12:00:00.000 count()=2\nbin(2m)=2024-05-06 12:02:00.000 count()=2\nbin(2m)=2024-05-06 12:04:00.000 count()=2"},
		{"stats count_distinct(user.name) as people, latest(user.name) as last, earliest(level) as first", "people=2 last=ann first=INFO"},
		{"stats sum(ms) as total by user.name as who | filter total > 100 | display who", "who=bob"},
		{"stats count(*) as n by level | stats max(n) as most", "most=3"},
		{"filter level = 'NONE' | stats count(*)", "count(*)=0"},
		{"filter level = 'NONE' | stats count(*) by level", ""},
		{"fields user.name | filter ispresent(user.name) | dedup user.name", "user.name=ann\nuser.name=bob"},
		{"fields toupper(level) as l, strlen(level) as n, concat(level, '-', ms) as c | filter ms = 12", "l=INFO n=4 c=INFO-12"},
		{"fields substr(level, 1, 2) as s, replace(level, 'R', 'r') as r, trim('  x ') as t, coalesce(nothing, ms) as k | filter ms = 8", "s=RR r=ErrOr t=x k=8"},
		{"fields datefloor(@timestamp, 1h) as f, dateceil(@timestamp, 1h) as c, toMillis(@timestamp) as m | filter ms = 250", "f=2024-05-06 12:00:00.000 c=2024-05-06 13:00:00.000 m=1714996860000"},
		{"fields greatest(ms, 10) as g, least(ms, 10) as l, abs(0 - ms) as a, ceil(ms / 5) as b | filter ms = 8", "g=10 l=8 a=8 b=2"},
		{"# what is slow?\nfields `user.name` as u # who\n| filter ms >= 250", "u=bob"},
		{"filter @message like /items\\/7/ | fields strcontains(@message, 'user') as has", "has=1"},
	} {
		if got, _ := run(t, c.query, events...); got != c.want {
			t.Errorf("%s\ngot\n%s\nwant\n%s", c.query, got, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	got, x := run(t, "filter level = 'ERROR'", events...)
	want := "@timestamp=2024-05-06 12:02:00.000 @message=" + events[2] + "\n@timestamp=2024-05-06 12:01:00.000 @message=" + events[1]
	if got != want || x.Scanned != 6 || x.Matched != 2 {
		t.Errorf("%d of %d:\n%s", x.Matched, x.Scanned, got)
	}
	// Events carry what identifies them, groups do not.
	for query, want := range map[string]bool{"fields ms": true, "stats count(*)": false} {
		q, _ := Parse(query)
		x := q.Run(1)
		x.Add(Record{Message: "{}", Ptr: "p"})
		rows := x.Results()
		if has := rows[0][len(rows[0])-1].Name == "@ptr"; has != want {
			t.Errorf("%s: %v", query, rows)
		}
	}
	q, _ := Parse("fields @message | sort @message")
	x = q.Run(2)
	for _, m := range []string{"c", "b", "a"} {
		x.Add(Record{Message: m})
	}
	if rows := x.Results(); len(rows) != 2 || rows[0][0].Value != "a" {
		t.Errorf("limited from outside: %v", rows)
	}
	if got, _ := run(t, "stats pct(ms, 90) as p, median(ms) as m, stddev(ms) as d", `{"ms":1}`, `{"ms":2}`, `{"ms":3}`, `{"ms":"x"}`, `{"ms":4}`); got != "p=4 m=2 d=1.118033988749895" {
		t.Errorf("got %s", got)
	}
}

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		query, message string
		start          int
	}{
		{"", "unexpected end of query at offset 0", 0},
		{"fields", "unexpected end of query at offset 6", 6},
		{"select *", "unexpected symbol found select at offset 0", 0},
		{"fields @message | limt 5", "unexpected symbol found limt at offset 18", 18},
		{"fields @message limit 5", "unexpected symbol found limit at offset 16", 16},
		{"filter level =", "unexpected end of query at offset 14", 14},
		{"filter (level = 1", "unexpected end of query at offset 17", 17},
		{"filter level like 5", "unexpected symbol found 5 at offset 18", 18},
		{"filter @message like /(/", "missing closing ): `(`", 21},
		{"limit 0", "unexpected symbol found 0 at offset 6", 6},
		{"stats nope(x)", "unknown function nope at offset 6", 6},
		{"fields nope(x)", "unknown function nope at offset 7", 7},
		{"fields strlen(a, b)", "invalid number of arguments for function strlen at offset 7", 7},
		{"fields bin(5x)", "unexpected symbol found x at offset 12", 12},
		{"parse @message 'a*b*' as x", "parse has 2 wildcards and 1 names", 15},
		{"parse @message /a/", "the groups of a regular expression of parse need names, at offset 15", 15},
		{"parse @message /(a)/", "need names", 15},
		{"fields 'a", "a quote is not closed at offset 7", 7},
		{"fields a; b", "unexpected symbol found ';' at offset 8", 8},
		{"filter " + strings.Repeat("(", 1000), "the query nests too deep", 39},
	} {
		_, err := Parse(c.query)
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok || !strings.Contains(e.Message, c.message) || e.Start != c.start {
			t.Errorf("%.40s: %v at %d, want %s at %d", c.query, err, e.Start, c.message, c.start)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, q := range []string{
		"fields @timestamp, level | filter ispresent(level) and ms > 3 | sort ms desc | limit 2",
		"stats count(*) as n, pct(ms, 99), avg(ms) by bin(5m), user.name as w | filter n > 1",
		`parse @message "* user=*" as a, b | parse x /(?<y>\d+)/i | display a, b | dedup a`,
		"filter level in ['a', \"b\"] or not (x like 'y' and z =~ /q/) # end",
		"fields -(-1) ^ 2 % 3, datefloor(@timestamp, 1h), `a b`",
	} {
		f.Add(q)
	}
	f.Add("parse \"\x87\"")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err != nil {
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok || e.Start < 0 || e.End > len(s) || e.Start > e.End {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		x := q.Run(10)
		for i, m := range events {
			x.Add(Record{Timestamp: int64(i), Message: m})
		}
		if n := len(x.Results()); n > MaxLimit {
			t.Fatalf("%q gave %d rows", s, n)
		}
	})
}
