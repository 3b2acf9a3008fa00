package elbv2

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// maxWeight limits the weight of a target group.
	maxWeight = 999
	// maxStickySeconds is seven days.
	maxStickySeconds = 604800
	maxFixedBody     = 1024
)

// actions checks the actions of a rule and puts them in order: those that
// decide whether a request may go on, and one that ends it.
func actions(in []elbv2.Action) (requested, error) {
	var r requested
	if len(in) == 0 {
		return r, invalid("An action must be specified")
	}
	for i := range in {
		a, secret, err := action(&in[i])
		if err != nil {
			return r, err
		}
		if a.OIDC != nil {
			r.secret = secret
		}
		r.actions = append(r.actions, a)
	}
	return r, r.arrange()
}

// arrange sorts actions, and refuses those that cannot be together.
func (r *requested) arrange() error {
	ends, orders := 0, map[int32]bool{}
	kinds := map[string]bool{}
	for _, a := range r.actions {
		if a.Forward != nil || a.Redirect != nil || a.FixedResponse != nil {
			ends++
		} else if kinds[a.Type] {
			return elbv2.NewTooManyActionsException("You can only specify one action of type '%s' for a rule", a.Type)
		}
		kinds[a.Type] = true
		switch {
		case len(r.actions) == 1:
		case a.Order == 0:
			return badAction("An order must be specified for each action of a rule with multiple actions")
		case orders[a.Order]:
			return badAction("The action order '%d' was specified more than once", a.Order)
		}
		orders[a.Order] = true
	}
	if ends > 1 {
		return badAction("You can only specify one of a forward action, a redirect action or a fixed-response action")
	}
	slices.SortStableFunc(r.actions, func(a, b model.RuleAction) int { return cmp.Compare(a.Order, b.Order) })
	if last := r.actions[len(r.actions)-1]; last.Forward == nil && last.Redirect == nil && last.FixedResponse == nil {
		return badAction("The last action of a rule must be a forward action, a redirect action or a fixed-response action")
	}
	return nil
}

// action checks one action; secret is that of an authenticate-oidc action.
func action(in *elbv2.Action) (a model.RuleAction, secret *string, err error) {
	a = model.RuleAction{Type: string(in.Type), Order: value(in.Order)}
	switch a.Type {
	case model.ActionForward:
		a.Forward, err = forwardAction(in)
	case model.ActionRedirect:
		a.Redirect, err = redirectAction(in.RedirectConfig)
	case model.ActionFixedResponse:
		a.FixedResponse, err = fixedAction(in.FixedResponseConfig)
	case model.ActionOIDC:
		a.OIDC, secret, err = oidcAction(in.AuthenticateOidcConfig)
	case model.ActionJWT:
		a.JWT, err = jwtAction(in.JwtValidationConfig)
	default:
		err = badAction("Action type '%s' is not supported: there are no user pools of Amazon Cognito here", in.Type)
	}
	return a, secret, err
}

func forwardAction(in *elbv2.Action) (*model.ForwardAction, error) {
	f := &model.ForwardAction{}
	if in.ForwardConfig == nil {
		if in.TargetGroupArn == nil {
			return nil, invalid("A target group ARN must be specified")
		}
		f.TargetGroups = []model.WeightedTargetGroup{{TargetGroupARN: *in.TargetGroupArn, Weight: 1}}
		return f, nil
	}
	c := in.ForwardConfig
	if len(c.TargetGroups) == 0 {
		return nil, invalid("A target group ARN must be specified")
	}
	if len(c.TargetGroups) > maxGroupsPerAction {
		return nil, elbv2.NewTooManyTargetGroupsException("The maximum number of target groups per action is %d", maxGroupsPerAction)
	}
	if in.TargetGroupArn != nil && (len(c.TargetGroups) != 1 || value(c.TargetGroups[0].TargetGroupArn) != *in.TargetGroupArn) {
		return nil, invalid("You cannot specify both a target group ARN and target groups in a forward action")
	}
	seen := map[string]bool{}
	for _, g := range c.TargetGroups {
		arn := value(g.TargetGroupArn)
		if arn == "" {
			return nil, invalid("A target group ARN must be specified")
		}
		if seen[arn] {
			return nil, invalid("The target group '%s' was specified more than once", arn)
		}
		seen[arn] = true
		w := int32(1)
		if g.Weight != nil {
			w = *g.Weight
		}
		if w < 0 || w > maxWeight {
			return nil, invalid("The weight of a target group must be between 0 and %d", maxWeight)
		}
		f.TargetGroups = append(f.TargetGroups, model.WeightedTargetGroup{TargetGroupARN: arn, Weight: w})
	}
	if st := c.TargetGroupStickinessConfig; st != nil {
		f.Sticky, f.StickySeconds = value(st.Enabled), value(st.DurationSeconds)
		// Application load balancers alone need a duration: checkListener.
		if f.Sticky && (st.DurationSeconds != nil && f.StickySeconds < 1 || f.StickySeconds > maxStickySeconds) {
			return nil, invalid("The duration of target group stickiness must be between 1 and %d seconds", maxStickySeconds)
		}
	}
	return f, nil
}

func redirectAction(in *elbv2.RedirectActionConfig) (*model.RedirectAction, error) {
	if in == nil {
		return nil, invalid("A redirect configuration must be specified")
	}
	r := &model.RedirectAction{
		Protocol: "#{protocol}", Host: "#{host}", Port: "#{port}", Path: "/#{path}", Query: "#{query}",
		StatusCode: string(in.StatusCode),
	}
	for _, p := range []struct {
		from *string
		to   *string
	}{{in.Protocol, &r.Protocol}, {in.Host, &r.Host}, {in.Port, &r.Port}, {in.Path, &r.Path}, {in.Query, &r.Query}} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if r.StatusCode == "" {
		return nil, invalid("A redirect status code must be specified")
	}
	if !strings.HasPrefix(r.Path, "/") {
		return nil, invalid("The redirect path '%s' must begin with '/'", r.Path)
	}
	if strings.ContainsFunc(r.Host+r.Path+r.Query, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return nil, invalid("The redirect configuration must not contain spaces or line breaks")
	}
	if r.Protocol != "#{protocol}" && r.Protocol != "HTTP" && r.Protocol != "HTTPS" {
		return nil, invalid("The redirect protocol '%s' must be HTTP, HTTPS or #{protocol}", r.Protocol)
	}
	if n, err := strconv.Atoi(r.Port); r.Port != "#{port}" && (err != nil || n < 1 || n > 65535) {
		return nil, invalid("The redirect port '%s' must be #{port} or a number from 1 to 65535", r.Port)
	}
	if r.Protocol == "#{protocol}" && r.Host == "#{host}" && r.Port == "#{port}" && r.Path == "/#{path}" {
		return nil, elbv2.NewInvalidLoadBalancerActionException("The redirect configuration is not valid because it creates a loop.")
	}
	return r, nil
}

func fixedAction(in *elbv2.FixedResponseActionConfig) (*model.FixedResponseAction, error) {
	if in == nil || value(in.StatusCode) == "" {
		return nil, invalid("A fixed response status code must be specified")
	}
	f := &model.FixedResponseAction{StatusCode: *in.StatusCode, ContentType: value(in.ContentType), MessageBody: value(in.MessageBody)}
	types := []string{"text/plain", "text/css", "text/html", "application/javascript", "application/json"}
	if f.ContentType != "" && !slices.Contains(types, f.ContentType) {
		return nil, invalid("The content type '%s' must be one of the following: %s", f.ContentType, strings.Join(types, ", "))
	}
	if len(f.MessageBody) > maxFixedBody {
		return nil, invalid("The message body cannot be longer than '%d' characters", maxFixedBody)
	}
	return f, nil
}

// bind makes tx depend on the target groups that a load balancer's rule is to
// forward to, and wakes whoever follows them; old is the rule as it is until
// now, nil for a new one.
func (s *Service) bind(ctx context.Context, tx *store.Txn, lb store.Row[model.LoadBalancer], now []model.RuleAction, old *store.Row[model.Rule]) error {
	groups := balance.ForwardsTo(now)
	touched := groups
	if old != nil {
		touched = append(slices.Clone(groups), balance.ForwardsTo(old.V.Actions)...)
	}
	// The groups are read, for tx to depend on, before their users are: a user
	// that comes in between makes tx fail.
	if err := s.touch(ctx, tx, touched); err != nil {
		return err
	}
	for _, arn := range groups {
		g, err := s.targetGroup(ctx, arn)
		if err != nil {
			return err
		}
		if isLayer4(g.V.Protocol) != (lb.V.Type == model.LoadBalancerNetwork) {
			return elbv2.NewIncompatibleProtocolsException("Target group '%s' with protocol '%s' cannot be used with a load balancer of type '%s'", arn, g.V.Protocol, lb.V.Type)
		}
		if g.V.VpcID != lb.V.VpcID {
			return invalid("The following target groups are not in the same VPC as the load balancer: %s", arn)
		}
		users, err := s.usersOf(ctx, arn)
		if err != nil {
			return err
		}
		for _, u := range users {
			if !strings.HasPrefix(u.Key.ID, lb.Key.ID+"/") {
				return elbv2.NewTargetGroupAssociationLimitException("The following target groups cannot be associated with more than one load balancer: %s", arn)
			}
		}
	}
	return s.checkUse(ctx, lb.Key.ID, groups, old)
}

// checkUse holds a load balancer whose rules begin to forward to more groups,
// but for the rule old, against the quotas of groups and of targets.
func (s *Service) checkUse(ctx context.Context, lb string, more []string, old *store.Row[model.Rule]) error {
	if len(more) == 0 {
		return nil
	}
	rules, err := tables.Rules.List(ctx, s.Store, children(ctx, lb))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, arn := range more {
		used[arn] = true
	}
	for _, r := range rules {
		if old != nil && r.Key == old.Key {
			continue
		}
		for _, arn := range balance.ForwardsTo(r.V.Actions) {
			used[arn] = true
		}
	}
	if len(used) > maxGroupsPerBalancer {
		return elbv2.NewTooManyUniqueTargetGroupsPerLoadBalancerException("The maximum number of unique target groups per load balancer is %d", maxGroupsPerBalancer)
	}
	targets := 0
	for arn := range used {
		rows, err := tables.Targets.List(ctx, s.Store, children(ctx, model.TargetGroupID(arn)))
		if err != nil {
			return err
		}
		targets += len(rows)
	}
	if targets > maxTargetsPerBalancer {
		return elbv2.NewTooManyTargetsException("The maximum number of targets per load balancer is %d", maxTargetsPerBalancer)
	}
	return nil
}

// usersOf lists the rules that forward to a target group.
func (s *Service) usersOf(ctx context.Context, arn string) ([]store.Row[model.Rule], error) {
	q := everything(ctx)
	q.Index = store.Index{Name: tables.RulesByTargetGroup, Value: arn}
	return tables.Rules.List(ctx, s.Store, q)
}

// touch advances the generation of target groups whose use changes. Those
// that are gone are left out.
func (s *Service) touch(ctx context.Context, tx *store.Txn, arns []string) error {
	for _, arn := range slices.Compact(slices.Sorted(slices.Values(arns))) {
		row, err := s.targetGroup(ctx, arn)
		if err != nil {
			if _, gone := err.(*elbv2.TargetGroupNotFoundException); gone { //nolint:errorlint // made by targetGroup
				continue
			}
			return err
		}
		v := row.Copy()
		v.Generation++
		tables.TargetGroups.Replace(tx, row, v)
	}
	return nil
}

func renderActions(in []model.RuleAction) []elbv2.Action {
	out := make([]elbv2.Action, 0, len(in))
	for _, a := range in {
		r := elbv2.Action{Type: elbv2.ActionTypeEnum(a.Type)}
		if a.Order != 0 {
			r.Order = new(a.Order)
		}
		switch {
		case a.Forward != nil:
			renderForward(&r, a.Forward)
		case a.Redirect != nil:
			d := a.Redirect
			r.RedirectConfig = &elbv2.RedirectActionConfig{
				Protocol: new(d.Protocol), Host: new(d.Host), Port: new(d.Port), Path: new(d.Path), Query: new(d.Query),
				StatusCode: elbv2.RedirectActionStatusCodeEnum(d.StatusCode),
			}
		case a.OIDC != nil:
			r.AuthenticateOidcConfig = renderOIDC(a.OIDC)
		case a.JWT != nil:
			r.JwtValidationConfig = renderJWT(a.JWT)
		case a.FixedResponse != nil:
			f := a.FixedResponse
			r.FixedResponseConfig = &elbv2.FixedResponseActionConfig{
				StatusCode: new(f.StatusCode), ContentType: text(f.ContentType), MessageBody: text(f.MessageBody),
			}
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b elbv2.Action) int { return cmp.Compare(value(a.Order), value(b.Order)) })
	return out
}

func renderForward(r *elbv2.Action, f *model.ForwardAction) {
	c := &elbv2.ForwardActionConfig{TargetGroupStickinessConfig: &elbv2.TargetGroupStickinessConfig{Enabled: new(f.Sticky)}}
	if f.StickySeconds != 0 {
		c.TargetGroupStickinessConfig.DurationSeconds = new(f.StickySeconds)
	}
	for _, g := range f.TargetGroups {
		c.TargetGroups = append(c.TargetGroups, elbv2.TargetGroupTuple{TargetGroupArn: new(g.TargetGroupARN), Weight: new(g.Weight)})
	}
	if len(f.TargetGroups) == 1 {
		r.TargetGroupArn = new(f.TargetGroups[0].TargetGroupARN)
	}
	r.ForwardConfig = c
}
