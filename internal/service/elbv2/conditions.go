package elbv2

import (
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
)

// Limits of a rule's conditions.
const (
	maxConditionLength = 128
	maxMethodLength    = 40
	maxHeaderName      = 40
)

// conditions checks the conditions of a rule.
func conditions(in []elbv2.RuleCondition) ([]model.RuleCondition, error) {
	if len(in) == 0 {
		return nil, invalid("A condition must be specified")
	}
	var out []model.RuleCondition
	seen := map[string]bool{}
	values, wildcards := 0, 0
	for i := range in {
		c, err := condition(&in[i])
		if err != nil {
			return nil, err
		}
		switch c.Field {
		case model.ConditionHTTPHeader, model.ConditionQueryString:
		default:
			if seen[c.Field] {
				return nil, invalid("The rule has multiple conditions of type '%s'; only one is allowed", c.Field)
			}
		}
		seen[c.Field] = true
		values += len(c.Values) + len(c.RegexValues) + len(c.QueryStrings)
		wildcards += countWildcards(&c)
		out = append(out, c)
	}
	if values > maxConditionValues {
		return nil, invalid("A rule can only have '%d' condition values", maxConditionValues)
	}
	if wildcards > maxWildcards {
		return nil, invalid("A rule can only have '%d' wildcards", maxWildcards)
	}
	return out, nil
}

func countWildcards(c *model.RuleCondition) int {
	n := 0
	count := func(s string) { n += strings.Count(s, "*") + strings.Count(s, "?") }
	switch c.Field {
	case model.ConditionRequestMethod, model.ConditionSourceIP:
		return 0
	}
	for _, v := range c.Values {
		count(v)
	}
	for _, q := range c.QueryStrings {
		count(q.Key)
		count(q.Value)
	}
	return n
}

func condition(in *elbv2.RuleCondition) (model.RuleCondition, error) {
	c := model.RuleCondition{Field: value(in.Field)}
	var config, regexes []string
	hasConfig := false
	switch c.Field {
	case model.ConditionPathPattern:
		if hasConfig = in.PathPatternConfig != nil; hasConfig {
			config, regexes = in.PathPatternConfig.Values, in.PathPatternConfig.RegexValues
		}
	case model.ConditionHostHeader:
		if hasConfig = in.HostHeaderConfig != nil; hasConfig {
			config, regexes = in.HostHeaderConfig.Values, in.HostHeaderConfig.RegexValues
		}
	case model.ConditionRequestMethod:
		if hasConfig = in.HttpRequestMethodConfig != nil; hasConfig {
			config = in.HttpRequestMethodConfig.Values
		}
	case model.ConditionSourceIP:
		if hasConfig = in.SourceIpConfig != nil; hasConfig {
			config = in.SourceIpConfig.Values
		}
	case model.ConditionHTTPHeader:
		if hasConfig = in.HttpHeaderConfig != nil; hasConfig {
			config, regexes = in.HttpHeaderConfig.Values, in.HttpHeaderConfig.RegexValues
			c.HeaderName = value(in.HttpHeaderConfig.HttpHeaderName)
		}
	case model.ConditionQueryString:
		if hasConfig = in.QueryStringConfig != nil; hasConfig {
			for _, q := range in.QueryStringConfig.Values {
				c.QueryStrings = append(c.QueryStrings, model.QueryStringPair{Key: value(q.Key), Value: value(q.Value)})
			}
		}
	default:
		return c, invalid("Condition field '%s' must be one of '[path-pattern, host-header, http-header, http-request-method, query-string, source-ip]'", c.Field)
	}
	old := len(in.Values)+len(in.RegexValues) > 0
	switch {
	case old && hasConfig && (!slices.Equal(in.Values, config) || !slices.Equal(in.RegexValues, regexes)):
		return c, invalid("You cannot specify both Values and a configuration for the condition field '%s'", c.Field)
	case old && c.Field != model.ConditionPathPattern && c.Field != model.ConditionHostHeader:
		return c, invalid("The condition field '%s' must be given with its configuration", c.Field)
	case old:
		config, regexes, c.Legacy = in.Values, in.RegexValues, true
	}
	c.Values, c.RegexValues = config, regexes
	switch {
	case len(config) > 0 && len(regexes) > 0:
		return c, invalid("You cannot specify both values and regular expressions for the condition field '%s'", c.Field)
	case len(config)+len(regexes)+len(c.QueryStrings) == 0:
		return c, invalid("A condition value must be specified")
	}
	return c, checkCondition(&c)
}

func checkCondition(c *model.RuleCondition) error {
	for _, v := range c.Values {
		if v == "" {
			return invalid("A condition value cannot be empty")
		}
		if len(v) > maxConditionLength {
			return invalid("The condition value '%s' cannot be longer than '%d' characters", v, maxConditionLength)
		}
		if err := checkValue(c.Field, v); err != nil {
			return err
		}
	}
	for _, v := range c.RegexValues {
		if err := checkRegex("condition value", v, maxConditionLength); err != nil {
			return err
		}
	}
	for _, q := range c.QueryStrings {
		if q.Value == "" {
			return invalid("A condition value cannot be empty")
		}
		if len(q.Key) > maxConditionLength || len(q.Value) > maxConditionLength {
			return invalid("The condition value '%s' cannot be longer than '%d' characters", q.Value, maxConditionLength)
		}
	}
	if c.Field == model.ConditionHTTPHeader {
		switch name := c.HeaderName; {
		case name == "" || len(name) > maxHeaderName || strings.Trim(name, tokenChars) != "":
			return invalid("The HTTP header name '%s' is not valid", name)
		case strings.EqualFold(name, "Host"):
			return invalid("You cannot use an HTTP header condition to specify the host header. Use the condition field 'host-header'")
		}
	}
	return nil
}

const (
	alphanumeric = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	tokenChars   = alphanumeric + "!#$%&'*+-.^_`|~"
	hostChars    = alphanumeric + "-.*?"
	pathChars    = alphanumeric + "_-.$/~\"'@:+&*?%=,;()![]"
	methodChars  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
)

func checkValue(field, v string) error {
	switch field {
	case model.ConditionHostHeader:
		if strings.Trim(v, hostChars) != "" {
			return invalid("The host-header value '%s' contains invalid characters", v)
		}
	case model.ConditionPathPattern:
		if strings.Trim(v, pathChars) != "" {
			return invalid("The path-pattern value '%s' contains invalid characters", v)
		}
	case model.ConditionRequestMethod:
		if strings.Trim(v, methodChars) != "" || len(v) > maxMethodLength {
			return invalid("The HTTP request method '%s' is not valid", v)
		}
	case model.ConditionSourceIP:
		if _, err := netip.ParsePrefix(v); err != nil {
			return invalid("The source IP '%s' is not a valid CIDR block", v)
		}
	}
	return nil
}

func renderConditions(in []model.RuleCondition) []elbv2.RuleCondition {
	out := []elbv2.RuleCondition{}
	for _, c := range in {
		r := elbv2.RuleCondition{Field: new(c.Field)}
		values, regexes := slices.Clone(c.Values), slices.Clone(c.RegexValues)
		switch c.Field {
		case model.ConditionPathPattern:
			r.PathPatternConfig = &elbv2.PathPatternConditionConfig{Values: values, RegexValues: regexes}
			r.Values, r.RegexValues = slices.Clone(values), slices.Clone(regexes)
		case model.ConditionHostHeader:
			r.HostHeaderConfig = &elbv2.HostHeaderConditionConfig{Values: values, RegexValues: regexes}
			r.Values, r.RegexValues = slices.Clone(values), slices.Clone(regexes)
		case model.ConditionHTTPHeader:
			r.HttpHeaderConfig = &elbv2.HttpHeaderConditionConfig{HttpHeaderName: new(c.HeaderName), Values: values, RegexValues: regexes}
		case model.ConditionRequestMethod:
			r.HttpRequestMethodConfig = &elbv2.HttpRequestMethodConditionConfig{Values: values}
		case model.ConditionSourceIP:
			r.SourceIpConfig = &elbv2.SourceIpConditionConfig{Values: values}
		case model.ConditionQueryString:
			q := &elbv2.QueryStringConditionConfig{}
			for _, p := range c.QueryStrings {
				q.Values = append(q.Values, elbv2.QueryStringKeyValuePair{Key: text(p.Key), Value: new(p.Value)})
			}
			r.QueryStringConfig = q
		}
		out = append(out, r)
	}
	return out
}
