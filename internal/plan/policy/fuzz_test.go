package policy

import (
	"strings"
	"testing"
	"time"
)

// FuzzDecide parses anything as each kind of document and decides requests by
// what comes out.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[]`, `"x"`, `{"Version":"2012-10-17","Statement":[]}`, strings.Repeat(`[`, 100), strings.Repeat(`{"Statement":`, 100),
		statement(`"Effect":"Allow","Action":"*","Resource":"*"`),
		statement(`"Sid":"a","Effect":"Deny","NotAction":["s3:*","ec2:Run?nstances"],"NotResource":"arn:aws:s3:::${aws:username, 'x'}/*"`),
		statement(`"Effect":"Allow","Principal":{"AWS":["123456789012","*"],"Service":"ec2.amazonaws.com","Federated":"x"},"Action":"sts:AssumeRole"`),
		statement(`"Effect":"Allow","NotPrincipal":"*","Action":"a:b","Condition":{"ForAnyValue:StringLikeIfExists":{"a:b":["${c}","*"]},"Null":{"x":true}}`),
		statement(`"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01"},"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::1"]},"NumericEquals":{"n":1e999},"Bool":{"b":false},"BinaryEquals":{"c":"QQ=="},"ArnLike":{"d":"arn:aws:*:*:*:${e}"}}`),
		"{\"Version\":\"2012-10-17\",\"Version\":\"x\"}", "\xff{}", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"a:${","Resource":"${"}}`,
	} {
		f.Add(seed)
	}
	ctx := Context{}
	for k, v := range map[string]string{"aws:username": "bo*", "a:b": "x", "aws:SourceIp": "10.1.2.3", "n": "1", "b": "false", "c": "QQ==", "aws:CurrentTime": "2019-01-01T00:00:00Z"} {
		ctx.Set(k, v)
	}
	requests := []Request{
		{Action: "s3:GetObject", Resource: "arn:aws:s3:::a/b", Context: ctx, Principal: Principal{ARN: "arn:aws:iam::123456789012:user/x", Account: "123456789012"}},
		{Action: "a:b", Resource: "*", Context: Context{}, Principal: Principal{Service: "ec2.amazonaws.com"}},
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Identity, Trust, Resource} {
			d, err := Parse(text, kind)
			if err != nil {
				if m, ok := err.(*Malformed); !ok || m.Message == "" { //nolint:errorlint // Parse promises it
					t.Fatalf("%T %v", err, err)
				}
				continue
			}
			for _, st := range d.Statements {
				if st.Start < 0 || st.End > len(text) || st.Start >= st.End || text[st.Start] != '{' {
					t.Fatalf("a statement at %d to %d of %q", st.Start, st.End, text)
				}
			}
			again, err := Parse(d.Text(), kind)
			if err != nil {
				t.Fatalf("parsed once only: %v", err)
			}
			for i := range requests {
				r := requests[i]
				one, _ := d.Decide(&r)
				if two, _ := again.Decide(&r); one != two {
					t.Fatalf("%v and %v", one, two)
				}
				Evaluate(&Set{Identity: []Named{{Document: d}}, Boundary: &Named{Document: again}, Resource: &Named{Document: d}, Owner: "1"}, &r)
			}
		}
	})
}

// TestGlobsTakeNoTime matches what makes backtracking matchers run for years.
func TestGlobsTakeNoTime(t *testing.T) {
	text := strings.Repeat("a", 1<<16)
	start := time.Now()
	for _, pattern := range []string{
		strings.Repeat("*a", 3000) + "b", strings.Repeat("a*", 3000) + "b", strings.Repeat("*?", 3000) + "b",
		"*" + strings.Repeat("a", 6000) + "b", strings.Repeat("*", 6000) + "b", strings.Repeat("*aa?", 1500) + "b",
	} {
		g := compileGlob(pattern, false)
		if g.match(text) {
			t.Errorf("%.10s… matches", pattern)
		}
		r := compileResource("arn:aws:s3:::"+pattern, true)
		if r.match("arn:aws:s3:::"+text, nil) {
			t.Errorf("%.10s… matches as a resource", pattern)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}
