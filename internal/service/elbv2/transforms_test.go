package elbv2

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elbv2"
)

func urlRewrite(rewrites ...elbv2.RewriteConfig) elbv2.RuleTransform {
	return elbv2.RuleTransform{Type: "url-rewrite", UrlRewriteConfig: &elbv2.UrlRewriteConfig{Rewrites: rewrites}}
}

func hostRewrite(rewrites ...elbv2.RewriteConfig) elbv2.RuleTransform {
	return elbv2.RuleTransform{Type: "host-header-rewrite", HostHeaderRewriteConfig: &elbv2.HostHeaderRewriteConfig{Rewrites: rewrites}}
}

func rewriting(regex, replace string) elbv2.RewriteConfig {
	return elbv2.RewriteConfig{Regex: &regex, Replace: &replace}
}

func TestTransforms(t *testing.T) {
	w := newWorld(t)
	l := w.listener(w.loadBalancer("lb"), 80, forward(w.group("g")))
	both := []elbv2.RuleTransform{urlRewrite(rewriting("^/a/(.*)$", "/$1")), hostRewrite(rewriting("^a", "b"))}
	in := &elbv2.CreateRuleInput{ListenerArn: &l, Priority: new(int32(1)), Conditions: path("/a/*"), Actions: forward(w.group("g")), Transforms: both}
	rule := must(w.s.CreateRule(w.ctx, in))(w).Rules[0]
	if d := cmp.Diff(both, rule.Transforms); d != "" {
		t.Error(d)
	}
	shown := func() []elbv2.RuleTransform {
		return must(w.s.DescribeRules(w.ctx, &elbv2.DescribeRulesInput{RuleArns: []string{*rule.RuleArn}}))(w).Rules[0].Transforms
	}
	// What a change does not name stays.
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Conditions: path("/b/*")}))(w)
	if d := cmp.Diff(both, shown()); d != "" {
		t.Error(d)
	}
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Transforms: both[:1]}))(w)
	if d := cmp.Diff(both[:1], shown()); d != "" {
		t.Error(d)
	}
	_, err := w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Transforms: both, ResetTransforms: new(true)})
	refused(t, err, "ValidationError", "both Transforms and ResetTransforms")
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, ResetTransforms: new(true)}))(w)
	if got := shown(); len(got) != 0 {
		t.Errorf("after the reset: %v", got)
	}
	long := strings.Repeat("a", 1025)
	for name, c := range map[string]struct {
		in   []elbv2.RuleTransform
		text string
	}{
		"twice":       {[]elbv2.RuleTransform{both[0], both[0]}, "multiple transforms of type 'url-rewrite'"},
		"no config":   {[]elbv2.RuleTransform{{Type: "url-rewrite"}}, "exactly one rewrite"},
		"other's":     {[]elbv2.RuleTransform{{Type: "url-rewrite", HostHeaderRewriteConfig: both[1].HostHeaderRewriteConfig}}, "must be of its type"},
		"two":         {[]elbv2.RuleTransform{urlRewrite(rewriting("a", "b"), rewriting("b", "c"))}, "exactly one rewrite"},
		"not valid":   {[]elbv2.RuleTransform{urlRewrite(rewriting("(", ""))}, "'(' is not valid"},
		"lookahead":   {[]elbv2.RuleTransform{urlRewrite(rewriting("a(?=b)", ""))}, "is not valid"},
		"class":       {[]elbv2.RuleTransform{urlRewrite(rewriting(`\p{L}`, ""))}, "not supported"},
		"group":       {[]elbv2.RuleTransform{urlRewrite(rewriting("(a)", "$2"))}, "does not have"},
		"long":        {[]elbv2.RuleTransform{urlRewrite(rewriting(long, ""))}, "longer than '1024'"},
		"replacement": {[]elbv2.RuleTransform{urlRewrite(rewriting("a", long))}, "longer than '1024'"},
		"empty":       {[]elbv2.RuleTransform{urlRewrite(rewriting("", "a"))}, "cannot be empty"},
	} {
		t.Run(name, func(t *testing.T) {
			in := *in
			in.Priority, in.Transforms = new(int32(2)), c.in
			_, err := w.s.CreateRule(w.ctx, &in)
			refused(t, err, "ValidationError", c.text)
		})
	}
}

func TestRegexConditions(t *testing.T) {
	w := newWorld(t)
	l := w.listener(w.loadBalancer("lb"), 80, forward(w.group("g")))
	priority := int32(0)
	create := func(cs ...elbv2.RuleCondition) ([]elbv2.RuleCondition, error) {
		priority++
		out, err := w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: &l, Priority: new(priority), Conditions: cs, Actions: forward(w.group("g"))})
		if err != nil {
			return nil, err
		}
		return out.Rules[0].Conditions, nil
	}
	expr := []string{`^/a[0-9]+$`}
	config := &elbv2.PathPatternConditionConfig{RegexValues: expr}
	whole := elbv2.RuleCondition{Field: new("path-pattern"), PathPatternConfig: config, RegexValues: expr}
	header := elbv2.RuleCondition{Field: new("http-header"), HttpHeaderConfig: &elbv2.HttpHeaderConditionConfig{HttpHeaderName: new("X-A"), RegexValues: expr}}
	for name, c := range map[string]struct{ in, want elbv2.RuleCondition }{
		"config":   {elbv2.RuleCondition{Field: new("path-pattern"), PathPatternConfig: config}, whole},
		"member":   {elbv2.RuleCondition{Field: new("path-pattern"), RegexValues: expr}, whole},
		"as shown": {whole, whole},
		"host": {
			elbv2.RuleCondition{Field: new("host-header"), HostHeaderConfig: &elbv2.HostHeaderConditionConfig{RegexValues: expr}},
			elbv2.RuleCondition{Field: new("host-header"), HostHeaderConfig: &elbv2.HostHeaderConditionConfig{RegexValues: expr}, RegexValues: expr},
		},
		"header": {header, header},
	} {
		got, err := create(c.in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff([]elbv2.RuleCondition{c.want}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	regexes := func(values ...string) elbv2.RuleCondition {
		return elbv2.RuleCondition{Field: new("path-pattern"), PathPatternConfig: &elbv2.PathPatternConditionConfig{RegexValues: values}}
	}
	for name, c := range map[string]struct {
		in   elbv2.RuleCondition
		text string
	}{
		"both":     {elbv2.RuleCondition{Field: new("path-pattern"), PathPatternConfig: &elbv2.PathPatternConditionConfig{Values: expr, RegexValues: expr}}, "both values and regular expressions"},
		"differs":  {elbv2.RuleCondition{Field: new("path-pattern"), RegexValues: []string{"x"}, PathPatternConfig: config}, "both Values and a configuration"},
		"too many": {regexes("a", "b", "c", "d", "e", "f"), "only have '5' condition values"},
		"long":     {regexes(strings.Repeat("a", 129)), "longer than '128'"},
		"invalid":  {regexes("("), "not valid"},
		"method":   {elbv2.RuleCondition{Field: new("http-request-method"), RegexValues: expr}, "must be given with its configuration"},
	} {
		_, err := create(c.in)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		refused(t, err, "ValidationError", c.text)
	}
}

func TestHeaderNames(t *testing.T) {
	w := newWorld(t)
	lb := w.loadBalancer("lb")
	out := must(w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &lb, Port: new(int32(443)), Protocol: "HTTPS", Certificates: named(w.certificate("c")), DefaultActions: forward(w.group("g")),
	}))(w)
	https, http := *out.Listeners[0].ListenerArn, w.listener(lb, 80, forward(w.group("g")))
	const version, suite = "routing.http.request.x_amzn_tls_version.header_name", "routing.http.request.x_amzn_tls_cipher_suite.header_name"
	set := func(l, key, value string) (map[string]string, error) {
		out, err := w.s.ModifyListenerAttributes(w.ctx, &elbv2.ModifyListenerAttributesInput{
			ListenerArn: &l, Attributes: []elbv2.ListenerAttribute{{Key: &key, Value: &value}},
		})
		got := map[string]string{}
		if err == nil {
			for _, a := range out.Attributes {
				got[*a.Key] = *a.Value
			}
		}
		return got, err
	}
	got, err := set(https, version, "X-Tls")
	if err != nil || got[version] != "X-Tls" || got[suite] != "X-Amzn-Tls-Cipher-Suite" || len(got) != 19 {
		t.Errorf("got %v %v", got, err)
	}
	_, err = set(http, version, "X-Tls")
	refused(t, err, "ValidationError", "is not recognized")
	for _, bad := range []string{"", "a b", "Host", "content_length", "X-Amzn-Oidc-Data", strings.Repeat("a", 41), "x:y"} {
		_, err = set(https, suite, bad)
		refused(t, err, "ValidationError", "is not valid for")
	}
	_, err = set(https, suite, "x_tls")
	refused(t, err, "ValidationError", "cannot have the same value")
}
