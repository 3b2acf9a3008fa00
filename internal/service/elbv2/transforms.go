package elbv2

import (
	"errors"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/match"
)

// maxRewriteLength limits expressions and replacements of transforms.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_RewriteConfig.html
const maxRewriteLength = 1024

// transforms checks the transforms of a rule.
func transforms(in []elbv2.RuleTransform) ([]model.RuleTransform, error) {
	var out []model.RuleTransform
	seen := map[string]bool{}
	for _, t := range in {
		kind := string(t.Type)
		if seen[kind] {
			return nil, invalid("The rule has multiple transforms of type '%s'; only one is allowed", kind)
		}
		seen[kind] = true
		var rewrites []elbv2.RewriteConfig
		switch {
		case kind == model.TransformHost && t.UrlRewriteConfig != nil, kind == model.TransformURL && t.HostHeaderRewriteConfig != nil:
			return nil, invalid("The configuration of the transform must be of its type '%s'", kind)
		case t.HostHeaderRewriteConfig != nil:
			rewrites = t.HostHeaderRewriteConfig.Rewrites
		case t.UrlRewriteConfig != nil:
			rewrites = t.UrlRewriteConfig.Rewrites
		}
		if len(rewrites) != 1 {
			return nil, invalid("A transform of type '%s' must have exactly one rewrite", kind)
		}
		r := model.RuleTransform{Type: kind, Regex: value(rewrites[0].Regex), Replace: value(rewrites[0].Replace)}
		if err := checkRegex("transform", r.Regex, maxRewriteLength); err != nil {
			return nil, err
		}
		if len(r.Replace) > maxRewriteLength {
			return nil, invalid("The replacement of a transform cannot be longer than '%d' characters", maxRewriteLength)
		}
		if _, err := match.NewRewrite(r); err != nil {
			return nil, invalid("The replacement '%s' is not valid: it refers to a capture group that the regular expression '%s' does not have", r.Replace, r.Regex)
		}
		out = append(out, r)
	}
	return out, nil
}

// checkRegex refuses expressions that load balancers do not know.
func checkRegex(what, expr string, longest int) error {
	if expr == "" {
		return invalid("The regular expression of a %s cannot be empty", what)
	}
	if len(expr) > longest {
		return invalid("The regular expression '%s' cannot be longer than '%d' characters", expr, longest)
	}
	if _, err := match.Compile(expr, true); err != nil {
		if errors.Is(err, match.ErrUnsupported) {
			return invalid("The regular expression '%s' uses a feature that is not supported", expr)
		}
		return invalid("The regular expression '%s' is not valid", expr)
	}
	return nil
}

func renderTransforms(in []model.RuleTransform) []elbv2.RuleTransform {
	out := []elbv2.RuleTransform{}
	for _, t := range in {
		rewrites := []elbv2.RewriteConfig{{Regex: new(t.Regex), Replace: new(t.Replace)}}
		r := elbv2.RuleTransform{Type: elbv2.TransformTypeEnum(t.Type)}
		if t.Type == model.TransformHost {
			r.HostHeaderRewriteConfig = &elbv2.HostHeaderRewriteConfig{Rewrites: rewrites}
		} else {
			r.UrlRewriteConfig = &elbv2.UrlRewriteConfig{Rewrites: rewrites}
		}
		out = append(out, r)
	}
	return out
}
