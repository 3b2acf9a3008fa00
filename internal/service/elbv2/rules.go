package elbv2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// CreateRule adds a rule to a listener.
func (s *Service) CreateRule(ctx context.Context, in *elbv2.CreateRuleInput) (*elbv2.CreateRuleOutput, error) {
	c := api.CallFrom(ctx)
	conds, err := conditions(in.Conditions)
	if err != nil {
		return nil, err
	}
	changes, err := transforms(in.Transforms)
	if err != nil {
		return nil, err
	}
	want, err := actions(in.Actions)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOf(ctx, "CreateRule", under(value(in.ListenerArn), "listener-rule", "*"), in.Tags)
	if err != nil {
		return nil, err
	}
	var r *model.Rule
	err = s.commit(ctx, func(tx *store.Txn) error {
		l, err := s.listener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
		}
		lb, err := s.loadBalancer(ctx, l.V.LoadBalancerARN)
		if err != nil {
			return err
		}
		if lb.V.Type == model.LoadBalancerNetwork {
			return elbv2.NewOperationNotPermittedException("Rules are not supported for listeners with protocol '%s'", l.V.Protocol)
		}
		if err := s.checkForwards(ctx, l.V.Protocol, want.actions); err != nil {
			return err
		}
		all, err := tables.Rules.List(ctx, s.Store, children(ctx, lb.Key.ID))
		if err != nil {
			return err
		}
		count := 0
		for _, o := range all {
			if o.V.Default {
				continue
			}
			if count++; o.V.ListenerARN == l.V.ARN && o.V.Priority == value(in.Priority) {
				return elbv2.NewPriorityInUseException("Priority '%d' is currently in use", value(in.Priority))
			}
		}
		if count >= maxRules {
			return elbv2.NewTooManyRulesException("The maximum number of rules per load balancer is %d", maxRules)
		}
		rid := newID()
		r = &model.Rule{
			ID: rid, ARN: under(l.V.ARN, "listener-rule", rid), ListenerARN: l.V.ARN, Priority: value(in.Priority),
			Conditions: conds, Transforms: changes, Tags: tags, CreatedAt: c.Time,
		}
		if r.Actions, err = want.seal(s, r.ARN, nil); err != nil {
			return err
		}
		if err := s.bind(ctx, tx, lb, r.Actions, nil); err != nil {
			return err
		}
		v := l.Copy()
		v.Generation++
		tables.Listeners.Replace(tx, l, v)
		tables.Rules.Create(tx, c.Account, c.Region, l.Key.ID+"/"+rid, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.CreateRuleOutput{Rules: []elbv2.Rule{renderRule(r)}}, nil
}

func renderRule(r *model.Rule) elbv2.Rule {
	out := elbv2.Rule{
		RuleArn: new(r.ARN), IsDefault: new(r.Default), Priority: new("default"),
		Conditions: renderConditions(r.Conditions), Actions: renderActions(r.Actions), Transforms: renderTransforms(r.Transforms),
	}
	if !r.Default {
		out.Priority = new(strconv.Itoa(int(r.Priority)))
	}
	return out
}

// DescribeRules lists rules by their ARNs or by listener.
func (s *Service) DescribeRules(ctx context.Context, in *elbv2.DescribeRulesInput) (*elbv2.DescribeRulesOutput, error) {
	if (in.ListenerArn == nil) == (len(in.RuleArns) == 0) {
		return nil, invalid("You must specify either listener rule ARNs or a listener ARN")
	}
	out := &elbv2.DescribeRulesOutput{Rules: []elbv2.Rule{}}
	var rows []store.Row[model.Rule]
	if in.ListenerArn != nil {
		l, err := s.listener(ctx, *in.ListenerArn)
		if err != nil {
			return nil, err
		}
		if rows, err = tables.Rules.List(ctx, s.Store, children(ctx, l.Key.ID)); err != nil {
			return nil, err
		}
	}
	for _, arn := range in.RuleArns {
		row, err := s.rule(ctx, arn)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b store.Row[model.Rule]) int { return cmp.Compare(rulePosition(a), rulePosition(b)) })
	if in.ListenerArn != nil {
		var err error
		rows, out.NextMarker, err = page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeRules", *in.ListenerArn}}, rows, rulePosition)
		if err != nil {
			return nil, err
		}
	}
	for _, r := range rows {
		out.Rules = append(out.Rules, renderRule(r.V))
	}
	return out, nil
}

// rulePosition orders rules: lowest priority first, the default rule last.
func rulePosition(r store.Row[model.Rule]) string {
	if r.V.Default {
		return "default"
	}
	return fmt.Sprintf("%05d", r.V.Priority)
}

// ModifyRule replaces a rule's conditions, actions and transforms, those that
// the request has.
func (s *Service) ModifyRule(ctx context.Context, in *elbv2.ModifyRuleInput) (*elbv2.ModifyRuleOutput, error) {
	if len(in.Transforms) > 0 && value(in.ResetTransforms) {
		return nil, invalid("You cannot specify both Transforms and ResetTransforms")
	}
	changes, err := transforms(in.Transforms)
	if err != nil {
		return nil, err
	}
	var conds []model.RuleCondition
	var want requested
	if len(in.Conditions) > 0 {
		if conds, err = conditions(in.Conditions); err != nil {
			return nil, err
		}
	}
	if len(in.Actions) > 0 {
		if want, err = actions(in.Actions); err != nil {
			return nil, err
		}
	}
	var r *model.Rule
	err = s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.rule(ctx, value(in.RuleArn))
		if err != nil {
			return err
		}
		if row.V.Default {
			return elbv2.NewOperationNotPermittedException("Default rule '%s' cannot be modified", row.V.ARN)
		}
		r = row.Copy()
		if conds != nil {
			r.Conditions = conds
		}
		if len(changes) > 0 || value(in.ResetTransforms) {
			r.Transforms = changes
		}
		if want.actions != nil {
			l, err := s.listener(ctx, r.ListenerARN)
			if err != nil {
				return err
			}
			lb, err := s.loadBalancer(ctx, l.V.LoadBalancerARN)
			if err != nil {
				return err
			}
			if err := s.checkForwards(ctx, l.V.Protocol, want.actions); err != nil {
				return err
			}
			// Its protocol was looked at.
			tables.Listeners.Check(tx, l)
			if err := s.bind(ctx, tx, lb, want.actions, &row); err != nil {
				return err
			}
			if r.Actions, err = want.seal(s, r.ARN, row.V.Actions); err != nil {
				return err
			}
		}
		tables.Rules.Replace(tx, row, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyRuleOutput{Rules: []elbv2.Rule{renderRule(r)}}, nil
}

// DeleteRule removes a rule.
func (s *Service) DeleteRule(ctx context.Context, in *elbv2.DeleteRuleInput) (*elbv2.DeleteRuleOutput, error) {
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.rule(ctx, value(in.RuleArn))
		if err != nil {
			return err
		}
		if row.V.Default {
			return elbv2.NewOperationNotPermittedException("Default rule '%s' cannot be deleted", row.V.ARN)
		}
		tables.Rules.Delete(tx, row)
		l, err := s.listener(ctx, row.V.ListenerARN)
		if err != nil {
			return err
		}
		v := l.Copy()
		v.Generation++
		tables.Listeners.Replace(tx, l, v)
		return s.touch(ctx, tx, balance.ForwardsTo(row.V.Actions))
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.DeleteRuleOutput{}, nil
}

// SetRulePriorities renumbers rules of one listener, all or none.
func (s *Service) SetRulePriorities(ctx context.Context, in *elbv2.SetRulePrioritiesInput) (*elbv2.SetRulePrioritiesOutput, error) {
	var changed []*model.Rule
	err := s.commit(ctx, func(tx *store.Txn) error {
		changed = nil
		moved := map[string]int32{}
		taken := map[int32]bool{}
		listener := ""
		for _, p := range in.RulePriorities {
			arn, n := value(p.RuleArn), value(p.Priority)
			row, err := s.rule(ctx, arn)
			if err != nil {
				return err
			}
			switch _, twice := moved[arn]; {
			case row.V.Default:
				return elbv2.NewOperationNotPermittedException("The priority of default rule '%s' cannot be modified", arn)
			case listener != "" && row.V.ListenerARN != listener:
				return invalid("All rules must belong to the same listener")
			case twice:
				return invalid("The rule '%s' was specified more than once", arn)
			case taken[n]:
				return elbv2.NewPriorityInUseException("Priority '%d' is currently in use", n)
			}
			listener, moved[arn], taken[n] = row.V.ListenerARN, n, true
			v := row.Copy()
			v.Priority = n
			changed = append(changed, v)
			tables.Rules.Replace(tx, row, v)
		}
		if listener == "" {
			return invalid("A rule priority must be specified")
		}
		l, err := s.listener(ctx, listener)
		if err != nil {
			return err
		}
		rules, err := tables.Rules.List(ctx, s.Store, children(ctx, l.Key.ID))
		if err != nil {
			return err
		}
		for _, r := range rules {
			if _, moves := moved[r.V.ARN]; !moves && !r.V.Default && taken[r.V.Priority] {
				return elbv2.NewPriorityInUseException("Priority '%d' is currently in use", r.V.Priority)
			}
		}
		v := l.Copy()
		v.Generation++
		tables.Listeners.Replace(tx, l, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &elbv2.SetRulePrioritiesOutput{}
	for _, r := range changed {
		out.Rules = append(out.Rules, renderRule(r))
	}
	return out, nil
}
