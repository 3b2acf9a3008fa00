package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
)

// simulation is what both simulating operations have in common.
type simulation struct {
	actions, resources []string
	entries            []iam.ContextEntry
	resourcePolicy     *string
	owner              *string
	caller             *string
	marker             *string
	limit              *int32
}

// GetContextKeysForCustomPolicy lists the context keys that documents ask for.
func (s *Service) GetContextKeysForCustomPolicy(_ context.Context, in *iam.GetContextKeysForCustomPolicyInput) (*iam.GetContextKeysForCustomPolicyOutput, error) {
	docs, err := inputPolicies("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &iam.GetContextKeysForCustomPolicyOutput{ContextKeyNames: contextKeys(docs)}, nil
}

// GetContextKeysForPrincipalPolicy lists the context keys that a principal's
// policies, and further documents, ask for.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, in *iam.GetContextKeysForPrincipalPolicyInput) (*iam.GetContextKeysForPrincipalPolicyOutput, error) {
	docs, err := inputPolicies("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	set, _, err := s.policiesOf(ctx, *in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	return &iam.GetContextKeysForPrincipalPolicyOutput{ContextKeyNames: contextKeys(append(docs, set.Identity...))}, nil
}

func contextKeys(docs []policy.Named) []string {
	keys := []string{}
	for _, d := range docs {
		for _, st := range d.Statements {
			keys = append(keys, st.Keys...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (s *Service) policiesOf(ctx context.Context, arn string) (*policy.Set, policy.Context, error) {
	set, keys, err := s.principals.PoliciesOf(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		err = iam.NewNoSuchEntityException("The entity %s cannot be found.", arn)
	}
	return set, keys, err
}

func inputPolicies(member string, texts []string) ([]policy.Named, error) {
	out := make([]policy.Named, 0, len(texts))
	for i, t := range texts {
		doc, err := policy.Parse(t, policy.Identity)
		if err != nil {
			return nil, iam.NewInvalidInputException("Invalid Syntax: %s.member.%d: %s", member, i+1, err.Error())
		}
		out = append(out, policy.Named{Name: member + "." + strconv.Itoa(i+1), Document: doc})
	}
	return out, nil
}

// SimulateCustomPolicy decides requests by the given documents alone.
func (s *Service) SimulateCustomPolicy(ctx context.Context, in *iam.SimulateCustomPolicyInput) (*iam.SimulateCustomPolicyOutput, error) {
	docs, err := inputPolicies("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	set := &policy.Set{Identity: docs}
	results, more, next, err := simulate(ctx, set, policy.Context{}, in.PermissionsBoundaryPolicyInputList, simulation{
		in.ActionNames, in.ResourceArns, in.ContextEntries, in.ResourcePolicy, in.ResourceOwner, in.CallerArn, in.Marker, in.MaxItems,
	})
	return &iam.SimulateCustomPolicyOutput{EvaluationResults: results, IsTruncated: more, Marker: next}, err
}

// SimulatePrincipalPolicy decides requests by a principal's policies and
// further documents.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, in *iam.SimulatePrincipalPolicyInput) (*iam.SimulatePrincipalPolicyOutput, error) {
	docs, err := inputPolicies("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	set, keys, err := s.policiesOf(ctx, *in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	set.Identity = append(set.Identity, docs...)
	caller := in.CallerArn
	if caller == nil {
		caller = in.PolicySourceArn
	}
	results, more, next, err := simulate(ctx, set, keys, in.PermissionsBoundaryPolicyInputList, simulation{
		in.ActionNames, in.ResourceArns, in.ContextEntries, in.ResourcePolicy, in.ResourceOwner, caller, in.Marker, in.MaxItems,
	})
	return &iam.SimulatePrincipalPolicyOutput{EvaluationResults: results, IsTruncated: more, Marker: next}, err
}

func simulate(ctx context.Context, set *policy.Set, keys policy.Context, boundaries []string, sim simulation) ([]iam.EvaluationResult, *bool, *string, error) {
	bounds, err := inputPolicies("PermissionsBoundaryPolicyInputList", boundaries)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(bounds) > 0 {
		set.Boundary = &bounds[0]
	}
	if sim.resourcePolicy != nil {
		doc, err := policy.Parse(*sim.resourcePolicy, policy.Resource)
		if err != nil {
			return nil, nil, nil, iam.NewInvalidInputException("Invalid Syntax: ResourcePolicy: %s", err.Error())
		}
		set.Resource = &policy.Named{Name: "ResourcePolicy", Document: doc}
	}
	if owner, ok := strings.CutPrefix(str(sim.owner), "arn:aws:iam::"); ok {
		set.Owner, _, _ = strings.Cut(owner, ":")
	} else {
		set.Owner = str(sim.owner)
	}
	if sim.resourcePolicy != nil && str(sim.caller) == "" {
		return nil, nil, nil, iam.NewInvalidInputException("CallerArn is required when a ResourcePolicy is given.")
	}
	for _, e := range sim.entries {
		keys.Set(str(e.ContextKeyName), e.ContextKeyValues...)
	}
	resources := sim.resources
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	req := policy.Request{Context: keys}
	if caller := str(sim.caller); caller != "" {
		req.Principal.ARN = caller
		if p := strings.SplitN(caller, ":", 6); len(p) == 6 {
			req.Principal.Account = p[4]
		}
	}
	type pair struct{ action, resource, place string }
	var pairs []pair
	for _, a := range sim.actions {
		if !strings.Contains(a, ":") {
			return nil, nil, nil, iam.NewInvalidInputException("Invalid Entity Name: %s", a)
		}
		for _, r := range resources {
			pairs = append(pairs, pair{a, r, fmt.Sprintf("%09d", len(pairs))})
		}
	}
	// Results come as they were asked for; only those of the page are decided.
	pairs, more, next, err := page(ctx, pairs, func(p pair) string { return p.place }, sim.marker, sim.limit,
		append(append([]string{"simulation", str(sim.caller)}, sim.actions...), resources...)...)
	results := make([]iam.EvaluationResult, 0, len(pairs))
	for _, p := range pairs {
		q := req
		q.Action, q.Resource = p.action, p.resource
		results = append(results, evaluation(set, &q))
	}
	return results, more, next, err
}

func evaluation(set *policy.Set, q *policy.Request) iam.EvaluationResult {
	res := policy.Evaluate(set, q)
	out := iam.EvaluationResult{
		EvalActionName: &q.Action, EvalResourceName: &q.Resource,
		EvalDecision:      iam.PolicyEvaluationDecisionTypeImplicitDeny,
		MatchedStatements: []iam.Statement{}, MissingContextValues: []string{},
	}
	switch {
	case res.Allowed:
		out.EvalDecision = iam.PolicyEvaluationDecisionTypeAllowed
	case res.Explicit:
		out.EvalDecision = iam.PolicyEvaluationDecisionTypeExplicitDeny
	}
	if set.Boundary != nil {
		e, _ := set.Boundary.Decide(q)
		out.PermissionsBoundaryDecisionDetail = &iam.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: new(e == policy.Allow)}
	}
	for _, m := range res.Matched {
		out.MatchedStatements = append(out.MatchedStatements, matched(m))
	}
	for _, n := range set.Identity {
		for _, st := range n.Statements {
			for _, k := range st.Keys {
				if _, ok := q.Context[strings.ToLower(k)]; !ok && !slices.Contains(out.MissingContextValues, k) {
					out.MissingContextValues = append(out.MissingContextValues, k)
				}
			}
		}
	}
	return out
}

// matched shows a statement by its place in its document.
func matched(m policy.Match) iam.Statement {
	out := iam.Statement{
		SourcePolicyId: &m.Name, SourcePolicyType: iam.PolicySourceTypeNone,
		StartPosition: position(m.Text(), m.Statement.Start), EndPosition: position(m.Text(), m.Statement.End),
	}
	switch {
	case strings.HasPrefix(m.Name, "arn:aws:iam::aws:"):
		out.SourcePolicyType = iam.PolicySourceTypeAwsManaged
	case strings.HasPrefix(m.Name, "arn:"):
		out.SourcePolicyType = iam.PolicySourceTypeUserManaged
	case m.Layer == policy.ResourceLayer:
		out.SourcePolicyType = iam.PolicySourceTypeResource
	case m.Name == "":
		out.SourcePolicyId = new("embedded")
	}
	return out
}

// position counts lines and columns from one.
func position(text string, offset int) *iam.Position {
	before := text[:offset]
	line := strings.Count(before, "\n")
	column := offset - strings.LastIndexByte(before, '\n')
	return &iam.Position{Line: new(int32(line + 1)), Column: new(int32(column))}
}
