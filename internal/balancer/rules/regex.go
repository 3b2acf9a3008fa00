package rules

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/match"
)

// regexCondition compiles a condition whose values are regular expressions.
// They see the whole Host header, with its port, where patterns do not.
func regexCondition(c model.RuleCondition) (condition, error) {
	fold := c.Field != model.ConditionPathPattern
	var res []*regexp.Regexp
	for _, v := range c.RegexValues {
		re, err := match.Compile(v, fold)
		if err != nil {
			return nil, fmt.Errorf("%s %q: %w", c.Field, v, err)
		}
		res = append(res, re)
	}
	finds := func(b []byte) bool {
		for _, re := range res {
			if re.Match(b) {
				return true
			}
		}
		return false
	}
	switch c.Field {
	case model.ConditionPathPattern:
		return func(r *h1.Request, _ netip.Addr) bool { return finds(r.Path()) }, nil
	case model.ConditionHostHeader:
		return func(r *h1.Request, _ netip.Addr) bool { return finds(r.Host) }, nil
	case model.ConditionHTTPHeader:
		name := []byte(c.HeaderName)
		return func(r *h1.Request, _ netip.Addr) bool {
			for i := range r.Fields {
				if bytes.EqualFold(r.Fields[i].Name, name) && finds(r.Fields[i].Value) {
					return true
				}
			}
			return false
		}, nil
	default:
		return nil, fmt.Errorf("condition field %q has no regular expressions", c.Field)
	}
}
