package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func parse(t testing.TB, text string, kind Kind) Named {
	t.Helper()
	d, err := Parse(text, kind)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return Named{Document: d}
}

func TestDecide(t *testing.T) {
	const task = "arn:aws:ecs:eu-west-1:123456789012:task/web/0123"
	for _, tt := range []struct {
		name, members, action, resource string
		want                            Effect
	}{
		{"star", `"Effect":"Allow","Action":"*","Resource":"*"`, "ecs:RunTask", task, Allow},
		{"action's case", `"Effect":"Allow","Action":"ECS:runtask","Resource":"*"`, "ecs:RunTask", task, Allow},
		{"action's prefix", `"Effect":"Allow","Action":"ecs:Run*","Resource":"*"`, "ecs:RunTask", task, Allow},
		{"action's one", `"Effect":"Allow","Action":"ecs:RunTas?","Resource":"*"`, "ecs:RunTask", task, Allow},
		{"other action", `"Effect":"Allow","Action":"ecs:Stop*","Resource":"*"`, "ecs:RunTask", task, NoMatch},
		{"not action", `"Effect":"Deny","NotAction":"iam:*","Resource":"*"`, "ecs:RunTask", task, Deny},
		{"not action misses", `"Effect":"Deny","NotAction":"ecs:*","Resource":"*"`, "ecs:RunTask", task, NoMatch},
		{"resource", `"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:*:123456789012:task/web/*"`, "ecs:RunTask", task, Allow},
		{"resource's case", `"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:*:123456789012:task/WEB/*"`, "ecs:RunTask", task, NoMatch},
		{"star stays in its part", `"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:*::task/*"`, "ecs:RunTask", "arn:aws:ecs:eu:123:x::task/a", NoMatch},
		{"last part has colons", `"Effect":"Allow","Action":"*","Resource":"arn:aws:logs:*:*:log-group:/ecs/*:*"`, "logs:PutLogEvents", "arn:aws:logs:eu:1:log-group:/ecs/web:log-stream:a", Allow},
		{"not resource", `"Effect":"Deny","Action":"*","NotResource":"arn:aws:s3:::a"`, "s3:x", "arn:aws:s3:::b", Deny},
		{"no resource level", `"Effect":"Allow","Action":"*","Resource":"arn:aws:ecs:*:*:task/*"`, "ecs:ListTasks", "*", NoMatch},
		{"no resource level, star", `"Effect":"Allow","Action":"*","Resource":"*"`, "ecs:ListTasks", "*", Allow},
		{"variable", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::home/${aws:username}/*"`, "s3:x", "arn:aws:s3:::home/bo*/f", Allow},
		{"variable is no pattern", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::home/${aws:username}/*"`, "s3:x", "arn:aws:s3:::home/bobby/f", NoMatch},
		{"variable missing", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/team}"`, "s3:x", "arn:aws:s3:::", NoMatch},
		{"variable's default", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:PrincipalTag/team, 'all'}"`, "s3:x", "arn:aws:s3:::all", Allow},
		{"escaped star", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a${*}b"`, "s3:x", "arn:aws:s3:::a*b", Allow},
		{"escaped star is one", `"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a${*}b"`, "s3:x", "arn:aws:s3:::axb", NoMatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx := Context{}
			ctx.Set("aws:username", "bo*")
			d := parse(t, statement(tt.members), Identity)
			got, s := d.Decide(&Request{Action: tt.action, Resource: tt.resource, Context: ctx})
			if got != tt.want || (s == nil) != (got == NoMatch) {
				t.Errorf("got %v by %v, want %v", got, s, tt.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	ctx := Context{}
	ctx.Set("aws:username", "Bob")
	ctx.Set("aws:PrincipalTag/Team", "red")
	ctx.Set("aws:ResourceTag/team", "red")
	ctx.Set("aws:SourceIp", "10.1.2.3")
	ctx.Set("aws:SecureTransport", "false")
	ctx.Set("aws:CurrentTime", "2025-06-01T12:00:00Z")
	ctx.Set("aws:EpochTime", "1748779200")
	ctx.Set("aws:PrincipalArn", "arn:aws:iam::123456789012:role/app/web")
	ctx.Set("aws:TagKeys", "env", "team")
	ctx.Set("ecs:count", "10")
	for _, tt := range []struct {
		condition string
		want      bool
	}{
		{`{"StringEquals":{"aws:username":"Bob"}}`, true},
		{`{"StringEquals":{"AWS:UserName":"Bob"}}`, true},
		{`{"stringequals":{"aws:username":"Bob"}}`, true},
		{`{"StringEquals":{"aws:username":["Al","Bob"]}}`, true},
		{`{"StringEquals":{"aws:username":"bob"}}`, false},
		{`{"StringEquals":{"aws:username":"B*"}}`, false},
		{`{"StringEquals":{"aws:username":[]}}`, false},
		{`{"StringNotEquals":{"aws:username":["Al","Bob"]}}`, false},
		{`{"StringNotEquals":{"aws:username":["Al","Cy"]}}`, true},
		{`{"StringNotEquals":{"aws:none":"x"}}`, true},
		{`{"StringEquals":{"aws:none":"x"}}`, false},
		{`{"StringEqualsIfExists":{"aws:none":"x"}}`, true},
		{`{"StringEqualsIfExists":{"aws:username":"x"}}`, false},
		{`{"StringEqualsIgnoreCase":{"aws:username":"bOB"}}`, true},
		{`{"StringNotEqualsIgnoreCase":{"aws:username":"bOB"}}`, false},
		{`{"StringLike":{"aws:username":"B?b"}}`, true},
		{`{"StringNotLike":{"aws:username":"B*"}}`, false},
		{`{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/Team}"}}`, true},
		{`{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/None}"}}`, false},
		{`{"NumericLessThanEquals":{"ecs:count":"10"}}`, true},
		{`{"NumericLessThan":{"ecs:count":10}}`, false},
		{`{"NumericGreaterThan":{"ecs:count":"9.5"}}`, true},
		{`{"NumericNotEquals":{"ecs:count":"10"}}`, false},
		{`{"DateGreaterThan":{"aws:CurrentTime":"2025-06-01T11:59:59Z"}}`, true},
		{`{"DateLessThan":{"aws:CurrentTime":"2025-06-01"}}`, false},
		{`{"DateGreaterThanEquals":{"aws:EpochTime":"2025-06-01T12:00:00Z"}}`, true},
		{`{"DateEquals":{"aws:CurrentTime":"1748779200"}}`, true},
		{`{"Bool":{"aws:SecureTransport":"false"}}`, true},
		{`{"Bool":{"aws:SecureTransport":true}}`, false},
		{`{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, true},
		{`{"IpAddress":{"aws:SourceIp":["192.0.2.1","10.1.2.3"]}}`, true},
		{`{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, false},
		{`{"NotIpAddress":{"aws:SourceIp":"2001:db8::/32"}}`, true},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/app/*"}}`, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:role/*"}}`, true},
		{`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/app/*"}}`, false},
		{`{"Null":{"aws:none":"true"}}`, true},
		{`{"Null":{"aws:username":"true"}}`, false},
		{`{"Null":{"aws:username":"false"}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["env","team","cost"]}}`, true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}}`, false},
		{`{"ForAllValues:StringEquals":{"aws:none":["env"]}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["env"]}}`, true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["cost"]}}`, false},
		{`{"ForAnyValue:StringEquals":{"aws:none":["env"]}}`, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env"]}}`, true},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["env"]}}`, false},
		{`{"StringEquals":{"aws:username":"Bob"},"Bool":{"aws:SecureTransport":"true"}}`, false},
		{`{"StringEquals":{"aws:username":"Bob","aws:ResourceTag/team":"blue"}}`, false},
		{`{}`, true},
	} {
		d := parse(t, statement(oneTrap+`,"Condition":`+tt.condition), Identity)
		got, _ := d.Decide(&Request{Action: "s3:ListBucket", Resource: "*", Context: ctx})
		if (got == Allow) != tt.want {
			t.Errorf("%s: %v, want %v", tt.condition, got == Allow, tt.want)
		}
	}
}

func TestEvaluateLayers(t *testing.T) {
	const (
		account = "123456789012"
		user    = "arn:aws:iam::" + account + ":user/bob"
		role    = "arn:aws:iam::" + account + ":role/web"
		session = "arn:aws:sts::" + account + ":assumed-role/web/s"
	)
	allow := parse(t, statement(`"Effect":"Allow","Action":"ecr:*","Resource":"*"`), Identity)
	deny := parse(t, statement(`"Effect":"Deny","Action":"ecr:*","Resource":"*"`), Identity)
	other := parse(t, statement(`"Effect":"Allow","Action":"s3:*","Resource":"*"`), Identity)
	grantTo := func(principal string) *Named {
		n := parse(t, statement(`"Effect":"Allow","Action":"ecr:*","Principal":`+principal), Resource)
		return &n
	}
	asUser := Principal{ARN: user, Account: account, UniqueID: "AIDAX"}
	asRole := Principal{ARN: session, Role: role, Account: account, UniqueID: "AROAX"}
	named := deny
	named.Name = "arn:aws:iam::123456789012:policy/no"
	for _, tt := range []struct {
		name string
		who  Principal
		set  Set
		want string // empty when allowed
	}{
		{"nothing", asUser, Set{}, "because no identity-based policy allows the ecr:PutImage action"},
		{"identity", asUser, Set{Identity: []Named{other, allow}}, ""},
		{"deny", asUser, Set{Identity: []Named{allow, deny}}, "with an explicit deny in an identity-based policy"},
		{"deny by a managed policy", asUser, Set{Identity: []Named{allow, named}}, "with an explicit deny in an identity-based policy: arn:aws:iam::123456789012:policy/no"},
		{"boundary", asUser, Set{Identity: []Named{allow}, Boundary: &allow}, ""},
		{"outside the boundary", asUser, Set{Identity: []Named{allow}, Boundary: &other}, "because no permissions boundary allows the ecr:PutImage action"},
		{"boundary denies", asUser, Set{Identity: []Named{allow}, Boundary: &deny}, "with an explicit deny in a permissions boundary"},
		{"session", asRole, Set{Identity: []Named{allow}, Session: []Named{other}}, "because no session policy allows the ecr:PutImage action"},
		{"one session policy", asRole, Set{Identity: []Named{allow}, Session: []Named{other, allow}}, ""},
		{"session denies", asRole, Set{Identity: []Named{allow}, Session: []Named{allow, deny}}, "with an explicit deny in a session policy"},
		{"resource names the user", asUser, Set{Resource: grantTo(`{"AWS":"` + user + `"}`)}, ""},
		{"resource names the account", asUser, Set{Resource: grantTo(`{"AWS":"` + account + `"}`)}, "because no identity-based policy allows the ecr:PutImage action"},
		{"resource names the role", asRole, Set{Resource: grantTo(`{"AWS":"` + role + `"}`)}, ""},
		{"resource names the role, session does not allow", asRole, Set{Session: []Named{other}, Resource: grantTo(`{"AWS":"` + role + `"}`)}, "because no identity-based policy allows the ecr:PutImage action"},
		{"resource names the session", asRole, Set{Session: []Named{other}, Resource: grantTo(`{"AWS":"` + session + `"}`)}, ""},
		{"resource names anyone", asUser, Set{Resource: grantTo(`"*"`)}, ""},
		{"another account's, not let in", asUser, Set{Identity: []Named{allow}, Owner: "999999999999"}, "because no resource-based policy allows the ecr:PutImage action"},
		{"another account's, let in alone", asUser, Set{Owner: "999999999999", Resource: grantTo(`{"AWS":"` + user + `"}`)}, "because no identity-based policy allows the ecr:PutImage action"},
		{"another account's, both", asUser, Set{Identity: []Named{allow}, Owner: "999999999999", Resource: grantTo(`{"AWS":"` + account + `"}`)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := &Request{Action: "ecr:PutImage", Resource: "arn:aws:ecr:eu:1:repository/a", Principal: tt.who, Context: Context{}}
			res := Evaluate(&tt.set, req)
			got := ""
			if !res.Allowed {
				got = res.Reason(req.Action)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNotPrincipal(t *testing.T) {
	d := parse(t, statement(`"Effect":"Deny","Action":"ecr:*","NotPrincipal":{"AWS":"arn:aws:iam::1:user/a"}`), Resource)
	for arn, want := range map[string]Effect{"arn:aws:iam::1:user/a": NoMatch, "arn:aws:iam::1:user/b": Deny} {
		if got, _ := d.Decide(&Request{Action: "ecr:X", Principal: Principal{ARN: arn, Account: "1"}}); got != want {
			t.Errorf("%s: %v, want %v", arn, got, want)
		}
	}
}

// drawStatement makes a statement over a small world, so that some match.
func drawStatement(t *rapid.T, label string) map[string]any {
	s := map[string]any{"Effect": rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, label+" effect")}
	actions := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "ecs:*", "ecs:Run*", "ecs:RunTask", "s3:*", "ecs:?unTask"}), 1, 3).Draw(t, label+" actions")
	s[rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, label+" element")] = actions
	s["Resource"] = rapid.SampledFrom([]string{"*", "arn:aws:ecs:*:*:*", "arn:aws:ecs:eu:1:task/*", "arn:aws:s3:::*"}).Draw(t, label+" resource")
	if rapid.Bool().Draw(t, label+" conditional") {
		s["Condition"] = map[string]any{"StringEquals": map[string]any{"ecs:cluster": rapid.SampledFrom([]string{"a", "b"}).Draw(t, label+" cluster")}}
	}
	return s
}

func document(t *rapid.T, list []map[string]any) Named {
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": list})
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(string(b), Identity)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return Named{Document: d}
}

func TestEvaluateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "statements")
		list := make([]map[string]any, n)
		for i := range list {
			list[i] = drawStatement(t, fmt.Sprint(i))
		}
		ctx := Context{}
		ctx.Set("ecs:cluster", "a")
		request := func() *Request {
			return &Request{Action: "ecs:RunTask", Resource: "arn:aws:ecs:eu:1:task/x", Context: ctx}
		}
		whole := document(t, list)
		got := Evaluate(&Set{Identity: []Named{whole}}, request())

		// Order does not matter.
		shuffled := document(t, rapid.Permutation(list).Draw(t, "order"))
		if r := Evaluate(&Set{Identity: []Named{shuffled}}, request()); r.Allowed != got.Allowed || r.Explicit != got.Explicit {
			t.Fatalf("order changes the decision: %v, %v", got, r)
		}
		// Nor does it matter how statements are spread over documents.
		var split []Named
		denied, allowed := false, false
		for _, s := range list {
			one := document(t, []map[string]any{s})
			split = append(split, one)
			switch e, _ := one.Decide(request()); e {
			case Deny:
				denied = true
			case Allow:
				allowed = true
			case NoMatch:
			}
		}
		if r := Evaluate(&Set{Identity: split}, request()); r.Allowed != got.Allowed || r.Explicit != got.Explicit {
			t.Fatalf("splitting changes the decision: %v, %v", got, r)
		}
		// A deny wins over everything; without one an allow is enough.
		if got.Explicit != denied || got.Allowed != (allowed && !denied) {
			t.Fatalf("denied %v and allowed %v gave %+v", denied, allowed, got)
		}
		// A boundary or a session policy never adds a permission.
		for _, set := range []*Set{
			{Identity: []Named{whole}, Boundary: &shuffled},
			{Identity: []Named{whole}, Session: split},
			{Identity: []Named{whole}, Boundary: &split[0]},
		} {
			if r := Evaluate(set, request()); r.Allowed && !got.Allowed {
				t.Fatalf("a further policy allowed what was not: %+v", set)
			}
		}
	})
}

func TestGlobProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*?é]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[abé]{0,8}`).Draw(t, "text")
		g := compileGlob(pattern, false)
		if got, want := g.match(s), slowMatch([]rune(pattern), []rune(s)); got != want {
			t.Fatalf("%q against %q: %v, want %v", pattern, s, got, want)
		}
	})
}

// slowMatch is the definition of a glob.
func slowMatch(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		return slowMatch(p[1:], s) || len(s) > 0 && slowMatch(p, s[1:])
	case len(s) == 0:
		return false
	}
	return (p[0] == '?' || p[0] == s[0]) && slowMatch(p[1:], s[1:])
}

func BenchmarkEvaluate(b *testing.B) {
	doc := parse(b, `{"Version":"2012-10-17","Statement":[`+
		strings.Repeat(`{"Effect":"Allow","Action":["s3:Get*","s3:List*","logs:*"],"Resource":"arn:aws:s3:::bucket/*"},`, 10)+
		`{"Effect":"Allow","Action":"ecs:*","Resource":"arn:aws:ecs:*:123456789012:*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}]}`, Identity)
	ctx := Context{}
	ctx.Set("aws:RequestedRegion", "eu-west-1")
	set := &Set{Identity: []Named{doc}}
	for b.Loop() {
		r := Request{Action: "ecs:RunTask", Resource: "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:1", Context: ctx}
		if !Evaluate(set, &r).Allowed {
			b.Fatal("not allowed")
		}
	}
}
