// Package ecrlifecycle decides which images a repository's lifecycle policy
// expires.
//
// The language and its rules are those of
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html,
// without what moves images to archive storage, which there is none of.
package ecrlifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Policy is a lifecycle policy that was checked. Rules are in the order of
// their priority.
type Policy struct{ Rules []Rule }

// Rule of a policy.
type Rule struct {
	Priority    int
	Description string
	TagStatus   string // tagged, untagged or any
	// Patterns of tags, of which an image must have one for each. Prefixes are
	// patterns that end in a wildcard.
	Patterns []string
	// CountType is imageCountMoreThan or sinceImagePushed, CountNumber how many
	// images, or days.
	CountType   string
	CountNumber int
}

// Invalid is what is wrong with a policy, in ECR's words.
type Invalid struct{ Reason string }

func (e *Invalid) Error() string { return "Lifecycle policy validation failure: " + e.Reason }

func invalid(format string, args ...any) error { return &Invalid{fmt.Sprintf(format, args...)} }

const noSchema = "instance failed to match exactly one schema (matched 0 out of 2)"

type wirePolicy struct {
	Rules []json.RawMessage `json:"rules"`
}

type wireRule struct {
	Priority    *int           `json:"rulePriority"`
	Description string         `json:"description"`
	Selection   *wireSelection `json:"selection"`
	Action      *wireAction    `json:"action"`
}

type wireSelection struct {
	TagStatus   *string   `json:"tagStatus"`
	Prefixes    *[]string `json:"tagPrefixList"`
	Patterns    *[]string `json:"tagPatternList"`
	CountType   *string   `json:"countType"`
	CountUnit   *string   `json:"countUnit"`
	CountNumber *int      `json:"countNumber"`
}

type wireAction struct {
	Type *string `json:"type"`
}

// Parse reads and checks a policy. Every error is an *Invalid.
func Parse(text string) (*Policy, error) {
	var w wirePolicy
	if err := strict([]byte(text), &w); err != nil {
		return nil, err
	}
	if w.Rules == nil {
		return nil, missing("rules")
	}
	if len(w.Rules) == 0 {
		return nil, invalid("array is too short: must have at least 1 elements but instance has 0 elements")
	}
	p := &Policy{}
	seen := map[int]bool{}
	for _, raw := range w.Rules {
		var r wireRule
		if err := strict(raw, &r); err != nil {
			return nil, err
		}
		rule, err := r.check()
		if err != nil {
			return nil, err
		}
		if seen[rule.Priority] {
			return nil, invalid("Rule priorities must be unique: %d", rule.Priority)
		}
		seen[rule.Priority] = true
		p.Rules = append(p.Rules, *rule)
	}
	slices.SortFunc(p.Rules, func(a, b Rule) int { return a.Priority - b.Priority })
	for i, r := range p.Rules {
		if r.TagStatus == "any" && i != len(p.Rules)-1 {
			return nil, invalid("A rule with tagStatus any must have the lowest priority")
		}
	}
	return p, nil
}

// strict decodes one JSON value and refuses members that are not known.
func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return invalid("Could not map policyString into LifecyclePolicy.")
		}
		return nil
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalid("object instance has properties which are not allowed by the schema: [%s]", field)
	}
	return invalid("Could not map policyString into LifecyclePolicy.")
}

func missing(names ...string) error {
	b, _ := json.Marshal(names) // strings always marshal
	return invalid("object has missing required properties (%s)", b)
}

// required lists the names that are not there, and makes their error.
func required(there map[string]bool) error {
	var names []string
	for name, ok := range there {
		if !ok {
			names = append(names, name)
		}
	}
	if names == nil {
		return nil
	}
	slices.Sort(names)
	return missing(names...)
}

func oneOf(value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	b, _ := json.Marshal(values) // strings always marshal
	return invalid("instance value (%q) not found in enum (possible values: %s)", value, b)
}

func (r *wireRule) check() (*Rule, error) {
	if err := required(map[string]bool{"rulePriority": r.Priority != nil, "selection": r.Selection != nil, "action": r.Action != nil}); err != nil {
		return nil, err
	}
	if *r.Priority < 1 {
		return nil, tooLow(*r.Priority)
	}
	if err := required(map[string]bool{"type": r.Action.Type != nil}); err != nil {
		return nil, err
	}
	if err := oneOf(*r.Action.Type, "expire"); err != nil {
		return nil, err
	}
	s := r.Selection
	if err := required(map[string]bool{"tagStatus": s.TagStatus != nil, "countType": s.CountType != nil, "countNumber": s.CountNumber != nil}); err != nil {
		return nil, err
	}
	if err := oneOf(*s.TagStatus, "any", "tagged", "untagged"); err != nil {
		return nil, err
	}
	if *s.CountNumber < 1 {
		return nil, tooLow(*s.CountNumber)
	}
	out := &Rule{
		Priority: *r.Priority, Description: r.Description,
		TagStatus: *s.TagStatus, CountType: *s.CountType, CountNumber: *s.CountNumber,
	}
	switch out.CountType {
	case "imageCountMoreThan":
		if s.CountUnit != nil {
			return nil, invalid(noSchema)
		}
	case "sinceImagePushed":
		if s.CountUnit == nil {
			return nil, invalid(noSchema)
		}
		if err := oneOf(*s.CountUnit, "days"); err != nil {
			return nil, err
		}
	default:
		return nil, invalid(noSchema)
	}
	return out, out.setPatterns(s)
}

func tooLow(n int) error {
	return invalid("numeric instance is lower than the required minimum (minimum: 1, found: %d)", n)
}

// maxWildcards is how many a pattern of tags may hold.
const maxWildcards = 4

func (r *Rule) setPatterns(s *wireSelection) error {
	if r.TagStatus != "tagged" {
		if s.Prefixes != nil || s.Patterns != nil {
			return invalid("tagPrefixList and tagPatternList must be empty when tagStatus is %s", r.TagStatus)
		}
		return nil
	}
	switch {
	case s.Prefixes != nil && s.Patterns != nil:
		return invalid("tagPrefixList and tagPatternList cannot be specified together")
	case s.Prefixes != nil:
		for _, p := range *s.Prefixes {
			if strings.Contains(p, "*") {
				return invalid("tagPrefixList must not contain wildcards: %s", p)
			}
			r.Patterns = append(r.Patterns, p+"*")
		}
	case s.Patterns != nil:
		for _, p := range *s.Patterns {
			if strings.Count(p, "*") > maxWildcards {
				return invalid("tagPatternList must not contain more than %d wildcards: %s", maxWildcards, p)
			}
			r.Patterns = append(r.Patterns, p)
		}
	}
	if len(r.Patterns) == 0 {
		return invalid("tagStatus tagged requires either tagPrefixList or tagPatternList")
	}
	if slices.Contains(r.Patterns, "") || slices.ContainsFunc(r.Patterns, func(p string) bool { return p == "*" && s.Prefixes != nil }) {
		return invalid("tags must not be empty")
	}
	return nil
}
