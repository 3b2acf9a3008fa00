package ecr

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/registry"
)

// ScopeOf implements api.ResourceScoper: operations act on the repository that
// they name.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	v := reflect.ValueOf(in).Elem()
	str := func(field string) *string {
		f := v.FieldByName(field)
		if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() {
			return nil
		}
		p, _ := reflect.TypeAssert[*string](f)
		return p
	}
	sp := space(ctx, str("RegistryId"))
	if name := str("RepositoryName"); name != nil {
		return []string{registry.RepositoryARN(sp, *name)}, nil
	}
	if arn := str("ResourceArn"); arn != nil {
		if id, name, err := taggable(ctx, *arn); err == nil {
			return []string{registry.RepositoryARN(space(ctx, id), *name)}, nil
		}
		return []string{*arn}, nil
	}
	if d, ok := in.(*ecr.DescribeRepositoriesInput); ok {
		var arns []string
		for _, name := range d.RepositoryNames {
			arns = append(arns, registry.RepositoryARN(sp, name))
		}
		return arns, nil
	}
	return nil, nil
}

// PolicyOf implements api.ResourcePolicies.
func (s *Service) PolicyOf(ctx context.Context, arn string) (text, owner string, err error) {
	a, err := model.ParseARN(arn)
	name, ok := strings.CutPrefix(a.Resource, "repository/")
	if err != nil || !ok || a.Service != "ecr" {
		return "", api.CallFrom(ctx).Account, nil //nolint:nilerr // no repository's: the handler refuses it
	}
	row, err := s.Catalog.Row(ctx, registry.Space{Account: a.Account, Region: a.Region}, name)
	if err != nil && registry.CodeOf(err) != registry.NameUnknown {
		return "", "", fmt.Errorf("read the policy of %s: %w", arn, err)
	}
	if err == nil {
		text = row.V.Policy
	}
	if text, err = s.Catalog.Policy(ctx, registry.Space{Account: a.Account, Region: a.Region}, text); err != nil {
		return "", "", fmt.Errorf("read the policy of %s: %w", arn, err)
	}
	return text, a.Account, nil
}

// permit asks the repository's policy once more, by the record that the
// operation acts on: it may deny, and another account's must allow.
func permit(ctx context.Context, sp registry.Space, action, name, text string) error {
	c := api.CallFrom(ctx)
	foreign := sp.Account != c.Account
	if text == "" && !foreign {
		return nil
	}
	arn := registry.RepositoryARN(sp, name)
	effect, _ := decide(c.Account, c.Identity, registry.Access{
		Space: sp, Action: action, Resource: arn, ResourcePolicy: text, SourceIP: c.SourceIP, Time: c.Time,
	})
	switch {
	case effect == policy.Deny:
		return denied(c.Identity, action, arn, explicitDeny+" in a resource-based policy")
	case foreign && effect != policy.Allow:
		return denied(c.Identity, action, arn, "because no resource-based policy allows the "+action+" action")
	}
	return nil
}

// explicitDeny is how the reason of a refusal begins that no other policy can
// outweigh.
const explicitDeny = "with an explicit deny"

func denied(who api.Identity, action, arn, reason string) error {
	return api.NewFault("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s %s", who.ARN, action, arn, reason)
}

// decide evaluates a repository's policy. Enough tells whether an allow needs
// no identity policy beside it.
func decide(account string, who api.Identity, a registry.Access) (effect policy.Effect, enough bool) {
	if a.ResourcePolicy == "" {
		return policy.NoMatch, false
	}
	doc, err := parsePolicy(a.ResourcePolicy)
	if err != nil {
		return policy.Deny, false // it was checked when it was set
	}
	id, _, _ := strings.Cut(who.UserID, ":") // a session's has its name behind
	r := &policy.Request{
		Action: a.Action, Resource: a.Resource,
		Principal: policy.Principal{ARN: who.ARN, Role: who.RoleARN, Account: account, UniqueID: id},
		Context:   policy.Context{},
	}
	r.Context.Set("aws:SourceIp", a.SourceIP)
	r.Context.Set("aws:PrincipalArn", principalARN(who))
	r.Context.Set("aws:PrincipalAccount", account)
	r.Context.Set("aws:CurrentTime", a.Time.UTC().Format(time.RFC3339))
	r.Context.Set("aws:ResourceAccount", a.Space.Account)
	effect, _ = doc.Decide(r)
	named := policy.Named{Document: doc}
	res := policy.Evaluate(&policy.Set{Resource: &named}, r)
	return effect, res.Allowed
}

func principalARN(who api.Identity) string {
	if who.RoleARN != "" {
		return who.RoleARN
	}
	return who.ARN
}

// IAM evaluates the identity policies of a caller. It returns nil or a
// *model.Denied.
type IAM interface {
	Authorize(ctx context.Context, c *api.Call, action string, resources []string, conditions map[string]string) error
}

// Authorizer is the registry's: identity policies and the repository's policy
// together decide.
type Authorizer struct{ IAM IAM }

var _ registry.Authorizer = Authorizer{}

// AuthorizeRegistry implements registry.Authorizer.
func (z Authorizer) AuthorizeRegistry(ctx context.Context, account string, who api.Identity, a registry.Access) error {
	effect, enough := decide(account, who, a)
	if effect == policy.Deny {
		return denied(who, a.Action, a.Resource, explicitDeny+" in a resource-based policy")
	}
	foreign := account != a.Space.Account
	if foreign && effect != policy.Allow {
		return denied(who, a.Action, a.Resource, "because no resource-based policy allows the "+a.Action+" action")
	}
	err := z.IAM.Authorize(ctx, &api.Call{
		Account: account, Region: a.Space.Region, Partition: model.Partition(a.Space.Region),
		Time: a.Time, Identity: who, SourceIP: a.SourceIP,
	}, a.Action, []string{a.Resource}, nil)
	d, ok := errors.AsType[*model.Denied](err)
	if !ok {
		return err
	}
	if !foreign && enough && !strings.HasPrefix(d.Reason, explicitDeny) {
		return nil
	}
	return denied(who, d.Action, d.Resource, d.Reason)
}
